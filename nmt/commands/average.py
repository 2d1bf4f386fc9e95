"""`nmt average`: one model from the mean of a run's checkpoints."""

import json
import re
from pathlib import Path

from nmt.config.load import load_config
from nmt.errors import CheckpointError
from nmt.runs.checkpoint import average_checkpoints, rank_checkpoints, validation_values
from nmt.runs.folder import RunFolder, resolved


def run_average(run: RunFolder, count: int | None, best: bool, name: str) -> tuple[Path, list[str]]:
    """Average the last, or the best, checkpoints that a run has kept.

    Args:
        run: a run folder.
        count: the number of checkpoints; None for all that are kept.
        best: whether to take those with the best validation metric instead of the last ones.
        name: the name of the new checkpoint.

    Returns:
        The folder of the new checkpoint, and the names of the averaged ones.

    Raises:
        CheckpointError: if the run has kept fewer than `count` checkpoints, or fewer than two if `count` is None; if
            the name cannot be used; or if the run is being trained or averaged at this moment.
    """
    of_training = name in ("best", "last") or name.startswith(("step-", "mean-"))
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or of_training:
        raise CheckpointError(
            f"'{name}' cannot be the name of a checkpoint; begin with a letter or a digit, go on with these, "
            f"'.', '_' and '-', and do not take best, last, step-... or mean-..., which training writes and removes"
        )
    if any(run.checkpoints.glob("*/model.safetensors")) and not any(run.checkpoints.glob("*/state.pt")):
        raise CheckpointError(
            f"{run.path} is a packed model, or one whose training state was removed; only the run folder that training "
            f"wrote has checkpoints to average"
        )
    with run.locked("is averaging this run's checkpoints"):
        target = run.checkpoints / name
        if resolved(run.checkpoints / "best") == resolved(target):
            raise CheckpointError(f"{target} is the run's best model; choose another --name")
        metric = load_config(run.config).training.early_stopping.metric if best else None
        order = rank_checkpoints(run.checkpoints, validation_values(run.checkpoints), metric)
        wanted = count or max(2, len(order))
        if len(order) < wanted:
            kept = "1 checkpoint that was" if len(order) == 1 else f"{len(order)} checkpoints that were"
            raise CheckpointError(
                f"{run.path} has kept {kept} validated, not {wanted}; train with training.keep_last={wanted} or more"
            )
        chosen = order[:wanted]
        average_checkpoints(chosen, target)
        _forget_calibration(run.calibration, name)
    return target, [path.name for path in chosen]


def _forget_calibration(path: Path, name: str) -> None:
    """Delete a calibration that was fitted to the checkpoint that had this name before."""
    try:
        fitted_to = json.loads(path.read_text(encoding="utf-8"))["checkpoint"]
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or it is damaged, which loading reports
        return
    if fitted_to == name:
        path.unlink()
