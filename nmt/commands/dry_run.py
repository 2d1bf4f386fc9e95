"""`nmt train --dry-run`: check configuration and data, and say how large everything is."""

from nmt.config import Config
from nmt.data.prepare import load_corpora
from nmt.runs.folder import RunFolder
from nmt.runs.resume import earlier_checkpoint
from nmt.training.estimate import size_rows


def run_dry_run(config: Config) -> str:
    """Do everything that training does before it makes the model, and return a table of sizes.

    Raises:
        NmtError: for anything that would stop the training.
    """
    earlier = earlier_checkpoint(config, RunFolder(config.run_dir))
    state = f"goes on with {earlier.name}" if earlier else "new"
    rows = [*size_rows(config, load_corpora(config, with_guide=False)), ("run folder", f"{config.run_dir} ({state})")]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
