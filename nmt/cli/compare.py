"""`nmt compare`: options and help."""

import typer

from nmt.cli.app import app
from nmt.cli.options import ConfigArgument, ConfigOption, SetOption, one_config


@app.command()
def compare(
    file: ConfigArgument = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
) -> None:
    """Train and score several variants of one configuration. The same command goes on where it stopped."""
    path = one_config(file, config)
    from nmt.config.load import load_comparison

    comparison, configs = load_comparison(path, overrides or [])
    from nmt.runtime import set_up_logging

    set_up_logging()
    from nmt.commands.compare import run_compare
    from nmt.commands.evaluate import run_eval
    from nmt.commands.train import run_train

    typer.echo(run_compare(comparison, configs, run_train, run_eval))
