"""`nmt train`: data, model, the loop and everything that is done between its updates."""

import importlib.metadata
import json
import logging
import math
import platform
import shutil
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from nmt.alignment.diagnostics import diagnose
from nmt.config import LOWER_IS_BETTER, Config
from nmt.config_file import save_config
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.translator import Translator
from nmt.errors import CheckpointError, TrainingError
from nmt.evaluation import corpus_scores, perplexity
from nmt.model.build import build_model
from nmt.pipeline.begin import earlier_checkpoint, first_weights
from nmt.pipeline.corpora import EPOCH_TABLES, Corpora, SampledEpochs, load_corpora
from nmt.run_folder import RunFolder, point, remember_latest
from nmt.runtime import choose_device, choose_precision, log_to_file, release_memory, set_seed, set_up_machine
from nmt.training.checkpoint import (
    average_checkpoints,
    checkpoint_name,
    damage,
    load_state,
    load_weights,
    newest,
    prune,
    ranked,
    save_checkpoint,
    tidy,
)
from nmt.training.reporter import Reporter
from nmt.training.trainer import Trainer, Update, corpus_loss

log = logging.getLogger("nmt")
_RELEASE_EVERY = 200  # updates; freed memory goes back to the system, or what many shapes leave behind adds up
_PACKAGES = ("nmt", "torch", "sentencepiece", "datasets", "sacrebleu", "safetensors", "numpy")


def run_train(config: Config, init_from: Path | None = None) -> RunFolder:
    """Train, or go on with an unfinished run of the same name and configuration.

    Args:
        config: of the run.
        init_from: a run folder whose weights and tokenizer a new run begins with; a resumed one does not look at it.

    Returns:
        The run's folder.

    Raises:
        NmtError: for anything the user can mend.
        KeyboardInterrupt: after Ctrl-C, when everything is saved.
        SystemExit: with 143 after SIGTERM, when everything is saved.
    """
    set_up_machine(config.training.threads)
    run = RunFolder(config.run_dir)
    if run.checkpoints.is_dir():
        with run.locked():
            tidy(run.checkpoints)
    checkpoint = earlier_checkpoint(config, run)
    if init_from is not None and checkpoint is not None:
        log.info("%s has begun already and goes on; %s is for a new run (--fresh)", run.path, init_from)
    first = first_weights(config, init_from) if init_from is not None and checkpoint is None else None
    known = run if checkpoint else first[0] if first else None
    corpora = load_corpora(config, Tokenizer.load(known.tokenizer) if known else None)
    with run.locked():
        handler = log_to_file(run.log)
        try:
            session = _Session.open(config, run, corpora, checkpoint)
            if first is not None:
                load_weights(first[1], session.trainer.model)
                log.info("beginning with the weights of %s", first[1])
            if checkpoint is None:
                corpora.tokenizer.save(run.tokenizer)
                _write_versions(run)
            session.run()
        except OSError as error:
            raise TrainingError(
                f"{error.filename or run.path}: {error.strerror or error}. Make room, or see that {run.path} can be "
                f"written; the same command then goes on from the last checkpoint"
            ) from None
        finally:
            log.removeHandler(handler)
            handler.close()
            for epoch_table in run.path.glob(EPOCH_TABLES):
                epoch_table.unlink()
    return run


def _write_versions(run: RunFolder) -> None:
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    versions |= {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    (run.path / "versions.json").write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")


@dataclass
class _Progress:
    """What outlives a restart beside the trainer's own state."""

    seconds: float = 0.0  # of training and validation, over all restarts
    best: dict[str, float] = field(default_factory=dict)  # {"value": ..., "update": ...} of the early stopping metric
    bad_validations: int = 0
    validated: int = 0  # the update of the last validation
    averaged: bool = False  # whether the best so far is a mean of checkpoints
    values: dict[str, float] = field(default_factory=dict)  # the metric of each validated checkpoint, by name
    ended: bool = False  # whether everything that comes after the last update is done, too


class _Session:
    """One process's share of a run."""

    def __init__(self, config: Config, run: RunFolder, corpora: Corpora, trainer: Trainer):
        self.config, self.run_folder, self.corpora, self.trainer = config, run, corpora, trainer
        self.progress = _Progress()
        self.window: dict[str, Any] = {}  # the reporter's sums when the run was left
        settings = config.decoding.model_copy(update={"beam_size": config.training.validation.beam_size})
        self.translator = Translator(trainer.model, corpora.tokenizer, settings, trainer.device)
        self.started = time.monotonic()

    @classmethod
    def open(cls, config: Config, run: RunFolder, corpora: Corpora, checkpoint: Path | None) -> "_Session":
        """Build model and trainer, and bring them to where the checkpoint left off."""
        device = choose_device(config.training.device)
        precision = choose_precision(config.training.precision, device)
        set_seed(config.seed)
        model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size).to(device)
        sampled = config.tokenizer.sampling.enabled
        corpus_of_epoch = SampledEpochs(config, corpora, run.path) if sampled else lambda epoch: corpora.train
        trainer = Trainer(config.training, config.seed, model, device, precision, corpus_of_epoch)
        session = cls(config, run, corpora, trainer)
        if checkpoint is not None:
            state = load_state(checkpoint)
            if state["data"] != corpora.fingerprint:
                raise CheckpointError(
                    f"{run.path}: the training data is not what this run was started with; "
                    f"give the new run another name (--set name=...)"
                )
            load_weights(checkpoint, model)
            trainer.load_state_dict(state["trainer"])
            session.progress, session.window = _Progress(**state["progress"]), state["window"]
            session.started -= session.progress.seconds
            session._mend_best()
            log.info("going on with %s after update %d", run.path, trainer.update)
        _describe(config, corpora, model, device, precision)
        return session

    def run(self) -> None:
        """Train until something says stop; save on the way."""
        reason = self._reason_to_stop()
        if reason is not None and self.progress.ended:
            log.info("%s is finished (%s); nothing to do", self.run_folder.path, reason)
            remember_latest(self.run_folder)
            return
        save_config(self.config, self.run_folder.config)
        training = self.config.training
        with (
            Reporter(
                self.run_folder, training.log_every, training.tensorboard, self.trainer.update, self.window
            ) as reporter,
            _signals() as received,
        ):
            self.progress.ended = False
            try:
                for update in self.trainer.updates() if reason is None else ():
                    reporter.update(update)
                    reason = self._after(update, reporter, received)
                    if reason is not None:
                        break
            except TrainingError as error:
                last = newest(self.run_folder.checkpoints)
                raise TrainingError(f"{error}. The last good checkpoint: {last or 'there is none yet'}") from None
            if received:
                self._leave(received[0], reporter)
            if self.progress.validated != self.trainer.update:
                self._validate(reporter)
            if training.averaging.checkpoints > 1:
                self._average(reporter)
            reporter.draw_curve()
            self.progress.ended = True
            self._save(reporter)
        log.info(
            "finished (%s) after %d updates, %.1f minutes",
            reason or "all epochs done",
            self.trainer.update,
            self.progress.seconds / 60,
        )
        if self.progress.best:
            best, metric = self.progress.best, training.early_stopping.metric
            log.info("best validation %s %.2f at update %d", metric, best["value"], best["update"])
        remember_latest(self.run_folder)

    def _after(self, update: Update, reporter: Reporter, received: list[int]) -> str | None:
        """Validate and save if it is time; returns why to stop, or None."""
        every = self.config.training.validation.every
        if (update.number % every == 0) if every else update.ends_epoch:
            with reporter.paused():
                self._validate(reporter)
        if update.number % _RELEASE_EVERY == 0:
            release_memory()
        if received:
            return "interrupted"
        return self._reason_to_stop()

    def _reason_to_stop(self) -> str | None:
        training, trainer = self.config.training, self.trainer
        self.progress.seconds = time.monotonic() - self.started
        if trainer.epoch >= training.epochs:
            return "all epochs done"
        if training.max_updates is not None and trainer.update >= training.max_updates:
            return "training.max_updates reached"
        if training.max_minutes is not None and self.progress.seconds >= 60 * training.max_minutes:
            return "training.max_minutes reached"
        if 0 < training.early_stopping.patience <= self.progress.bad_validations:
            return f"no better {training.early_stopping.metric} in {self.progress.bad_validations} validations"
        return None

    def _validate(self, reporter: Reporter) -> None:
        """Score the validation split, let schedule and early stopping know, save."""
        trainer, progress = self.trainer, self.progress
        metrics = self._metrics(reporter)
        trainer.schedule.observe(metrics)
        progress.validated = trainer.update
        self.progress.values[checkpoint_name(trainer.update)] = metrics[self.config.training.early_stopping.metric]
        better = self._note_best(metrics)
        reporter.validation(trainer.update, trainer.epoch + (trainer.position > 0), metrics, better)
        self._save(reporter)

    def _average(self, reporter: Reporter) -> None:
        """The mean of the last or best checkpoints, which becomes the best model if it validates better."""
        folder, averaging = self.run_folder.checkpoints, self.config.training.averaging
        order = self._ranked(best=averaging.which == "best")
        chosen = [path for path in order if damage(path) is None][: averaging.checkpoints]
        if len(chosen) < averaging.checkpoints:
            log.warning("only %d of %d checkpoints are there to be averaged", len(chosen), averaging.checkpoints)
        target = folder / f"mean-{self.trainer.update:06d}"
        average_checkpoints(chosen, target)
        load_weights(target, self.trainer.model)
        metrics = self._metrics(reporter)
        load_weights(folder / checkpoint_name(self.trainer.update), self.trainer.model)  # `last` may be a kill behind
        better = self._note_best(metrics)
        numbers = ", ".join(f"{name} {value:.2f}" for name, value in metrics.items())
        log.info(
            "mean of the %s %d checkpoints: %s%s",
            averaging.which,
            len(chosen),
            numbers,
            "  * best so far" if better else "",
        )
        if better:
            self.progress.averaged = True
            point(folder / "best", target.name)
            for other in folder.glob("mean-*"):
                if other != target:
                    shutil.rmtree(other)
        else:
            shutil.rmtree(target)

    def _metrics(self, reporter: Reporter) -> dict[str, float]:
        """The validation split's loss and perplexity, and BLEU and chrF if sentences are decoded."""
        smoothing = self.config.training.label_smoothing
        loss = corpus_loss(self.trainer.model, self.corpora.valid.in_order(), self.trainer.device, smoothing)
        metrics = {"loss": loss.loss, "ppl": perplexity(loss.nll * loss.tgt_tokens, loss.tgt_tokens)}
        return metrics | (self._decode(reporter) if self.config.training.validation.sentences else {})

    def _decode(self, reporter: Reporter) -> dict[str, float]:
        """Translate validation sentences: BLEU and chrF, samples for the log, alignments for TensorBoard."""
        validation, evaluation = self.config.training.validation, self.config.evaluation
        chosen = self.corpora.valid_text.select(range(min(validation.sentences, len(self.corpora.valid_text))))
        translations = self.translator.translate(list(chosen["src"]))
        hyps = [translation.tgt.text for translation in translations]
        for index in range(min(validation.samples, len(hyps))):
            log.info("  src: %s\n  hyp: %s\n  ref: %s", chosen["src"][index], hyps[index], chosen["tgt"][index])
        matrices = [
            translation.alignment() for translation in translations[: validation.samples] if translation.tgt.ids
        ]
        reporter.pictures(self.trainer.update, [matrix for matrix in matrices if matrix is not None])
        scores = corpus_scores(
            hyps, list(chosen["tgt"]), evaluation.bleu_tokenize, evaluation.lowercase, ("bleu", "chrf")
        )
        metrics = {name: score.value for name, score in scores.items()}
        seen = [diagnose(matrix) for matrix in (one.alignment() for one in translations) if matrix is not None]
        if seen:
            metrics["attention_entropy"] = statistics.mean(one.entropy for one in seen)
            metrics["source_coverage"] = statistics.mean(one.coverage for one in seen)
        return metrics

    def _mend_best(self) -> None:
        """Make `best` what the progress says; where that vanished or is damaged, the best of those that are left."""
        folder, progress = self.run_folder.checkpoints, self.progress
        if not progress.best:
            return
        if not progress.averaged and damage(folder / (name := checkpoint_name(int(progress.best["update"])))) is None:
            if (folder / "best").resolve().name != name:  # the process died between the checkpoint and the link
                point(folder / "best", name)
            return
        if (folder / "best").exists() and damage(folder / "best") is None:
            return
        left = next((path.name for path in self._ranked(best=True) if damage(path) is None), None)
        log.warning("%s is missing or damaged; the best that is left is %s", folder / "best", left or "none")
        (folder / "best").unlink(missing_ok=True)
        progress.best, progress.averaged = {}, False
        if left is not None:
            progress.best = {"value": progress.values[left], "update": int(left.removeprefix("step-"))}
            point(folder / "best", left)

    def _ranked(self, best: bool) -> list[Path]:
        """The validated checkpoints that are kept, the best or the newest first."""
        metric = self.config.training.early_stopping.metric if best else None
        return ranked(self.run_folder.checkpoints, self.progress.values, metric)

    def _note_best(self, metrics: dict[str, float]) -> bool:
        metric = self.config.training.early_stopping.metric
        value, progress = metrics[metric], self.progress
        worst = math.inf if metric in LOWER_IS_BETTER else -math.inf
        before = progress.best.get("value", worst)
        better = value < before if metric in LOWER_IS_BETTER else value > before
        if better:
            progress.best = {"value": value, "update": self.trainer.update}
            progress.averaged = False
        progress.bad_validations = 0 if better else progress.bad_validations + 1
        return better

    def _save(self, reporter: Reporter) -> None:
        self.progress.seconds = time.monotonic() - self.started
        state: dict[str, Any] = {
            "trainer": self.trainer.state_dict(),
            "progress": vars(self.progress),
            "window": reporter.window_state(),
            "data": self.corpora.fingerprint,
        }
        folder = self.run_folder.checkpoints
        saved = save_checkpoint(folder, self.trainer.update, self.trainer.model, state)
        if self.progress.best.get("update") == self.trainer.update and not self.progress.averaged:
            point(folder / "best", saved.name)
        averaging = self.config.training.averaging
        to_average = self._ranked(best=True)[: averaging.checkpoints] if averaging.which == "best" else []
        prune(folder, self.config.training.keep_last, self.progress.values, [path.name for path in to_average])
        remember_latest(self.run_folder)

    def _leave(self, signal_number: int, reporter: Reporter) -> None:
        """Save after a signal and end the process as the signal would have."""
        if self.progress.validated != self.trainer.update:
            self._save(reporter)
        log.info("interrupted; saved after update %d. The same command goes on from here.", self.trainer.update)
        if signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + signal_number)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM instead of dying of it; a second one ends the process as usual."""
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for kind, handler in before.items():
            signal.signal(kind, handler)

    before = {kind: signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)}
    for kind in before:
        signal.signal(kind, receive)
    try:
        yield received
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def _describe(
    config: Config, corpora: Corpora, model: torch.nn.Module, device: torch.device, precision: torch.dtype
) -> None:
    train, tokenizer = corpora.train, corpora.tokenizer
    log.info(
        "%d training pairs (dropped: %d empty, %d too long), %d for validation",
        len(train),
        train.drops.empty,
        train.drops.too_long,
        len(corpora.valid),
    )
    vocabulary = (
        f"{tokenizer.src_size} joint pieces"
        if tokenizer.joint
        else f"{tokenizer.src_size} + {tokenizer.tgt_size} pieces"
    )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    log.info(
        "%s, %s parameters, %s on %s with %d threads",
        vocabulary,
        f"{parameters:,}",
        str(precision).removeprefix("torch."),
        device,
        torch.get_num_threads(),
    )
