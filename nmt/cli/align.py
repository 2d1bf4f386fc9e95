"""`nmt align`: options and help."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app
from nmt.cli.options import (
    AlignmentsOption,
    CheckpointOption,
    EosOption,
    LevelOption,
    PairSplitOption,
    PairSrcOption,
    PairTgtOption,
    ProcessesOption,
    SetForModelOption,
    chosen_device,
    has_matrices,
    model_and_pairs,
    one_of_files_and_split,
    refuse_without_effect,
    start_others,
)
from nmt.startup import fast_imports


@app.command()
def align(
    ctx: typer.Context,
    src: PairSrcOption = None,
    tgt: PairTgtOption = None,
    split: PairSplitOption = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            "-m",
            help="Run folder. [default: for --split the run trained last, for --src and --tgt no model]",
            show_default=False,
        ),
    ] = None,
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
        Literal["auto", "argmax", "src-argmax", "threshold"],
        typer.Option(
            "--extract",
            help="How links are read from a matrix: the largest weight of each target word or of each source "
            "word, or all weights of at least --threshold. auto is argmax for an attention, and the "
            "likely links for a word aligner.",
        ),
    ] = "auto",
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold", min=0.0, max=1.0, help="The smallest weight that makes a link, for --extract threshold."
        ),
    ] = 0.5,
    null_below: Annotated[
        float,
        typer.Option(
            "--null-below", min=0.0, max=1.0, help="Leave a word unaligned if its largest weight is below this value."
        ),
    ] = 0.0,
    backward: Annotated[
        Path | None,
        typer.Option(
            "--backward", help="A model of the other direction; the links of both are symmetrised.", show_default=False
        ),
    ] = None,
    symmetrisation: Annotated[
        Literal["intersection", "union", "grow-diag", "grow-diag-final-and"],
        typer.Option("--symmetrise", help="How the links of both directions are combined."),
    ] = "grow-diag-final-and",
    alignments: AlignmentsOption = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(
            "--lexicon", help="Write a table of the linked words with their counts (.tsv).", show_default=False
        ),
    ] = None,
    level: LevelOption = "words",
    keep_eos: EosOption = False,
    cache_dir: Annotated[
        Path | None,
        typer.Option(
            "--cache-dir", help="Folder that keeps trained aligners. [default: ~/.cache/nmt]", show_default=False
        ),
    ] = None,
    processes: ProcessesOption = None,
    overrides: SetForModelOption = None,
) -> None:
    """Align the words of given sentence pairs. Links go to standard output, one line per pair (source-target, from 0).

    Without --model the pairs of --src and --tgt are aligned from themselves: a word aligner is trained on them first,
    once for each pair of files. With --model they are aligned by that run: by its word aligner if it has one, else by
    its attention (--set decoding.alignment_from=attention for the attention in any case).
    """
    one_of_files_and_split(src, tgt, split)
    alone = model is None and split is None
    refuse_without_effect(
        ctx,
        threshold=(extract == "threshold", "--extract threshold"),
        symmetrisation=(backward is not None, "--backward"),
        gold_format=(gold is not None, "--gold"),
        gold_base=(gold is not None, "--gold"),
        keep_eos=(has_matrices(alignments), "--alignments with matrices"),
        checkpoint=(not alone, "--model"),
        overrides=(not alone, "--model"),
        backward=(not alone, "--model"),
        cache_dir=(alone, "aligning without --model"),
    )
    if alone and level == "pieces":
        raise typer.BadParameter("without --model there are no pieces; use --level words or tokens")
    start_others(processes)
    with fast_imports():
        from nmt.alignment.links import GoldFile
        from nmt.alignment.symmetrise import LinkExtraction
        from nmt.commands.align import ModelAligner, SelfAligner, check_options, run_align, self_aligner
        from nmt.config import DataConfig, Source
        from nmt.decoding.output import OutputOptions
        from nmt.processes import Processes
        from nmt.runs.load import load_model
        from nmt.runtime import set_up_logging, set_up_machine

    set_up_logging()
    extraction = LinkExtraction(extract, threshold, null_below)
    aligner: ModelAligner | SelfAligner
    shown = OutputOptions(alignments=alignments, level=level, keep_eos=keep_eos)
    reference = GoldFile(gold, gold_format, gold_base) if gold else None
    check_options(shown, reference, lexicon)
    with Processes.join(chosen_device(overrides)) as together:
        if alone:
            set_up_machine(0, together.local_size)
            source = Source(src=str(src), tgt=str(tgt))
            cache = cache_dir or Path(DataConfig.model_fields["cache_dir"].default)
            of: Literal["words", "tokens"] = "tokens" if level == "tokens" else "words"
            with together.first_process_first():
                aligner = self_aligner(source, "test", of, cache.expanduser(), extraction)
        else:
            loaded, source = model_and_pairs(model, checkpoint, overrides, src, tgt, split)
            other = load_model(backward, None, overrides or []) if backward else None
            aligner = ModelAligner(loaded, extraction, other, symmetrisation)
        found = run_align(aligner, source, split or "test", sys.stdout, shown, reference, together, lexicon)
        if not together.is_first:
            return
    agreement = "" if found.agreement is None else f"  agreement of both directions {found.agreement:.4f}"
    typer.echo(
        f"{found.pairs:,} pairs  {found.links:,} links  certainty {found.certainty:.4f}{agreement}   {found.signature}",
        err=True,
    )
    if (score := found.score) is not None:
        typer.echo(
            f"precision {score.precision:.4f}  recall {score.recall:.4f}  F1 {score.f1:.4f}  AER {score.aer:.4f}   "
            f"{found.signature}",
            err=True,
        )
