"""`nmt pack`: a model in one file."""

from pathlib import Path

from nmt.errors import CheckpointError
from nmt.runs.folder import find_model
from nmt.runs.pack import Precision, pack


def run_pack(model: Path | None, target: Path | None, checkpoint: str | None, precision: Precision) -> str:
    """Write a run's model as a zip file, and return a line that says how large it is.

    Args:
        model: a run folder; None for the run trained last.
        target: the file to write; None for a file with the run's name in the working directory.
        checkpoint: the name of the checkpoint; None for the best.
        precision: the precision of the weights.

    Raises:
        CheckpointError: if there is no model, or the file cannot be written or is there already.
    """
    run = find_model(model)
    target = target or Path(f"{run.path.resolve().name}.zip")
    if target.suffix != ".zip":
        raise CheckpointError(f"{target}: a packed model is a .zip file, so --output must end with .zip")
    if target.exists():
        raise CheckpointError(f"{target} already exists; choose another name with --output")
    folder = pack(run, target, checkpoint, precision)
    kept = sum(path.stat().st_size for path in folder.iterdir())
    sizes = f"{target.stat().st_size / 1e6:.1f} MB (that checkpoint's folder has {kept / 1e6:.1f} MB)"
    return f"{target}: {folder.name} in {precision}, {sizes}"
