"""`nmt runs` and `nmt inspect`: options and help."""

from pathlib import Path
from typing import Annotated

import typer

from nmt.cli.app import app


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="The folder with the runs.")] = Path("runs"),
) -> None:
    """List the runs: state, epoch, best score, age and size."""
    from nmt.commands.runs import run_runs

    for line in run_runs(folder):
        typer.echo(line)


@app.command()
def inspect(
    model: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN]", help="Run folder or packed model. [default: the run trained last]", show_default=False
        ),
    ] = None,
) -> None:
    """Say what a model is: languages, sizes, data and scores."""
    from nmt.commands.runs import run_inspect

    for line in run_inspect(model):
        typer.echo(line)
