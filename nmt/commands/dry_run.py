"""`nmt train --dry-run`: check configuration and data, and say how large everything is."""

from nmt.config import Config
from nmt.data.lines import read_lines
from nmt.data.prepare import guide_file, load_corpora
from nmt.runs.checkpoint import load_state
from nmt.runs.folder import RunFolder
from nmt.runs.resume import InitFrom, refuse_changed_data, start_of
from nmt.training.estimate import size_rows
from nmt.training.initial_weights import check_pretrained


def run_dry_run(config: Config, init_from: InitFrom | None = None) -> str:
    """Do everything that training does before it makes the model, and return a table of sizes.

    Args:
        config: the configuration of the run.
        init_from: the model whose weights a new run would begin with; None for random weights.

    Raises:
        NmtError: for anything that would stop the training.
    """
    run = RunFolder(config.run_dir)
    run.refuse_strange_files()
    start = start_of(config, run, init_from)
    corpora = load_corpora(config, start.load_tokenizer(config), with_guide=False)
    if (links := guide_file(config)) is not None:
        next(iter(read_lines(links)), None)  # raises if it cannot be read
    if start.checkpoint is None:
        check_pretrained(corpora.tokenizer, config)
    else:  # the word links have not been read
        state = load_state(start.checkpoint)
        refuse_changed_data(run, corpora, {key: state[key] for key in ("data", "valid") if key in state})
    rows = [*size_rows(config, corpora), ("run folder", f"{config.run_dir} ({start.description})")]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)
