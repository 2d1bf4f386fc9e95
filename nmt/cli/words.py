"""`nmt words`: options and help."""

from pathlib import Path
from typing import Annotated

import typer

from nmt.cli.app import app


@app.command()
def words(
    file: Annotated[Path, typer.Argument(help="A text file, plain, .gz or .zst.", show_default=False)],
) -> None:
    """Print the words of a text that word links count from 0. Lines stay lines; there is a space between two words."""
    from nmt.alignment.words import split_words
    from nmt.data.lines import read_lines

    for line in read_lines(file):
        typer.echo(" ".join(split_words(line)))
