"""`nmt train`: options and help."""

import os
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from nmt.cli.app import app
from nmt.cli.options import (
    ConfigArgument,
    ConfigOption,
    ProcessesOption,
    SetOption,
    one_config,
    refuse_without_effect,
    start_others,
)
from nmt.startup import fast_imports


@app.command()
def train(
    ctx: typer.Context,
    file: ConfigArgument = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the configuration and the data, print sizes, and train nothing.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run in NAME-2 (or NAME-3 ...), next to the old one.")
    ] = False,
    processes: ProcessesOption = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            "--init-from",
            help="Start with the weights and the tokenizer of another run and a new optimizer (fine-tuning).",
            show_default=False,
        ),
    ] = None,
    new_vocabulary: Annotated[
        bool,
        typer.Option(
            "--new-vocabulary",
            help="With --init-from: train a new tokenizer. New pieces start with the embeddings of the old "
            "pieces that spell them.",
        ),
    ] = False,
    reset: Annotated[
        list[str] | None,
        typer.Option(
            "--reset",
            help="With --init-from: a part that starts at random (src_embedding, tgt_embedding, encoder, "
            "decoder, attention, output). Repeatable.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Train a model, or go on with an unfinished run. The same command does both."""
    path = one_config(file, config)
    from nmt.config import ModelPart
    from nmt.config.load import load_config

    settings = load_config(path, overrides or [])
    if init_from is None and (new_vocabulary or reset):
        raise typer.BadParameter(f"{'--new-vocabulary' if new_vocabulary else '--reset'} goes with --init-from")
    if unknown := sorted(set(reset or ()) - set(get_args(ModelPart))):
        raise typer.BadParameter(f"--reset {unknown[0]}: a model has the parts {', '.join(get_args(ModelPart))}")
    refuse_without_effect(ctx, processes=(not dry_run, "training, and --dry-run trains nothing"))
    start_others(processes)
    with fast_imports():
        from nmt.runtime import set_up_logging

    set_up_logging()
    from nmt.runs.resume import InitFrom

    parts: Any = tuple(reset or ())
    begins = None if init_from is None else InitFrom(init_from, new_vocabulary, parts)
    if fresh:
        from nmt.runs.resume import fresh_name

        settings = fresh_name(settings)
    if dry_run:
        from nmt.commands.dry_run import run_dry_run

        typer.echo(run_dry_run(settings, begins))
        return
    with fast_imports():
        from nmt.commands.train import run_train

    run = run_train(settings, begins)
    if os.environ.get("RANK", "0") == "0":
        typer.echo(str(run.path))
