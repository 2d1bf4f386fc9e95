"""`nmt train --dry-run`: check configuration and data, and say how large everything is."""

from nmt.config import Config
from nmt.data.prepare import load_corpora
from nmt.data.tokenizer import load_tokenizer
from nmt.runs.folder import RunFolder
from nmt.runs.resume import InitFrom, earlier_checkpoint, first_weights
from nmt.training.estimate import size_rows


def run_dry_run(config: Config, init_from: InitFrom | None = None) -> str:
    """Do everything that training does before it makes the model, and return a table of sizes.

    Args:
        config: the configuration of the run.
        init_from: whose weights a new run would begin with.

    Raises:
        NmtError: for anything that would stop the training.
    """
    run = RunFolder(config.run_dir)
    run.refuse_strange_files()
    earlier = earlier_checkpoint(config, run)
    first = first_weights(config, init_from) if init_from is not None and earlier is None else None
    state = f"goes on with {earlier.name}" if earlier else f"begins with {first[1]}" if first else "new"
    takes_tokenizer = init_from is not None and not init_from.new_vocabulary
    known = run if earlier else first[0] if first and takes_tokenizer else None
    tokenizer = load_tokenizer(config.tokenizer, known.tokenizer) if known else None
    corpora = load_corpora(config, tokenizer, with_guide=False)
    rows = [*size_rows(config, corpora), ("run folder", f"{config.run_dir} ({state})")]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
