"""`nmt calibrate`: options and help."""

from typing import Annotated, Literal

import typer

from nmt.cli.app import app
from nmt.cli.options import CheckpointOption, ModelOption, SetForModelOption


@app.command()
def calibrate(
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    split: Annotated[
        Literal["valid", "test"], typer.Option("--split", help="The split that the calibration is fitted to.")
    ] = "valid",
    overrides: SetForModelOption = None,
) -> None:
    """Calibrate word confidences. Afterwards 80 % of the words with confidence 0.8 should be right."""
    from nmt.commands.calibrate import run_calibrate
    from nmt.runs.load import load_model
    from nmt.runtime import set_up_logging

    set_up_logging()
    loaded = load_model(model, checkpoint, overrides or [])
    typer.echo(run_calibrate(loaded, loaded.source(split), split))
