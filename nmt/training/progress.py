"""How far a run has come: its best validation, patience, and when to stop. Nothing here touches files or tensors."""

from dataclasses import asdict, dataclass, field
from typing import Any

from nmt.config import Metric, TrainingConfig
from nmt.evaluation.metrics import ranking_key
from nmt.training.state_checks import number, whole_number


@dataclass(frozen=True)
class Best:
    """The best validation so far.

    Attributes:
        value: the metric that early stopping watches.
        loss: the validation loss, which decides between equal values.
        update: the update that was validated.
        averaged: True if the validated model is a mean of checkpoints.
    """

    value: float
    loss: float
    update: int
    averaged: bool = False


@dataclass
class Progress:
    """What a resumed run must know in addition to the trainer's own state.

    Attributes:
        seconds: time spent in training and validation, over all restarts.
        best: the best validation so far; None before the first one.
        best_checkpoint: the best validation of a checkpoint that is not a mean, from which patience counts.
        bad_validations: the number of validations in a row without a new best checkpoint.
        validated: the update of the last validation.
        values: for the name of each validated checkpoint, its metric and its loss.
        ended: True if the final validation, averaging and plots are done.
    """

    seconds: float = 0.0
    best: Best | None = None
    best_checkpoint: Best | None = None
    bad_validations: int = 0
    validated: int = 0
    values: dict[str, tuple[float, float]] = field(default_factory=dict)
    ended: bool = False

    def observe(self, metric: Metric, metrics: dict[str, float], update: int, averaged: bool = False) -> bool:
        """Record a validation.

        Args:
            metric: the metric that early stopping watches.
            metrics: the values of this validation, which always include `loss`.
            update: the update that was validated.
            averaged: True for the mean of checkpoints at the end of a run, which does not count for patience.

        Returns:
            True if it is the best so far. Between equal values the loss decides, so that the first checkpoint does not
            remain the best if BLEU is always 0.00.
        """
        new = Best(metrics[metric], metrics["loss"], update, averaged)
        better = _is_better(metric, new, self.best)
        if better:
            self.best = new
        if not averaged:
            self.validated = update
            self.bad_validations += 1
            if _is_better(metric, new, self.best_checkpoint):
                self.best_checkpoint, self.bad_validations = new, 0
        return better

    def reason_to_stop(self, training: TrainingConfig, epochs_done: int, updates_done: int) -> str | None:
        """Return why training ends, as text for the log, or None if training continues."""
        if epochs_done >= training.epochs:
            return "all epochs done"
        if training.max_updates is not None and updates_done >= training.max_updates:
            return "training.max_updates reached"
        if training.max_minutes is not None and self.seconds >= 60 * training.max_minutes:
            return "training.max_minutes reached"
        if 0 < training.early_stopping.patience <= self.bad_validations:
            return f"no better {training.early_stopping.metric} in {self.bad_validations} validations"
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the fields as plain numbers, strings and dicts, for the checkpoint."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Progress":
        """Restore what `state_dict` returned.

        Raises:
            KeyError: if a field is missing; also AttributeError, TypeError or ValueError if a field has a wrong type.
        """
        best = None if state["best"] is None else _best(state["best"])
        # States of earlier versions have only one of the two.
        checkpoint = state.get("best_checkpoint", None if best is None or best.averaged else state["best"])
        number(state, "seconds"), whole_number(state, "bad_validations"), whole_number(state, "validated")
        if not isinstance(state["ended"], bool):
            raise ValueError("ended is neither true nor false")
        values = {str(name): (float(value), float(loss)) for name, (value, loss) in state["values"].items()}
        best_checkpoint = None if checkpoint is None else _best(checkpoint)
        return cls(**state | {"best": best, "best_checkpoint": best_checkpoint, "values": values})


def _best(state: dict[str, Any]) -> Best:
    value, loss = (number(state, key, finite=False) for key in ("value", "loss"))
    return Best(value, loss, whole_number(state, "update"), bool(state["averaged"]))


def _is_better(metric: Metric, new: Best, old: Best | None) -> bool:
    return old is None or ranking_key(metric, new.value, new.loss) > ranking_key(metric, old.value, old.loss)
