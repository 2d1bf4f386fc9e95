"""`nmt average`: one model from the mean of a run's checkpoints."""

import json
import re
from pathlib import Path
from typing import Any

from nmt.config import LOWER_IS_BETTER
from nmt.config_file import load_config
from nmt.errors import CheckpointError
from nmt.run_folder import RunFolder
from nmt.training.checkpoint import average_checkpoints, kept_checkpoints


def run_average(run: RunFolder, count: int, best: bool, name: str) -> tuple[Path, list[str]]:
    """Average the last, or the best, checkpoints that a run has kept.

    Args:
        run: a run folder.
        count: how many.
        best: those of the best validation metric instead of the last.
        name: of the new checkpoint.

    Returns:
        Its folder, and the names of those averaged.

    Raises:
        CheckpointError: if the run has not kept so many.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name in ("best", "last") or name.startswith("step-"):
        raise CheckpointError(
            f"'{name}' cannot be a checkpoint's name: letters, digits, '.', '_' and '-', and not best, last or step-..."
        )
    target = run.checkpoints / name
    if (run.checkpoints / "best").resolve() == target.resolve():
        raise CheckpointError(f"{target} is the run's best model; choose another --name")
    kept = kept_checkpoints(run.checkpoints)
    order = _best_first(run, kept) if best else kept[::-1]
    if len(order) < count:
        what = "validated checkpoints" if best else "checkpoints"
        raise CheckpointError(
            f"{run.path} has kept {len(order)} {what}, not {count}; train with training.keep_last={count} or more"
        )
    chosen = order[:count]
    average_checkpoints(chosen, target)
    return target, [path.name for path in chosen]


def _best_first(run: RunFolder, kept: list[Path]) -> list[Path]:
    """Checkpoints in the order of the metric that early stopping watches."""
    metric = load_config(run.config).training.early_stopping.metric
    records: list[dict[str, Any]] = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    values = {record["update"]: record["valid"][metric] for record in records if metric in record.get("valid", {})}
    scored = [path for path in kept if int(path.name.removeprefix("step-")) in values]
    sign = 1 if metric in LOWER_IS_BETTER else -1
    return sorted(scored, key=lambda path: sign * values[int(path.name.removeprefix("step-"))])
