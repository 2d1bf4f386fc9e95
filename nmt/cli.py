"""The commands: help texts and nothing else. What they do is in `pipeline`, imported when a command runs."""

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from nmt.errors import NmtError


class _Group(TyperGroup):
    """Ends with a message and an exit code where the user can mend something, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except NmtError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader of our output left, as `head` does
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except OSError as error:  # no such folder, no permission, no space left
            typer.echo(f"error: {error.filename or 'the output'}: {error.strerror or error}", err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Train attention-based translation models, and see which word looked at which.",
)

Level = Literal["words", "tokens", "pieces"]
ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="Configuration file (YAML).", show_default=False)]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: --set model.attention.score=general. Repeatable.")
]
ModelOption = Annotated[
    Path | None, typer.Option("--model", "-m", help="Run folder. [default: the run trained last]", show_default=False)
]
ModelsOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--model",
        "-m",
        help="Run folder; several translate together, as an ensemble. [default: the run trained last]",
        show_default=False,
    ),
]
CheckpointOption = Annotated[
    str | None,
    typer.Option(
        "--checkpoint", help="best, last, step-<update>, or the name of an average. [default: best]", show_default=False
    ),
]
BeamOption = Annotated[
    int | None,
    typer.Option("--beam", "-b", min=1, help="Beam size; 1 is greedy. [default: the run's]", show_default=False),
]
AlignmentsOption = Annotated[
    Path | None,
    typer.Option(
        "--alignments",
        help="Write the matrices: .json, .npz, .pharaoh or .png; nmt translate also writes a page to look at, .html.",
        show_default=False,
    ),
]
LevelOption = Annotated[
    Level, typer.Option("--level", help="Matrices on words, on white-space separated tokens, or on pieces.")
]
EosOption = Annotated[bool, typer.Option("--keep-eos", help="Keep the row that predicted the end of the sentence.")]

PairSrcOption = Annotated[Path | None, typer.Option("--src", help="Source file.", show_default=False)]
PairTgtOption = Annotated[Path | None, typer.Option("--tgt", help="Its translation.", show_default=False)]
PairSplitOption = Annotated[
    Literal["train", "valid", "test"] | None,
    typer.Option("--split", help="A split of the run's data instead of files.", show_default=False),
]


def _version(show: bool) -> None:
    if show:
        typer.echo(importlib.metadata.version("nmt"))
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


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
    from nmt.config_file import load_config

    settings = load_config(config, overrides or [])
    from nmt.runtime import set_up_logging

    set_up_logging()
    if fresh:
        from nmt.pipeline.begin import fresh_name

        settings = fresh_name(settings)
    if dry_run:
        from nmt.pipeline.dry_run import run_dry_run

        typer.echo(run_dry_run(settings))
        return
    from nmt.pipeline.train import run_train

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
    from nmt.pipeline.doctor import examine_files, run_doctor
    from nmt.runtime import set_up_logging

    set_up_logging()
    if config is None:
        lines = examine_files(*files)  # type: ignore[misc]
    else:
        from nmt.config_file import load_config

        lines = run_doctor(load_config(config, overrides or []))
    for line in lines:
        typer.echo(line)


@app.command()
def compare(
    config: ConfigOption,
    overrides: SetOption = None,
) -> None:
    """Train and score several variants of one configuration; the same command goes on where it stopped."""
    from nmt.config_file import load_comparison

    comparison, configs = load_comparison(config, overrides or [])
    from nmt.runtime import set_up_logging

    set_up_logging()
    from nmt.pipeline.compare import run_compare

    typer.echo(run_compare(comparison, configs))


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
    from nmt.files import written_whole
    from nmt.pipeline.load import load_model
    from nmt.pipeline.translate import Shown, argument_lines, input_lines, run_translate
    from nmt.runtime import set_up_logging

    set_up_logging()
    if texts and input_file:
        raise typer.BadParameter("give texts or --input, not both")
    drawing = ["decoding.sampling.enabled=true"] if sample else []
    loaded = load_model(model, checkpoint, [*_with_beam(overrides, beam), *drawing])
    shown = Shown(as_json, alignments, show_alignment, level, keep_eos, n_best)
    lines: Iterator[str] = argument_lines(texts) if texts else input_lines(input_file)
    typing = not texts and input_file is None and sys.stdin.isatty()
    if output is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        run_translate(loaded, lines, sys.stdout, shown, at_once=typing, prefix=prefix)
        return
    with written_whole(output) as beside, beside.open("w", encoding="utf-8", newline="\n") as out:
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
        from nmt.pipeline.evaluate import run_versus

        if ref is None or src is not None or model or versus:
            raise typer.BadParameter("--hypotheses goes with --ref alone")
        if len({str(path) for path in hypotheses}) < len(hypotheses):
            raise typer.BadParameter("a file of --hypotheses is given twice")
        typer.echo(run_versus([(str(path), path) for path in hypotheses], ref, tokenize, lowercase))
        return
    from nmt.pipeline.evaluate import run_eval, run_eval_versus
    from nmt.pipeline.load import load_model
    from nmt.runtime import set_up_logging

    set_up_logging()
    if (src is None) != (ref is None):
        raise typer.BadParameter("--src and --ref go together")
    loaded = load_model(model, checkpoint, _with_beam(overrides, beam))
    files = (src, ref) if src and ref else None
    if versus:
        others = [load_model(path, None, _with_beam(overrides, beam)) for path in versus]
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
    from nmt.alignment.aer import format_pharaoh
    from nmt.config import Source
    from nmt.pipeline.align import Linking, run_align
    from nmt.pipeline.evaluate import source_of_split
    from nmt.pipeline.load import load_model
    from nmt.pipeline.translate import Shown
    from nmt.runtime import set_up_logging

    set_up_logging()
    _one_of_files_and_split(src, tgt, split)
    loaded = load_model(model, checkpoint, overrides or [])
    source = source_of_split(loaded, split) if split else Source(src=str(src), tgt=str(tgt))
    shown = Shown(alignments=alignments, level=level, keep_eos=keep_eos)
    other = load_model(backward, None, overrides or []) if backward else None
    linking = Linking(extract, threshold, null_below, other, symmetrise)
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
    from nmt.config import Source
    from nmt.pipeline.evaluate import source_of_split
    from nmt.pipeline.load import load_model
    from nmt.pipeline.score import run_score
    from nmt.runtime import set_up_logging

    set_up_logging()
    _one_of_files_and_split(src, tgt, split)
    loaded = load_model(model, checkpoint, overrides or [])
    source = source_of_split(loaded, split) if split else Source(src=str(src), tgt=str(tgt))
    for line in run_score(loaded, source, split or "test", as_json):
        typer.echo(line)


@app.command()
def calibrate(
    model: ModelOption = None,
    checkpoint: CheckpointOption = None,
    split: Annotated[Literal["valid", "test"], typer.Option("--split", help="Split to fit on.")] = "valid",
    overrides: SetOption = None,
) -> None:
    """Calibrate word confidences: of the words with confidence 0.8, 80 % should then be right."""
    from nmt.pipeline.calibrate import run_calibrate
    from nmt.pipeline.evaluate import source_of_split
    from nmt.pipeline.load import load_model
    from nmt.runtime import set_up_logging

    set_up_logging()
    loaded = load_model(model, checkpoint, overrides or [])
    typer.echo(run_calibrate(loaded, source_of_split(loaded, split), split))


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
    from nmt.pipeline.average import run_average
    from nmt.run_folder import find_model

    target, averaged = run_average(find_model(model, Path("runs")), best or last, best is not None, name)
    typer.echo(f"the mean of {', '.join(averaged)}", err=True)
    typer.echo(str(target))


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="Where the files go.", show_default=False)],
    split: Annotated[Literal["train", "valid", "test"], typer.Option("--split", help="Which split.")] = "test",
) -> None:
    """Write a split of the built-in corpus as text files, with its gold links."""
    from nmt.config import Source
    from nmt.data.corpus import export_text

    for path in export_text(Source(builtin="phrasebook"), split, folder, "en", "fr"):
        typer.echo(str(path))


def _one_of_files_and_split(src: Path | None, tgt: Path | None, split: str | None) -> None:
    if (src is None) != (tgt is None) or (src is None) == (split is None):
        raise typer.BadParameter("give --src and --tgt, or --split")


def _with_beam(overrides: list[str] | None, beam: int | None) -> list[str]:
    return [*(overrides or []), *([f"decoding.beam_size={beam}"] if beam else [])]


def main() -> None:
    """Run the command line."""
    app(prog_name="nmt")
