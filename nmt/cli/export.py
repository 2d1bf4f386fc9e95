"""`nmt export`: options and help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app
from nmt.cli.options import CheckpointOption, ModelOption, refuse_without_effect


@app.command()
def export(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder to write the files to.", show_default=False)],
    to: Annotated[
        Literal["text", "onnx", "ctranslate2"],
        typer.Option(
            "--to",
            help="onnx and ctranslate2: a model for these runtimes; text: the built-in corpus.",
        ),
    ] = "text",
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option("--split", help="The split of the built-in corpus to write.")
    ] = "test",
) -> None:
    """Write a model for ONNX or CTranslate2. It also writes the built-in corpus as text files, with its gold links."""
    as_text = to == "text"
    refuse_without_effect(
        ctx,
        split=(as_text, "--to text"),
        model=(not as_text, "--to onnx or ctranslate2"),
        checkpoint=(not as_text, "--to onnx or ctranslate2"),
    )
    if to == "text":
        from nmt.config import Source
        from nmt.data.text_export import export_text

        paths = export_text(Source(builtin="phrasebook"), split, folder, "en", "fr")
        typer.echo("this is the built-in corpus; --to onnx or --to ctranslate2 writes a model", err=True)
    else:
        from nmt.commands.export import run_export
        from nmt.runtime import set_up_logging

        set_up_logging()
        paths = run_export(model, checkpoint, folder, to)
    for path in paths:
        typer.echo(str(path))
