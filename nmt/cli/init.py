"""`nmt init`: options and help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app

_Files = tuple[str, str]


@app.command()
def init(
    files: Annotated[
        list[str], typer.Argument(help="Two parallel text files, a table, or hub:NAME.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The configuration to write.")] = Path("my.yaml"),
    valid: Annotated[
        _Files | None,
        typer.Option(
            "--valid",
            help="Validation files, SRC TGT. [default: files found beside the corpus, or pairs taken from it]",
            show_default=False,
        ),
    ] = None,
    test: Annotated[
        _Files | None,
        typer.Option(
            "--test",
            help="Test files, SRC TGT. [default: files found beside the corpus, or pairs taken from it]",
            show_default=False,
        ),
    ] = None,
    columns: Annotated[
        _Files | None,
        typer.Option("--columns", help="Source and target column of a table or hub dataset.", show_default=False),
    ] = None,
    src_lang: Annotated[
        str | None, typer.Option("--src-lang", help="Source language. [default: the file's ending]", show_default=False)
    ] = None,
    tgt_lang: Annotated[
        str | None, typer.Option("--tgt-lang", help="Target language. [default: the file's ending]", show_default=False)
    ] = None,
    preset: Annotated[
        Literal["recurrent", "transformer"], typer.Option("--preset", help="The kind of model.")
    ] = "recurrent",
    estimate: Annotated[
        bool, typer.Option(help="Measure how long training will take on this machine, which trains the tokenizer.")
    ] = True,
) -> None:
    """Write a configuration that fits your data. Validation and test pairs are set aside where there are none."""
    if len(files) not in (1, 2):
        raise typer.BadParameter("give two parallel text files, a table, or hub:NAME")
    if columns is not None and len(files) == 2:
        raise typer.BadParameter("--columns goes with a table or a hub dataset, not with two text files")
    from nmt.commands.init import InitOptions, run_init
    from nmt.runtime import set_up_logging

    set_up_logging()
    given = {name: pair for name, pair in (("valid", valid), ("test", test)) if pair is not None}
    options = InitOptions(files, output, columns, (src_lang, tgt_lang), given, preset, estimate)  # type: ignore[arg-type]
    for line in run_init(options):
        typer.echo(line)
