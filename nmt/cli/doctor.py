"""`nmt doctor`: options and help."""

from pathlib import Path
from typing import Annotated

import typer

from nmt.cli.app import app
from nmt.cli.options import ConfigOption, SetOption
from nmt.startup import fast_imports


@app.command()
def doctor(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="A configuration file (YAML), or two parallel text files.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    write: Annotated[
        Path | None,
        typer.Option(
            "--write",
            help="Write the training data without the suspicious pairs to this folder, with the line numbers "
            "of the pairs that are kept and a table of the others. [default: write nothing]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Look for trouble in the data.

    With a configuration, also estimate time and memory; a few updates measure the time and are thrown away.
    """
    given = [*(files or []), *([config] if config else [])]
    if len(given) not in (1, 2) or (len(given) == 2 and config is not None):
        raise typer.BadParameter("give a configuration file, or two parallel text files")
    if len(given) == 1 and given[0].is_file() and given[0].suffix.lower() not in (".yaml", ".yml"):
        raise typer.BadParameter(
            f"{given[0]} is not a configuration (.yaml); give one, or two parallel text files. A table is examined by "
            f"nmt init, which writes a configuration for it"
        )
    if len(given) == 2 and overrides:
        raise typer.BadParameter("--set goes with a configuration file")
    with fast_imports():
        from nmt.commands.doctor import examine_files, run_doctor, write_files, write_training_data
        from nmt.runtime import set_up_logging

    set_up_logging()
    if len(given) == 2:
        lines = examine_files(*given) if write is None else write_files(given[0], given[1], write)
    else:
        from nmt.config.load import load_config

        settings = load_config(given[0], overrides or [])
        lines = run_doctor(settings) if write is None else write_training_data(settings, write)
    for line in lines:
        typer.echo(line)
