"""`nmt eval`: options and help."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nmt.cli.app import app
from nmt.cli.options import (
    BackwardOption,
    BeamOption,
    CheckpointOption,
    GlossaryOption,
    ModelsOption,
    PrecisionOption,
    SetForModelOption,
    refuse_without_effect,
    with_search,
)
from nmt.quiet import is_quiet
from nmt.startup import fast_imports


@app.command("eval")
def evaluate(
    ctx: typer.Context,
    model: ModelsOption = None,
    checkpoint: CheckpointOption = None,
    split: Annotated[
        Literal["train", "valid", "test"], typer.Option("--split", help="Split of the run's own data.")
    ] = "test",
    src: Annotated[
        Path | None, typer.Option("--src", help="Source file instead of a split.", show_default=False)
    ] = None,
    ref: Annotated[
        list[Path] | None,
        typer.Option(
            "--ref", help="The reference translation of --src. Repeat it for several references.", show_default=False
        ),
    ] = None,
    beam: BeamOption = None,
    precision: PrecisionOption = None,
    backward: BackwardOption = None,
    glossary: GlossaryOption = None,
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
            help="Beginning of the names of the files to write, or, with --versus, their folder. [default: "
            "in the run's eval/]",
            show_default=False,
        ),
    ] = None,
    alignments: Annotated[
        Path | None,
        typer.Option(
            "--alignments",
            help="Write a page (.html) with the translations, their alignment and the references.",
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
        Literal["auto", "13a", "none", "intl", "char", "zh", "ja-mecab", "ko-mecab", "flores101", "flores200", "spm"]
        | None,
        typer.Option(
            "--tokenize", help="Tokenization of BLEU. [default: the run's; with --hypotheses auto]", show_default=False
        ),
    ] = None,
    lowercase: Annotated[bool, typer.Option("--lowercase", help="Ignore case in all metrics.")] = False,
    overrides: SetForModelOption = None,
) -> None:
    """Translate a test set and score it by BLEU, chrF and more.

    The table has 95 % intervals, TER, perplexity, and AER where there are gold links.
    """
    with_model = (not hypotheses, "a model; --hypotheses scores files")
    refuse_without_effect(
        ctx,
        **dict.fromkeys(
            (
                "model",
                "checkpoint",
                "src",
                "beam",
                "precision",
                "backward",
                "glossary",
                "versus",
                "output",
                "alignments",
                "overrides",
            ),
            with_model,
        ),
        split=(not hypotheses and src is None, "a run's own data"),
    )
    if hypotheses:
        from nmt.commands.evaluate import run_versus

        if not ref:
            raise typer.BadParameter("--hypotheses needs --ref")
        if len({str(path) for path in hypotheses}) < len(hypotheses):
            raise typer.BadParameter("a file of --hypotheses is given twice")
        typer.echo(run_versus([(str(path), path) for path in hypotheses], ref, tokenize or "auto", lowercase))
        return
    if (src is None) != (not ref):
        raise typer.BadParameter("--src and --ref go together")
    with fast_imports():
        from nmt.commands.evaluate import run_eval, run_eval_versus
        from nmt.runs.load import load_model
        from nmt.runtime import set_up_logging

    set_up_logging()
    settings = with_search(overrides, beam, precision)
    settings += [f"evaluation.bleu_tokenize={tokenize}"] if tokenize else []
    settings += ["evaluation.lowercase=true"] if lowercase else []
    loaded = load_model(model, checkpoint, settings, backward=backward)
    files = (src, ref[0]) if src and ref else None
    more = ref[1:] if ref else []
    if versus and alignments is not None:
        raise typer.BadParameter("--alignments shows one model; take --versus out")
    if versus:
        others = [load_model(path, checkpoint, settings, backward=backward) for path in versus]
        typer.echo(run_eval_versus([loaded, *others], split, files, output, more, glossary))
        return
    report = run_eval(loaded, split, files, output, more_refs=more, glossary=glossary, page=alignments)
    typer.echo(report.table)
    if not is_quiet():
        typer.echo(f"wrote {report.hypotheses}, {report.json}, and beside them .tsv and .png", err=True)
