"""`nmt align`: options and help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app
from nmt.cli.options import (
    AlignmentsOption,
    CheckpointOption,
    EosOption,
    LevelOption,
    ModelOption,
    PairSplitOption,
    PairSrcOption,
    PairTgtOption,
    SetOption,
    model_and_pairs,
    refuse_without_effect,
)


@app.command()
def align(
    ctx: typer.Context,
    src: PairSrcOption = None,
    tgt: PairTgtOption = None,
    split: PairSplitOption = None,
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    gold: Annotated[
        Path | None,
        typer.Option("--gold", help="Gold links on words: print precision, recall, F1 and AER.", show_default=False),
    ] = None,
    gold_format: Annotated[
        Literal["pharaoh", "naacl"],
        typer.Option("--gold-format", help="i-j, ipj lines; or 'sentence src tgt [S|P]' lines."),
    ] = "pharaoh",
    gold_base: Annotated[
        int, typer.Option("--gold-base", min=0, max=1, help="Number of the first word in the gold file.")
    ] = 0,
    extract: Annotated[
        Literal["argmax", "src-argmax", "threshold"],
        typer.Option("--extract", help="A target word's largest weight, a source word's, or all of --threshold."),
    ] = "argmax",
    threshold: Annotated[float, typer.Option("--threshold", min=0.0, max=1.0, help="For --extract threshold.")] = 0.5,
    null_below: Annotated[
        float, typer.Option("--null-below", min=0.0, max=1.0, help="A word whose largest weight is below has no link.")
    ] = 0.0,
    backward: Annotated[
        Path | None,
        typer.Option("--backward", help="A model of the other direction; links are symmetrised.", show_default=False),
    ] = None,
    symmetrisation: Annotated[
        Literal["intersection", "union", "grow-diag", "grow-diag-final-and"],
        typer.Option("--symmetrise", help="How links of both directions are joined."),
    ] = "grow-diag-final-and",
    alignments: AlignmentsOption = None,
    level: LevelOption = "words",
    keep_eos: EosOption = False,
    overrides: SetOption = None,
) -> None:
    """Align given sentence pairs: links on standard output, one line per pair (source-target, from 0)."""
    from nmt.alignment.links import GoldFile, format_pharaoh
    from nmt.alignment.symmetrise import LinkExtraction
    from nmt.commands.align import run_align
    from nmt.decoding.output import OutputOptions
    from nmt.runs.load import load_model

    refuse_without_effect(
        ctx,
        threshold=(extract == "threshold", "--extract threshold"),
        symmetrisation=(backward is not None, "--backward"),
        gold_format=(gold is not None, "--gold"),
        gold_base=(gold is not None, "--gold"),
        keep_eos=(alignments is not None, "--alignments"),
    )
    loaded, source = model_and_pairs(model, checkpoint, overrides, src, tgt, split)
    shown = OutputOptions(alignments=alignments, level=level, keep_eos=keep_eos)
    other = load_model(backward, None, overrides or []) if backward else None
    extraction = LinkExtraction(extract, threshold, null_below)
    reference = GoldFile(gold, gold_format, gold_base) if gold else None
    links, score = run_align(loaded, source, split or "test", shown, reference, extraction, other, symmetrisation)
    for sentence in links:
        typer.echo(format_pharaoh(sentence))
    if score is not None:
        typer.echo(
            f"precision {score.precision:.4f}  recall {score.recall:.4f}  F1 {score.f1:.4f}  AER {score.aer:.4f}",
            err=True,
        )
