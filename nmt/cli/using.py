"""Commands that use a model."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nmt.cli.app import app
from nmt.cli.options import (
    AlignmentsOption,
    BeamOption,
    CheckpointOption,
    EosOption,
    LevelOption,
    ModelOption,
    ModelsOption,
    PairSplitOption,
    PairSrcOption,
    PairTgtOption,
    PrecisionOption,
    SetOption,
    one_of_files_and_split,
    with_search,
)

if TYPE_CHECKING:
    from nmt.config import Source
    from nmt.runs.load import LoadedModel


@app.command()
def translate(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts to translate; without any, --input or standard input.", show_default=False),
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", "-i", help="Translate the lines of a file.", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write there instead of standard output.", show_default=False)
    ] = None,
    model: ModelsOption = None,
    checkpoint: CheckpointOption = None,
    beam: BeamOption = None,
    precision: PrecisionOption = None,
    n_best: Annotated[
        int, typer.Option("--n-best", min=1, help="Translations per line: number, score and text between tabs.")
    ] = 1,
    prefix: Annotated[str, typer.Option("--prefix", help="What every translation must begin with.")] = "",
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw translations at random; see decoding.sampling.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line, with scores.")] = False,
    show_alignment: Annotated[
        bool, typer.Option("--show-alignment", "-a", help="Draw each matrix in the terminal (on standard error).")
    ] = False,
    alignments: AlignmentsOption = None,
    level: LevelOption = "words",
    keep_eos: EosOption = False,
    overrides: SetOption = None,
) -> None:
    """Translate: one line out for every line in."""
    from nmt.atomic import atomic_write
    from nmt.commands.translate import run_translate
    from nmt.data.lines import argument_lines, input_lines
    from nmt.decoding.output import OutputOptions
    from nmt.runs.load import load_model
    from nmt.runtime import set_up_logging

    set_up_logging()
    if texts and input_file:
        raise typer.BadParameter("give texts or --input, not both")
    drawing = ["decoding.sampling.enabled=true"] if sample else []
    loaded = load_model(model, checkpoint, [*with_search(overrides, beam, precision), *drawing])
    shown = OutputOptions(as_json, alignments, show_alignment, level, keep_eos, n_best)
    lines: Iterator[str] = argument_lines(texts) if texts else input_lines(input_file)
    typing = not texts and input_file is None and sys.stdin.isatty()
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        run_translate(loaded, lines, sys.stdout, shown, at_once=typing, prefix=prefix)
        return
    with atomic_write(output) as tmp_path, tmp_path.open("w", encoding="utf-8", newline="\n") as out:
        run_translate(loaded, lines, out, shown, prefix=prefix)


@app.command("eval")
def evaluate(
    model: ModelsOption = None,
    checkpoint: CheckpointOption = None,
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option("--split", help="Split of the run's own data.")
    ] = "test",
    src: Annotated[
        Path | None, typer.Option("--src", help="Source file instead of a split.", show_default=False)
    ] = None,
    ref: Annotated[Path | None, typer.Option("--ref", help="Its reference translation.", show_default=False)] = None,
    beam: BeamOption = None,
    precision: PrecisionOption = None,
    versus: Annotated[
        list[Path] | None,
        typer.Option(
            "--versus",
            help="Another model, scored on the same data and compared by paired bootstrap; repeatable.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Stem of the files written, or with --versus their folder. [default: in the run's eval/]",
            show_default=False,
        ),
    ] = None,
    hypotheses: Annotated[
        list[Path] | None,
        typer.Option(
            "--hypotheses",
            help="Score files of translations against --ref, without a model; several are compared with the first by "
            "paired bootstrap.",
            show_default=False,
        ),
    ] = None,
    tokenize: Annotated[
        Literal["13a", "none", "intl", "char", "zh"], typer.Option("--tokenize", help="For BLEU, with --hypotheses.")
    ] = "13a",
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Ignore case, with --hypotheses.")] = False,
    overrides: SetOption = None,
) -> None:
    """Translate a test set and score it: BLEU, chrF, TER with 95 % intervals, perplexity, AER where gold exists."""
    if hypotheses:
        from nmt.commands.evaluate import run_versus

        if ref is None or src is not None or model or versus:
            raise typer.BadParameter("--hypotheses goes with --ref alone")
        if len({str(path) for path in hypotheses}) < len(hypotheses):
            raise typer.BadParameter("a file of --hypotheses is given twice")
        typer.echo(run_versus([(str(path), path) for path in hypotheses], ref, tokenize, lowercase))
        return
    from nmt.commands.evaluate import run_eval, run_eval_versus
    from nmt.runs.load import load_model
    from nmt.runtime import set_up_logging

    set_up_logging()
    if (src is None) != (ref is None):
        raise typer.BadParameter("--src and --ref go together")
    loaded = load_model(model, checkpoint, with_search(overrides, beam, precision))
    files = (src, ref) if src and ref else None
    if versus:
        others = [load_model(path, None, with_search(overrides, beam, precision)) for path in versus]
        typer.echo(run_eval_versus([loaded, *others], split, files, output))
        return
    report = run_eval(loaded, split, files, output)
    typer.echo(report.table)
    typer.echo(f"wrote {report.hypotheses}, {report.json}, and beside them .tsv and .png", err=True)


@app.command()
def align(
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
    symmetrise: Annotated[
        Literal["intersection", "union", "grow-diag", "grow-diag-final-and"],
        typer.Option("--symmetrise", help="How links of both directions are joined."),
    ] = "grow-diag-final-and",
    alignments: AlignmentsOption = None,
    level: LevelOption = "words",
    keep_eos: EosOption = False,
    overrides: SetOption = None,
) -> None:
    """Align given sentence pairs: links on standard output, one line per pair (source-target, from 0)."""
    from nmt.alignment.links import format_pharaoh
    from nmt.commands.align import LinkExtraction, run_align
    from nmt.decoding.output import OutputOptions
    from nmt.runs.load import load_model

    loaded, source = _model_and_pairs(model, checkpoint, overrides, src, tgt, split)
    shown = OutputOptions(alignments=alignments, level=level, keep_eos=keep_eos)
    other = load_model(backward, None, overrides or []) if backward else None
    linking = LinkExtraction(extract, threshold, null_below, other, symmetrise)
    reference = (gold, gold_format, gold_base) if gold else None
    links, score = run_align(loaded, source, split or "test", shown, reference, linking)
    for sentence in links:
        typer.echo(format_pharaoh(sentence))
    if score is not None:
        typer.echo(
            f"precision {score.precision:.4f}  recall {score.recall:.4f}  F1 {score.f1:.4f}  AER {score.aer:.4f}",
            err=True,
        )


@app.command()
def score(
    src: PairSrcOption = None,
    tgt: PairTgtOption = None,
    split: PairSplitOption = None,
    model: ModelsOption = None,
    checkpoint: CheckpointOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per pair, with every piece's score.")
    ] = False,
    overrides: SetOption = None,
) -> None:
    """Score given translations: log-probability (nats) and score, one line per pair."""
    from nmt.commands.score import run_score

    loaded, source = _model_and_pairs(model, checkpoint, overrides, src, tgt, split)
    for line in run_score(loaded, source, split or "test", as_json):
        typer.echo(line)


def _model_and_pairs(
    model: Path | list[Path] | None,
    checkpoint: str | None,
    overrides: list[str] | None,
    src: Path | None,
    tgt: Path | None,
    split: Literal["train", "valid", "test"] | None,
) -> "tuple[LoadedModel, Source]":
    """The model, and where the given pairs are: two files or a split."""
    from nmt.commands.evaluate import source_of
    from nmt.runs.load import load_model
    from nmt.runtime import set_up_logging

    set_up_logging()
    one_of_files_and_split(src, tgt, split)
    loaded = load_model(model, checkpoint, overrides or [])
    return loaded, source_of(loaded, split or "test", (src, tgt) if src and tgt else None)
