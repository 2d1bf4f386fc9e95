"""`nmt export`: options and help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where the files go.", show_default=False)],
    split: Annotated[Literal["train", "valid", "test"], typer.Option("--split", help="Which split.")] = "test",
) -> None:
    """Write a split of the built-in corpus as text files, with its gold links."""
    from nmt.config import Source
    from nmt.data.sources import export_text

    for path in export_text(Source(builtin="phrasebook"), split, folder, "en", "fr"):
        typer.echo(str(path))
