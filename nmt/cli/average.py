"""`nmt average`: options and help."""

from typing import Annotated

import typer

from nmt.cli.app import app
from nmt.cli.options import ModelOption, refuse_without_effect


@app.command()
def average(
    ctx: typer.Context,
    model: ModelOption = None,
    last: Annotated[
        int | None,
        typer.Option(
            "--last",
            min=1,
            help="Average this many of the last checkpoints. [default: all that are kept]",
            show_default=False,
        ),
    ] = None,
    best: Annotated[
        int | None,
        typer.Option("--best", min=1, help="Average this many of the best checkpoints instead.", show_default=False),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the new checkpoint.")] = "averaged",
) -> None:
    """Average the weights of a run's checkpoints. Translate with them by --checkpoint averaged."""
    refuse_without_effect(ctx, last=(best is None, "an average without --best"))
    from nmt.commands.average import run_average
    from nmt.runs.folder import find_model

    target, averaged = run_average(find_model(model), best or last, best is not None, name)
    typer.echo(f"the mean of {len(averaged)} checkpoints: {', '.join(averaged)}", err=True)
    typer.echo(str(target))
