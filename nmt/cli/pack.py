"""`nmt pack`: options and help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app
from nmt.cli.options import CheckpointOption


@app.command()
def pack(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="Run folder. [default: the run trained last]", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write. [default: RUN.zip]", show_default=False)
    ] = None,
    checkpoint: CheckpointOption = None,
    precision: Annotated[
        Literal["fp32", "bf16", "int8"], typer.Option("--precision", help="Precision of the packed weights.")
    ] = "bf16",
) -> None:
    """Write a model as one file without the trainer's state. Every command takes it as it takes a run folder."""
    from nmt.commands.pack import run_pack
    from nmt.runtime import set_up_logging

    set_up_logging()
    typer.echo(run_pack(model, output, checkpoint, precision))
