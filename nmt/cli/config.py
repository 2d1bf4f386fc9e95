"""`nmt config`: options and help."""

from typing import Annotated

import typer

from nmt.cli.app import app


@app.command("config")
def show_config(
    section: Annotated[
        str | None,
        typer.Argument(help="Explain and print only this section, such as model.attention.", show_default=False),
    ] = None,
) -> None:
    """Print every setting with its type and default. What can be chosen is named, installed packages included."""
    from nmt.commands.config import run_config

    for line in run_config(section):
        typer.echo(line)
