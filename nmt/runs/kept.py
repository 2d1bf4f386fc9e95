"""The checkpoints of a run while it is trained: which are kept, which is the best, and their mean at the end."""

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
Values = Mapping[str, tuple[float, float]]  # metric and loss of each validated checkpoint, by its name


class KeptCheckpoints:
    """The folder ``checkpoints`` of a run, as its training writes it."""

    def __init__(self, folder: Path, config: TrainingConfig):
        """Take the folder and the settings that say which checkpoints are kept."""
        self.folder, self.averaging, self.keep_last = folder, config.averaging, config.keep_last
        self.metric: Metric = config.early_stopping.metric

    def save(self, update: int, model: nn.Module, state: dict[str, Any], values: Values, is_best: bool) -> None:
        """Write the checkpoint after an update, and remove those that are no longer needed.

        Args:
            update: number of updates done.
            model: its parameters are saved.
            state: what training needs to go on.
            values: of the validated checkpoints.
            is_best: whether this one becomes `best`.
        """
        saved = save_checkpoint(self.folder, update, model, state)
        if is_best:
            point(self.folder / "best", saved.name)
        best = self._ranked(values, best=True)[: self.averaging.checkpoints] if self.averaging.which == "best" else []
        prune(self.folder, self.keep_last, values, [path.name for path in best])

    def write_mean(self, update: int, values: Values, model: nn.Module) -> str:
        """Write the mean that is made at the end, and return what it is, for a person.

        Args:
            update: number of updates done.
            values: of the validated checkpoints.
            model: has the moving average, if that is the mean.
        """
        if self.averaging.ema:
            write_model(self.mean_of(update), model)
            return "moving average"
        return f"mean of the {self.averaging.which} {self._average(update, values)} checkpoints"

    def _average(self, update: int, values: Values) -> int:
        """Write the mean of the last or best checkpoints; return of how many it is."""
        order = self._ranked(values, best=self.averaging.which == "best")
        chosen = [path for path in order if find_damage(path) is None][: self.averaging.checkpoints]
        if len(chosen) < self.averaging.checkpoints:
            log.warning("only %d of %d checkpoints are there to be averaged", len(chosen), self.averaging.checkpoints)
        average_checkpoints(chosen, self.mean_of(update))
        return len(chosen)

    def mean_of(self, update: int) -> Path:
        """Return where the mean of checkpoints is that was made after an update."""
        return self.folder / f"mean-{update:06d}"

    def keep_mean(self, update: int, better: bool) -> None:
        """Let `best` be the mean that was made after an update, or remove that mean if it is not better."""
        target = self.mean_of(update)
        if not better:
            shutil.rmtree(target)
            return
        point(self.folder / "best", target.name)
        for other in self.folder.glob("mean-*"):
            if other != target:
                shutil.rmtree(other)

    def repair_best(self, update: int, averaged: bool, values: Values) -> str | None:
        """Make `best` the checkpoint that it should be; if that is gone or damaged, the best one that is left.

        Args:
            update: of the best checkpoint.
            averaged: whether it is a mean of checkpoints.
            values: of the validated checkpoints.

        Returns:
            The name of the best checkpoint, None if none is left.
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
        """Return the kept checkpoints that were validated, the best or the newest first as the settings say."""
        return rank_checkpoints(self.folder, values, self.metric if best else None)
