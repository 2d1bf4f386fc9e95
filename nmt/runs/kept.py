"""The checkpoints that training writes: which of them are kept, which is the best, and their mean at the end."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from nmt.config import Metric, TrainingConfig
from nmt.runs.checkpoint import (
    average_checkpoints,
    checkpoint_name,
    find_damage,
    prune,
    rank_checkpoints,
    save_checkpoint,
    write_model,
)
from nmt.runs.folder import resolved
from nmt.runs.pointers import follow, point

log = logging.getLogger(__name__)
Values = Mapping[str, tuple[float, float]]  # name of each validated checkpoint → its metric and loss


class KeptCheckpoints:
    """Writes the folder ``checkpoints`` of a run during training."""

    def __init__(self, folder: Path, config: TrainingConfig):
        """Take the folder and the settings that determine which checkpoints are kept."""
        self.folder, self.averaging, self.keep_last = folder, config.averaging, config.keep_last
        self.metric: Metric = config.early_stopping.metric

    def save(self, update: int, model: nn.Module, state: dict[str, Any], values: Values, is_best: bool) -> None:
        """Write the checkpoint after an update, and remove those that are no longer needed.

        Args:
            update: number of updates done.
            model: the model whose parameters are saved.
            state: the trainer's state, which is needed to continue the training.
            values: the values of the validated checkpoints.
            is_best: whether this checkpoint becomes `best`.
        """
        saved = save_checkpoint(self.folder, update, model, state)
        if is_best:
            point(self.folder / "best", saved.name)
        best = self._ranked(values, best=True)[: self.averaging.checkpoints] if self.averaging.which == "best" else []
        prune(self.folder, self.keep_last, values, [path.name for path in best])

    def write_mean(self, update: int, values: Values, model: nn.Module) -> str:
        """Write the mean that is made at the end of training, and return a description of it.

        Args:
            update: number of updates done.
            values: the values of the validated checkpoints.
            model: the model with the moving average as its weights if `averaging.ema` is set; otherwise it is not used.
        """
        if self.averaging.ema:
            write_model(self.mean_of(update), model)
            return "moving average"
        return f"mean of the {self.averaging.which} {self._average(update, values)} checkpoints"

    def _average(self, update: int, values: Values) -> int:
        """Write the mean of the last or the best checkpoints, and return how many were averaged."""
        order = self._ranked(values, best=self.averaging.which == "best")
        chosen = [path for path in order if find_damage(path) is None][: self.averaging.checkpoints]
        if len(chosen) < self.averaging.checkpoints:
            log.warning(
                "only %d of %d checkpoints are available to be averaged", len(chosen), self.averaging.checkpoints
            )
        average_checkpoints(chosen, self.mean_of(update))
        return len(chosen)

    def mean_of(self, update: int) -> Path:
        """Return the folder of the mean that is made after an update."""
        return self.folder / f"mean-{update:06d}"

    def keep_mean(self, update: int, better: bool) -> None:
        """Make the mean that was made after an update the `best` checkpoint, or remove it if it is not better."""
        target = self.mean_of(update)
        if not better:
            shutil.rmtree(target)
            return
        point(self.folder / "best", target.name)
        for other in self.folder.glob("mean-*"):
            if other != target:
                shutil.rmtree(other)

    def repair_best(self, update: int, averaged: bool, values: Values) -> str | None:
        """Make `best` point to the best checkpoint, or to the best that is left if that one is missing or damaged.

        Args:
            update: the update after which the best checkpoint was saved.
            averaged: whether the best checkpoint is a mean of checkpoints.
            values: the values of the validated checkpoints.

        Returns:
            The name of the checkpoint that `best` points to; None if none is left.
        """
        best, name = self.folder / "best", checkpoint_name(update)
        if not averaged and find_damage(self.folder / name) is None:
            if resolved(best).name != name:  # the process died between the checkpoint and the link
                point(best, name)
            return name
        if follow(best).exists() and find_damage(follow(best)) is None:
            return resolved(best).name
        left = next((path.name for path in self._ranked(values, best=True) if find_damage(path) is None), None)
        log.warning("%s is missing or damaged; the best that is left is %s", best, left or "none")
        best.unlink(missing_ok=True)
        if left is not None:
            point(best, left)
        return left

    def _ranked(self, values: Values, best: bool) -> list[Path]:
        """Return the existing checkpoints that were validated, the best first if `best`, else the newest first."""
        return rank_checkpoints(self.folder, values, self.metric if best else None)
