"""`nmt score`: options and help."""

from typing import Annotated

import typer

from nmt.cli.app import app
from nmt.cli.options import (
    CheckpointOption,
    ModelsOption,
    PairSplitOption,
    PairSrcOption,
    PairTgtOption,
    ProcessesOption,
    SetForModelOption,
    chosen_device,
    model_and_pairs,
    start_others,
)
from nmt.startup import fast_imports


@app.command()
def score(
    src: PairSrcOption = None,
    tgt: PairTgtOption = None,
    split: PairSplitOption = None,
    model: ModelsOption = None,
    checkpoint: CheckpointOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per pair, with every piece's score.")
    ] = False,
    processes: ProcessesOption = None,
    overrides: SetForModelOption = None,
) -> None:
    """Score given translations, one line per pair. A line has the log-probability (nats) and the score."""
    with fast_imports():
        from nmt.commands.score import run_score

    start_others(processes)
    from nmt.processes import Processes

    with Processes.join(chosen_device(overrides)) as together:
        loaded, source = model_and_pairs(model, checkpoint, overrides, src, tgt, split)
        for line in run_score(loaded, source, split or "test", as_json, together):
            typer.echo(line)
