"""`nmt translate`: options and help."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from nmt.cli.app import app
from nmt.cli.options import (
    AlignmentsOption,
    BackwardOption,
    BeamOption,
    CheckpointOption,
    EosOption,
    ForbidOption,
    GlossaryOption,
    LevelOption,
    ModelsOption,
    PrecisionOption,
    ProcessesOption,
    RequireOption,
    SetForModelOption,
    chosen_device,
    has_matrices,
    refuse_without_effect,
    start_others,
    with_search,
)
from nmt.startup import fast_imports


@app.command()
def translate(
    ctx: typer.Context,
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts to translate. [default: the lines of --input or of standard input]", show_default=False
        ),
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", "-i", help="Translate the lines of a file.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write to this file instead of standard output.", show_default=False),
    ] = None,
    model: ModelsOption = None,
    checkpoint: CheckpointOption = None,
    beam: BeamOption = None,
    precision: PrecisionOption = None,
    backward: BackwardOption = None,
    n_best: Annotated[
        int,
        typer.Option(
            "--n-best", min=1, help="Print this many translations per line: number, score and text, separated by tabs."
        ),
    ] = 1,
    prefix: Annotated[str, typer.Option("--prefix", help="Text that every translation must begin with.")] = "",
    require: RequireOption = None,
    forbid: ForbidOption = None,
    glossary: GlossaryOption = None,
    processes: ProcessesOption = None,
    sample: Annotated[
        bool, typer.Option("--sample", help="Sample translations at random; see decoding.sampling.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, with scores.")] = False,
    jsonl: Annotated[
        bool,
        typer.Option(
            "--jsonl",
            help="Read and write JSON lines: objects with src and, optionally, id, prefix, require and forbid.",
        ),
    ] = False,
    show_alignment: Annotated[
        bool, typer.Option("--show-alignment", "-a", help="Draw each matrix in the terminal (on standard error).")
    ] = False,
    alignments: AlignmentsOption = None,
    level: LevelOption = "words",
    keep_eos: EosOption = False,
    overrides: SetForModelOption = None,
) -> None:
    """Translate each input line. It writes one line for each, or N lines with --n-best N."""
    as_json = as_json or jsonl
    with_matrices = show_alignment or as_json or alignments is not None
    refuse_without_effect(
        ctx,
        level=(with_matrices, "--show-alignment, --json or --alignments"),
        keep_eos=(
            show_alignment or as_json or has_matrices(alignments),
            "--show-alignment, --json or --alignments with matrices",
        ),
        **dict.fromkeys(
            ("beam", "require", "glossary"), (not sample, "search, and --sample draws translations at random")
        ),
        jsonl=(not texts, "--input and standard input"),
    )
    if texts and input_file:
        raise typer.BadParameter("give texts or --input, not both")
    if max(processes or 1, int(os.environ.get("WORLD_SIZE", "1"))) > 1 and not (texts or input_file):
        raise typer.BadParameter("several processes cannot share standard input; give --input")
    start_others(processes)
    with fast_imports():
        from nmt.atomic import atomic_write
        from nmt.commands.translate import Constraints, requests, run_translate, warn_of_arguments
        from nmt.data.lines import argument_lines, count_lines, input_lines
        from nmt.decoding.output import OutputOptions
        from nmt.processes import Processes
        from nmt.runs.load import load_model
        from nmt.runtime import set_up_logging

    set_up_logging()
    warn_of_arguments(texts or [])
    drawing = ["decoding.sampling.enabled=true"] if sample else []
    settings = [*with_search(overrides, beam, precision), *drawing]
    shown = OutputOptions(as_json, alignments, show_alignment, level, keep_eos, n_best)
    lines: Iterator[str | None] = argument_lines(texts) if texts else input_lines(input_file)
    total = len(texts) if texts else None
    if input_file is not None and sys.stderr.isatty():  # only then is there a bar
        total = count_lines(input_file)
    constraints = Constraints(prefix, tuple(require or ()), tuple(forbid or ()), glossary)
    try:
        with Processes.join(chosen_device(overrides)) as together:
            loaded = load_model(model, checkpoint, settings, with_aligner=with_matrices, backward=backward)
            wanted = requests(lines, constraints, jsonl, loaded.translator.tokenizer)
            if output is None or not together.is_first:
                sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
                run_translate(loaded, wanted, sys.stdout, shown, total, together)
                return
            with atomic_write(output) as tmp_path, tmp_path.open("w", encoding="utf-8", newline="\n") as out:
                run_translate(loaded, wanted, out, shown, total, together)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise
