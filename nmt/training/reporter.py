"""Reports on a training run: the progress bar, the log, metrics.jsonl, TensorBoard, and the training curve."""

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from nmt.alignment.heatmap import draw_heatmaps
from nmt.alignment.matrix import AlignmentMatrix
from nmt.atomic import atomic_write
from nmt.config import TrainingConfig
from nmt.evaluation.metrics import perplexity
from nmt.quiet import no_bar
from nmt.training.curve import draw_curve
from nmt.training.records import read_records
from nmt.training.trainer import Update

log = logging.getLogger(__name__)

_BAR = "{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"  # the bar itself takes the remaining width
_SLOW = 0.4  # a run is called slow below this fraction of its best rate
_READABLE = 1e6  # larger numbers are written with an exponent


def readable(value: float, digits: int) -> str:
    """Return a number as text with `digits` decimals, or with an exponent if it would be too long to read."""
    return f"{value:.{digits}f}" if abs(value) < _READABLE else f"{value:.3g}"


def duration_text(seconds: float) -> str:
    """Return a duration as readable text, such as ``1 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


class Reporter:
    """Reports updates and validations; it writes only to the run's folder and to stderr."""

    def __init__(
        self,
        *,
        metrics: Path,
        curve: Path,
        tensorboard: Path | None,
        training: TrainingConfig,
        vocabulary: int,
        updates_done: int,
        seconds_done: float,
        best: int | None,
        window: dict[str, Any],
    ):
        """Open the files.

        Args:
            metrics: the file of metrics, one JSON object per line.
            curve: the picture of the training curve.
            tensorboard: the folder of TensorBoard's event files; None for none.
            training: the settings of the loop, such as when lines are written and when the run ends.
            vocabulary: the number of target pieces.
            updates_done: the updates of a resumed run so far; later lines of metrics are removed.
            seconds_done: the seconds that a resumed run has taken so far.
            best: the update of the best validation so far.
            window: what `window_state` returned when the checkpoint was saved; empty for a new run.
        """
        self.training, self.vocabulary = training, vocabulary
        self.curve_path, self.best = curve, best
        self._started, self._seconds_done, self._updates = time.perf_counter(), seconds_done, 0
        self._warned, self._slow, self._best_rate = False, False, 0.0
        self.history = [record for record in read_records(metrics) if record["update"] <= updates_done]
        with atomic_write(metrics) as tmp_path:
            tmp_path.write_text("".join(json.dumps(record) + "\n" for record in self.history), encoding="utf-8")
        self._metrics = metrics.open("a", encoding="utf-8")
        self._writer: Any = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(tensorboard), purge_step=updates_done + 1)
        self._bar: tqdm[Any] | None = None
        self._window = _Window(**window)

    def update(self, update: Update) -> None:
        """Report an update."""
        self._window.add(update)
        self._updates += 1
        self._warn_of_divergence(update)
        bar = self._bar_of(update)
        bar.update(1)
        if bar.disable is False and update.number % 5 == 0:
            short = f"{self._window.describe_shortly()}, {duration_text(self.seconds_left(update))} left"
            bar.set_postfix_str(short, refresh=False)
        if update.number % self.training.log_every == 0:
            record = {"update": update.number, "epoch": update.epoch} | self._window.record(update)
            self._write(record)
            self._warn_of_slowness(update.number)
            if bar.disable:
                log.info(
                    "epoch %d of %d, update %d (%d of %d): %s, at most %s left",
                    update.epoch,
                    self.training.epochs,
                    update.number,
                    update.position,
                    update.epoch_updates,
                    self._window.describe(),
                    duration_text(self.seconds_left(update)),
                )
            self._window = _Window()
        if update.ends_epoch:
            self.close_bar()

    def seconds_left(self, update: Update) -> float:
        """Return the estimated seconds to the end of the run, including validations, if nothing stops it early."""
        training = self.training
        updates = (training.epochs - update.epoch + 1) * update.epoch_updates - update.position
        if training.max_updates is not None:
            updates = min(updates, training.max_updates - update.number)
        spent = time.perf_counter() - self._started
        left = max(0, updates) * spent / max(1, self._updates)
        if training.max_minutes is not None:
            left = min(left, 60 * training.max_minutes - self._seconds_done - spent)
        return max(0.0, left)

    def _warn_of_divergence(self, update: Update) -> None:
        """Warn once if the model is far worse than random guessing."""
        guessing = math.log(self.vocabulary)
        if self._warned or update.nll <= 2 * guessing:
            return
        self._warned = True
        log.warning(
            "update %d: the loss is %s nats per token, although guessing any piece gives %.1f: training diverges; "
            "lower training.optimizer.lr",
            update.number,
            readable(update.nll, 1),
            guessing,
        )

    def _warn_of_slowness(self, update: int) -> None:
        """Warn once if the run has become far slower than before."""
        rate, best = self._window.rate, self._best_rate
        self._best_rate = max(rate, best)
        if self._slow or rate >= _SLOW * best:
            return
        self._slow = True
        log.warning(
            "update %d: %s tokens/s, and it was %s before: other programs may be using the cores (see top), or the "
            "machine may be hot or short of memory. While other programs run, fewer threads can be faster (--set "
            "training.threads=1)",
            update,
            f"{rate:,.0f}",
            f"{best:,.0f}",
        )

    def window_state(self) -> dict[str, Any]:
        """Return the sums since the last line of metrics, from which a resumed run continues its next line."""
        window = self._window
        return {"loss": window.loss, "nll": window.nll, "tgt_tokens": window.tgt_tokens, "seconds": window.elapsed}

    def validation(self, update: int, epoch: int, metrics: dict[str, float], best: bool) -> None:
        """Record a validation: write it to metrics.jsonl and the log, and redraw the training curve.

        Args:
            update: number of updates done.
            epoch: number of the epoch, from 1.
            metrics: values by their names.
            best: True if this is the best validation so far.
        """
        self.best = update if best else self.best
        self._write({"update": update, "epoch": epoch, "valid": metrics})
        numbers = ", ".join(
            f"{name} {readable(value, 1 if name in ('bleu', 'chrf') else 3)}" for name, value in metrics.items()
        )
        log.info(
            "validation after update %d (epoch %d): %s%s", update, epoch, numbers, "  * best so far" if best else ""
        )
        self.draw_curve()

    def mean_validation(self, update: int, epoch: int, metrics: dict[str, float]) -> None:
        """Record the validation of the mean of checkpoints; the arguments are those of `validation`."""
        self._write({"update": update, "epoch": epoch, "valid": metrics, "averaged": True})

    def pictures(self, update: int, matrices: Sequence[AlignmentMatrix]) -> None:
        """Draw the alignments of a few fixed sentences for TensorBoard."""
        if self._writer is not None and matrices:
            self._writer.add_figure("alignment", draw_heatmaps(matrices), update)

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time spent in this context (validation, saving) from the training rate."""
        self._window.pause()
        yield
        self._window.resume()

    def close_bar(self) -> None:
        """Close the progress bar of the epoch."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def draw_curve(self) -> None:
        """Write the training curve: the losses, BLEU and chrF over updates."""
        with atomic_write(self.curve_path) as tmp_path:
            draw_curve(self.history, tmp_path, self.best)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_bar()
        self._metrics.close()
        if self._writer is not None:
            self._writer.close()

    def _bar_of(self, update: Update) -> "tqdm[Any]":
        if self._bar is None:
            self._bar = tqdm(
                total=update.epoch_updates,
                initial=update.position - 1,
                desc=f"epoch {update.epoch}/{self.training.epochs}",
                unit="update",
                bar_format=_BAR,
                disable=no_bar(),
                leave=False,
                dynamic_ncols=True,
            )
        return self._bar

    def _write(self, record: dict[str, Any]) -> None:
        self.history.append(record)
        self._metrics.write(json.dumps(record) + "\n")
        self._metrics.flush()
        if self._writer is not None and "averaged" not in record:
            group = "valid" if "valid" in record else "train"
            for name, value in (record.get("valid") or record).items():
                if name not in ("update", "epoch"):
                    self._writer.add_scalar(f"{group}/{name}", value, record["update"])


class NoReporter:
    """A reporter that reports nothing, for every process except the first."""

    def update(self, update: Update) -> None:
        """Ignore an update."""

    def validation(self, update: int, epoch: int, metrics: dict[str, float], best: bool) -> None:
        """Ignore a validation."""

    def mean_validation(self, update: int, epoch: int, metrics: dict[str, float]) -> None:
        """Ignore the validation of a mean."""

    def pictures(self, update: int, matrices: Sequence[AlignmentMatrix]) -> None:
        """Draw nothing."""

    def draw_curve(self) -> None:
        """Draw nothing."""

    def window_state(self) -> dict[str, Any]:
        """Return an empty state."""
        return {}

    def paused(self) -> contextlib.nullcontext[None]:
        """Pause nothing."""
        return contextlib.nullcontext()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Window:
    """Sums since the last line of metrics."""

    def __init__(self, loss: float = 0.0, nll: float = 0.0, tgt_tokens: int = 0, seconds: float = 0.0):
        self.loss, self.nll, self.tgt_tokens, self.seconds = loss, nll, tgt_tokens, seconds
        self.lr, self.since = 0.0, time.perf_counter()

    def add(self, update: Update) -> None:
        self.loss += update.loss * update.tgt_tokens
        self.nll += update.nll * update.tgt_tokens
        self.tgt_tokens += update.tgt_tokens
        self.lr = update.lr

    def pause(self) -> None:
        self.seconds, self.since = self.elapsed, math.inf

    def resume(self) -> None:
        self.since = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds of training."""
        return self.seconds + max(0.0, time.perf_counter() - self.since)

    @property
    def rate(self) -> float:
        """Target tokens per second of training."""
        return self.tgt_tokens / max(1e-9, self.elapsed)

    def describe(self) -> str:
        mean = self.nll / self.tgt_tokens
        loss = self.loss / self.tgt_tokens
        return (
            f"loss {readable(loss, 3)}, ppl {readable(perplexity(mean), 2)}, lr {self.lr:.2e}, "
            f"{self.rate:,.0f} tokens/s"
        )

    def describe_shortly(self) -> str:
        return f"ppl {readable(perplexity(self.nll / self.tgt_tokens), 2)}, {self.rate:,.0f} tokens/s"

    def record(self, update: Update) -> dict[str, float]:
        norm = {"grad_norm": update.grad_norm} if math.isfinite(update.grad_norm) else {}  # JSON has no infinity
        return {
            "loss": self.loss / self.tgt_tokens,
            "ppl": perplexity(self.nll / self.tgt_tokens),
            "lr": update.lr,
            **norm,
            "teacher_forcing": update.teacher_forcing,
            "tgt_tokens": self.tgt_tokens,
            "tokens_per_second": self.rate,
        }
