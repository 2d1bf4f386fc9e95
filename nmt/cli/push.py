"""`nmt push`: options and help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app


@app.command()
def push(
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The model's name on the Hugging Face hub.")],
    model: Annotated[
        Path | None,
        typer.Option(
            "--model", "-m", help="Run folder or packed model. [default: the run trained last]", show_default=False
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", "-o", help="Write the files to this folder, and upload nothing.", show_default=False),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    precision: Annotated[
        Literal["fp32", "bf16", "int8"], typer.Option("--precision", help="Precision of the packed weights.")
    ] = "bf16",
    license_name: Annotated[
        str | None,
        typer.Option("--license", help="The hub's name for the licence, such as cc-by-4.0 or mit.", show_default=False),
    ] = None,
    example: Annotated[
        str | None,
        typer.Option(
            "--example",
            help="The sentence whose alignment the card shows. [default: one from the validation data]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Put a packed model with a card on the Hugging Face hub. -m hub:OWNER/NAME uses it from there."""
    if folder is not None and private:
        raise typer.BadParameter("--private has no effect with --folder, which uploads nothing")
    from nmt.commands.push import run_push
    from nmt.runtime import set_up_logging

    set_up_logging()
    typer.echo(
        run_push(
            model,
            name,
            folder=folder,
            private=private,
            precision=precision,
            license_name=license_name,
            example=example,
        )
    )
