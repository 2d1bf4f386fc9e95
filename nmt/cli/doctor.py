"""`nmt doctor`: options and help."""

from pathlib import Path
from typing import Annotated

import typer

from nmt.cli.app import app
from nmt.cli.options import SetOption


@app.command()
def doctor(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Two parallel files, instead of --config.", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration file (YAML).", show_default=False)
    ] = None,
    overrides: SetOption = None,
) -> None:
    """Look for trouble in the data, and estimate time and memory on this machine, before training."""
    if (config is None) == (not files) or (files and len(files) != 2):
        raise typer.BadParameter("give two parallel files, or --config")
    if config is None and overrides:
        raise typer.BadParameter("--set goes with --config")
    from nmt.commands.doctor import examine_files, run_doctor
    from nmt.runtime import set_up_logging

    set_up_logging()
    if config is None:
        lines = examine_files(*files)  # type: ignore[misc]
    else:
        from nmt.config.load import load_config

        lines = run_doctor(load_config(config, overrides or []))
    for line in lines:
        typer.echo(line)
