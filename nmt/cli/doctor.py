"""`nmt doctor`: options and help."""

from pathlib import Path
from typing import Annotated

import typer

from nmt.cli.app import app
from nmt.cli.options import ConfigOption, SetOption


@app.command()
def doctor(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="A configuration file (YAML), or two parallel text files.", show_default=False),
    ] = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Look for trouble in the data, and estimate time and memory on this machine, before training."""
    given = [*(files or []), *([config] if config else [])]
    if len(given) not in (1, 2) or (len(given) == 2 and config is not None):
        raise typer.BadParameter("give a configuration file, or two parallel text files")
    if len(given) == 2 and overrides:
        raise typer.BadParameter("--set goes with a configuration file")
    from nmt.commands.doctor import examine_files, run_doctor
    from nmt.runtime import set_up_logging

    set_up_logging()
    if len(given) == 2:
        lines = examine_files(*given)
    else:
        from nmt.config.load import load_config

        lines = run_doctor(load_config(given[0], overrides or []))
    for line in lines:
        typer.echo(line)
