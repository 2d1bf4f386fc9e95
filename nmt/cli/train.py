"""`nmt train`: options and help."""

import os
from pathlib import Path
from typing import Annotated

import typer

from nmt.cli.app import app
from nmt.cli.options import ConfigArgument, ConfigOption, ProcessesOption, SetOption, one_config, start_others


@app.command()
def train(
    file: ConfigArgument = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check configuration and data, print sizes, stop.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew in a folder of its own, NAME-2 and so on, beside the old run.")
    ] = False,
    processes: ProcessesOption = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from",
            help="Begin with another run's weights and tokenizer, with a new optimizer (fine-tuning).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model, or go on with an unfinished run: the same command resumes."""
    path = one_config(file, config)
    from nmt.config.load import load_config

    settings = load_config(path, overrides or [])
    if not dry_run:
        start_others(processes)
    from nmt.runtime import set_up_logging

    set_up_logging()
    if fresh:
        from nmt.runs.resume import fresh_name

        settings = fresh_name(settings)
    if dry_run:
        from nmt.commands.dry_run import run_dry_run

        typer.echo(run_dry_run(settings, init_from))
        return
    from nmt.commands.train import run_train

    run = run_train(settings, init_from)
    if os.environ.get("RANK", "0") == "0":
        typer.echo(str(run.path))
