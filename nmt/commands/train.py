"""`nmt train`: combine data, model and training loop, and do everything that is done between updates."""

import contextlib
import logging
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import torch

from nmt.atomic import copy_folder
from nmt.config import Config
from nmt.config.load import save_config
from nmt.data.prepare import Corpora, load_corpora
from nmt.data.sampled import sampled_epochs
from nmt.errors import CheckpointError, ModelError, TrainingError
from nmt.model.allocate import allocate_model
from nmt.processes import Processes
from nmt.runs.checkpoint import checkpoint_name, load_state, newest_checkpoint, remedy_for_writing, remove_leftovers
from nmt.runs.folder import RunFolder, remember_latest
from nmt.runs.kept import KeptCheckpoints
from nmt.runs.resume import InitFrom, load_first_weights, refuse_changed_data, start_of
from nmt.runs.versions import write_versions
from nmt.runs.weights import load_weights
from nmt.runtime import (
    STOP_SIGNALS,
    choose_device,
    choose_precision,
    log_to_file,
    release_memory,
    set_seed,
    set_up_machine,
    stop_signals,
)
from nmt.training.describe import describe_guidance, describe_run
from nmt.training.initial_weights import KnownModel, take_pretrained, take_weights
from nmt.training.progress import Best, Progress
from nmt.training.reporter import NoReporter, Reporter, readable
from nmt.training.state_checks import number
from nmt.training.trainer import Trainer, Update
from nmt.training.validation import Validator
from nmt.training.word_aligner import cached_word_aligner

log = logging.getLogger(__name__)
_RELEASE_EVERY = 200  # updates between two calls of `release_memory`


def run_train(config: Config, init_from: InitFrom | None = None) -> RunFolder:
    """Train a new run, or resume an unfinished run of the same name and configuration.

    Args:
        config: the configuration of the run.
        init_from: the model whose weights a new run begins with; None for random weights.

    Returns:
        The run's folder.

    Raises:
        NmtError: for anything the user can mend.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
        SystemExit: with 128 + the signal's number after SIGTERM, SIGHUP or SIGUSR1, when everything is saved.
    """
    try:
        with Processes.join(config.training.device) as processes:
            config = processes.broadcast(config)  # with --fresh, each process has chosen a free name on its own
            run = RunFolder(config.run_dir)
            set_up_machine(config.training.threads, processes.local_size)
            if not processes.is_first:
                log.setLevel(logging.WARNING)
            # locked from deciding to training, since another process could finish this run in between
            with run.locked() if processes.is_first else contextlib.nullcontext():
                _train_locked(config, run, init_from, processes)
    except OSError as error:
        where, why = error.filename or config.run_dir, error.strerror or error
        raise TrainingError(f"{where}: {why}. {remedy_for_writing(error)}") from None
    return run


def _train_locked(config: Config, run: RunFolder, init_from: InitFrom | None, processes: Processes) -> None:
    with processes.first_process_first():
        if processes.is_first:
            remove_leftovers(run.checkpoints)
        start = start_of(config, run, init_from)
        corpora = load_corpora(config, start.load_tokenizer(config))
    is_first_log = processes.is_first and not run.log.exists()
    handler = log_to_file(run.log) if processes.is_first else logging.NullHandler()
    try:
        session = _Session.open(config, run, corpora, start.checkpoint, processes)
        if start.weights is not None and init_from is not None:
            known = KnownModel(*load_first_weights(*start.weights))
            take_weights(session.trainer.model, corpora.tokenizer, known, init_from.reset)
            log.info("starting from the weights of %s", start.weights[1])
        if start.checkpoint is None:
            take_pretrained(session.trainer.model, corpora.tokenizer, config)
        if start.checkpoint is None and processes.is_first:
            shutil.rmtree(run.tokenizer, ignore_errors=True)  # of a start that reached no checkpoint
            run.tokenizer.mkdir()
            corpora.tokenizer.save(run.tokenizer)
            write_versions(run.path)
        session.run()
        if session.progress.ended and processes.is_first:
            reads_aligner = config.decoding.alignment_from in ("auto", "aligner")
            if corpora.aligner is not None and reads_aligner and not run.aligner.exists():
                cache, device = Path(config.data.cache_dir).expanduser(), choose_device(config.training.device)
                made = cached_word_aligner(corpora.aligner, corpora.train_text, cache, device)
                copy_folder(made, run.aligner)
            split = "" if config.data.test else " --split valid"
            log.info('next: nmt translate -m %s "A sentence." and nmt eval -m %s%s', run.path, run.path, split)
    finally:
        log.removeHandler(handler)
        handler.close()
        if is_first_log and not run.config.exists():  # a start that failed leaves nothing
            run.log.unlink(missing_ok=True)


class _Session:
    """One process's share of a run: it drives the trainer, validates, saves and stops."""

    def __init__(self, config: Config, run: RunFolder, corpora: Corpora, trainer: Trainer):
        self.config, self.run_folder, self.corpora, self.trainer = config, run, corpora, trainer
        self.metric = config.training.early_stopping.metric
        self.checkpoints = KeptCheckpoints(run.checkpoints, config.training)
        self.progress = Progress()
        self.window: dict[str, Any] = {}  # the reporter's sums when the run was interrupted
        self.validator = Validator(config, corpora, trainer)
        self.processes = trainer.processes
        self.received: list[int] = []  # signals to stop
        self.started = time.monotonic()
        trainer.local_stop_requests = self._stop_requests

    @classmethod
    def open(
        cls, config: Config, run: RunFolder, corpora: Corpora, checkpoint: Path | None, processes: Processes
    ) -> "_Session":
        """Build the model and the trainer, and restore them from the checkpoint if there is one."""
        device = choose_device(processes.device(config.training.device))
        precision = choose_precision(config.training.precision, device)
        set_seed(config.seed)
        tgt_size = corpora.tokenizer.tgt_size
        model = allocate_model(config, corpora.tokenizer.src_size, tgt_size, device)
        epochs = sampled_epochs(config, corpora)
        smoothed = corpora.train.tgt_pieces(tgt_size) if config.training.smoothed_pieces == "target" else None
        trainer = Trainer(
            config.training, config.seed, model, device, precision, epochs, config.guided_loss, processes, smoothed
        )
        session = cls(config, run, corpora, trainer)
        if checkpoint is not None:
            session._restore(checkpoint, torch.get_num_threads())
        describe_run(corpora, model, device, precision, processes)
        describe_guidance(corpora)
        return session

    def _restore(self, checkpoint: Path, threads: int) -> None:
        state = load_state(checkpoint)
        refuse_changed_data(self.run_folder, self.corpora, state)
        load_weights(checkpoint, self.trainer.model)
        try:
            self.trainer.load_state_dict(state["trainer"])
            self.progress = Progress.from_state(state["progress"])
            self.window = {key: number(state["window"], key) for key in ("loss", "nll", "tgt_tokens", "seconds")}
            self.started -= self.progress.seconds
            machine = {"processes": "1"} | {str(key): str(value) for key, value in state["machine"].items()}
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError, OverflowError) as error:
            raise CheckpointError(
                f"{checkpoint}: the trainer's state is damaged ({type(error).__name__}: {error}); remove that folder, "
                f"and training resumes from the checkpoint before it"
            ) from None
        if self.processes.is_first:
            self._repair_best()
        self.progress = self.processes.broadcast(self.progress)
        log.info("resuming %s after update %d", self.run_folder.path, self.trainer.update)
        if machine != (now := self._machine(threads)):
            changed = {key: f"{key} {machine.get(key)} -> {now[key]}" for key in now if machine.get(key) != now[key]}
            more = " and dropout" if "processes" in changed else ""
            what = ", ".join(changed.values())
            log.warning("the machine has changed (%s), so the numbers will differ by rounding%s", what, more)

    def _machine(self, threads: int) -> dict[str, str]:
        """Return what the exact result depends on, in addition to the configuration and the data."""
        return {
            "device": self.trainer.device.type,
            "threads": str(threads),
            "precision": str(self.trainer.precision).removeprefix("torch."),
            "processes": str(self.processes.size),
        }

    def run(self) -> None:
        """Train until there is a reason to stop, and save along the way."""
        reason = self._reason_to_stop()
        if reason is not None and self.progress.ended:
            if self.processes.is_first:
                log.info("%s is finished (%s); nothing to do", self.run_folder.path, reason)
                save_config(self.config, self.run_folder.config)  # for settings that may change, such as data.test
                remember_latest(self.run_folder)
            return
        if self.processes.is_first:
            save_config(self.config, self.run_folder.config)
        if (limit := self.config.training.max_minutes) is not None:
            log.info("training ends after %g minutes at the latest (training.max_minutes)", limit)
        with self._reporter() as reporter, stop_signals() as self.received:
            self.progress.ended = False
            try:
                for update in self.trainer.updates() if reason is None else ():
                    reporter.update(update)
                    reason = self._after(update, reporter)
                    if reason is not None:
                        break
            except (TrainingError, ModelError) as error:
                reporter.draw_curve()
                last = newest_checkpoint(self.run_folder.checkpoints)
                raise TrainingError(f"{error}. The last good checkpoint: {last or 'there is none yet'}") from None
            if (stopped_by := self._stopped_by()) is not None:
                self._leave(stopped_by, reporter)
            with reporter.paused():  # what follows does not count for the rate if more epochs are trained later
                if self.progress.validated != self.trainer.update:
                    self._validate(reporter)
                self.processes.barrier()
                if (averaging := self.config.training.averaging).checkpoints or averaging.ema:
                    self._average(reporter)
                reporter.draw_curve()
                self.progress.ended = True
                self._save(reporter)
        if not self.processes.is_first:
            return
        minutes = self.progress.seconds / 60
        log.info("finished (%s) after %d updates, %.1f minutes", reason, self.trainer.update, minutes)
        if (best := self.progress.best) is not None:
            log.info("best validation %s %s at update %d", self.metric, readable(best.value, 2), best.update)
        remember_latest(self.run_folder)

    def _reporter(self) -> Reporter | NoReporter:
        if not self.processes.is_first:
            return NoReporter()
        run, training = self.run_folder, self.config.training
        return Reporter(
            metrics=run.metrics,
            curve=run.curve,
            tensorboard=run.tensorboard if training.tensorboard else None,
            training=training,
            vocabulary=self.corpora.tokenizer.tgt_size,
            updates_done=self.trainer.update,
            seconds_done=self.progress.seconds,
            best=self.progress.best.update if self.progress.best else None,
            window=self.window,
        )

    def _stop_requests(self) -> list[bool]:
        """Return what to send to the others with each update: the signals received here, and whether time is up."""
        limit = self.config.training.max_minutes
        is_up = limit is not None and time.monotonic() - self.started >= 60 * limit
        return [*(kind in self.received for kind in STOP_SIGNALS), is_up]

    def _stopped_by(self) -> int | None:
        """Return the signal that all processes stop for; None if there is none."""
        if self.processes.size == 1:
            return self.received[0] if self.received else None
        return next((kind for kind, stop in zip(STOP_SIGNALS, self.trainer.stop_requests, strict=False) if stop), None)

    def _after(self, update: Update, reporter: Reporter | NoReporter) -> str | None:
        """Validate and save if it is time; return the reason to stop, or None to go on."""
        every = self.config.training.validation.every
        if (update.number % every == 0) if every else update.ends_epoch:
            with reporter.paused():
                self._validate(reporter)
        if update.number % _RELEASE_EVERY == 0:
            release_memory()
        return "interrupted" if self._stopped_by() is not None else self._reason_to_stop()

    def _reason_to_stop(self) -> str | None:
        if self.processes.size == 1 or self.config.training.max_minutes is None or self.trainer.stop_requests:
            self.progress.seconds = time.monotonic() - self.started
        if self.processes.size > 1 and self.config.training.max_minutes is not None:
            # Clocks differ slightly, so time is up only when an update has told all processes.
            before = self.progress.seconds if not self.trainer.stop_requests else 0.0  # of a run that is resumed
            is_up = bool(self.trainer.stop_requests) and self.trainer.stop_requests[-1]
            self.progress.seconds = 60 * self.config.training.max_minutes if is_up else before
        return self.progress.reason_to_stop(self.config.training, self.trainer.epoch, self.trainer.update)

    def _validate(self, reporter: Reporter | NoReporter) -> None:
        """Score the validation split, pass the result to the schedule and early stopping, and save."""
        trainer = self.trainer
        found = self.validator.run()
        reporter.pictures(trainer.update, found.matrices)
        trainer.schedule.observe(found.metrics)
        self.progress.values[checkpoint_name(trainer.update)] = found.metrics[self.metric], found.metrics["loss"]
        better = self.progress.observe(self.metric, found.metrics, trainer.update)
        reporter.validation(trainer.update, trainer.epoch + (trainer.position > 0), found.metrics, better)
        self._save(reporter)

    def _average(self, reporter: Reporter | NoReporter) -> None:
        """Average checkpoints, or take the moving average; the mean becomes the best model if it validates better."""
        update, what = self.trainer.update, ""
        self.trainer.take_average()
        if self.processes.is_first:
            what = self.checkpoints.write_mean(update, self.progress.values, self.trainer.model)
        self.processes.barrier()
        load_weights(self.checkpoints.mean_of(update), self.trainer.model)
        found = self.validator.run()
        reporter.pictures(update, found.matrices)
        newest = self.run_folder.checkpoints / checkpoint_name(update)  # `last` may be older if a process was killed
        load_weights(newest, self.trainer.model)
        better = self.progress.observe(self.metric, found.metrics, update, averaged=True)
        numbers = ", ".join(f"{name} {readable(value, 2)}" for name, value in found.metrics.items())
        reporter.mean_validation(update, self.trainer.epoch + (self.trainer.position > 0), found.metrics)
        log.info("%s: %s%s", what, numbers, "  * best so far" if better else "")
        self.processes.barrier()
        if self.processes.is_first:
            self.checkpoints.keep_mean(update, better)

    def _repair_best(self) -> None:
        """Point `best` at the checkpoint that the progress names; if that is lost, change the progress instead."""
        best = self.progress.best
        if best is None:
            return
        left = self.checkpoints.repair_best(best.update, best.averaged, self.progress.values)
        if left is None:
            self.progress.best = None
        elif left in self.progress.values and (best.averaged or left != checkpoint_name(best.update)):
            self.progress.best = Best(*self.progress.values[left], int(left.removeprefix("step-")))

    def _save(self, reporter: Reporter | NoReporter) -> None:
        if not self.processes.is_first:
            return
        self.progress.seconds = time.monotonic() - self.started
        state: dict[str, Any] = {
            "trainer": self.trainer.state_dict(),
            "progress": self.progress.state_dict(),
            "window": reporter.window_state(),
            **self.corpora.fingerprints,
            "machine": self._machine(torch.get_num_threads()),
        }
        update, best = self.trainer.update, self.progress.best
        is_best = best is not None and best.update == update and not best.averaged
        self.checkpoints.save(update, self.trainer.model, state, self.progress.values, is_best)
        remember_latest(self.run_folder)

    def _leave(self, signal_number: int, reporter: Reporter | NoReporter) -> None:
        """Save after a signal and end the process as the signal would have."""
        if self.progress.validated != self.trainer.update:
            self._save(reporter)
        reporter.draw_curve()
        self.processes.barrier()  # the end of one process is the end of all
        log.info("interrupted; saved after update %d. The same command resumes from here.", self.trainer.update)
        if signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal_number)
