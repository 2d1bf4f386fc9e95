"""Commands that make models."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app
from nmt.cli.options import CheckpointOption, ConfigOption, ModelOption, SetOption


@app.command()
def train(
    config: ConfigOption,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check configuration and data, print sizes, stop.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew in a folder of its own, NAME-2 and so on, beside the old run.")
    ] = False,
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
    from nmt.config.load import load_config

    settings = load_config(config, overrides or [])
    from nmt.runtime import set_up_logging

    set_up_logging()
    if fresh:
        from nmt.runs.resume import fresh_name

        settings = fresh_name(settings)
    if dry_run:
        from nmt.commands.dry_run import run_dry_run

        typer.echo(run_dry_run(settings))
        return
    from nmt.commands.train import run_train

    run = run_train(settings, init_from)
    typer.echo(str(run.path))


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


@app.command()
def compare(
    config: ConfigOption,
    overrides: SetOption = None,
) -> None:
    """Train and score several variants of one configuration; the same command goes on where it stopped."""
    from nmt.config.load import load_comparison

    comparison, configs = load_comparison(config, overrides or [])
    from nmt.runtime import set_up_logging

    set_up_logging()
    from nmt.commands.compare import run_compare

    typer.echo(run_compare(comparison, configs))


@app.command()
def average(
    model: ModelOption = None,
    last: Annotated[int, typer.Option("--last", min=1, help="How many of the last checkpoints.")] = 5,
    best: Annotated[
        int | None, typer.Option("--best", min=1, help="How many of the best ones instead.", show_default=False)
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the new checkpoint.")] = "averaged",
) -> None:
    """Average the weights of a run's checkpoints; translate with --checkpoint averaged."""
    from nmt.commands.average import run_average
    from nmt.runs.folder import find_model

    target, averaged = run_average(find_model(model, Path("runs")), best or last, best is not None, name)
    typer.echo(f"the mean of {', '.join(averaged)}", err=True)
    typer.echo(str(target))


@app.command()
def calibrate(
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    split: Annotated[Literal["valid", "test"], typer.Option("--split", help="Split to fit on.")] = "valid",
    overrides: SetOption = None,
) -> None:
    """Calibrate word confidences: of the words with confidence 0.8, 80 % should then be right."""
    from nmt.commands.calibrate import run_calibrate
    from nmt.commands.evaluate import source_of
    from nmt.runs.load import load_model
    from nmt.runtime import set_up_logging

    set_up_logging()
    loaded = load_model(model, checkpoint, overrides or [])
    typer.echo(run_calibrate(loaded, source_of(loaded, split), split))


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
