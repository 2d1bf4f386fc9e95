"""Options that several commands share."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nmt.startup import fast_imports

if TYPE_CHECKING:
    from nmt.config import Source
    from nmt.runs.load import LoadedModel

Level = Literal["words", "tokens", "pieces"]
ConfigArgument = Annotated[
    Path | None, typer.Argument(metavar="[CONFIG]", help="Configuration file (YAML).", show_default=False)
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Configuration file, given as an option.", show_default=False)
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: --set training.epochs=5. Repeatable.")
]
SetForModelOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting of the model: --set decoding.length_penalty=0.6. Repeatable."),
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
        help="Write the matrices (.json, .npz), the links (.pharaoh, .tsv), pictures (.png, .pdf, .svg), or a page to "
        "look at (.html).",
        show_default=False,
    ),
]
RequireOption = Annotated[
    list[str] | None,
    typer.Option(
        "--require",
        help="A phrase that every translation must contain as whole words; 'a|b' requires one of the two. Repeatable.",
    ),
]
ForbidOption = Annotated[
    list[str] | None, typer.Option("--forbid", help="A phrase that no translation may contain. Repeatable.")
]
GlossaryOption = Annotated[
    Path | None,
    typer.Option(
        "--glossary",
        help="A table of terms, separated by tabs: source term, translation and, optionally, forbidden translations.",
        show_default=False,
    ),
]
BackwardOption = Annotated[
    Path | None,
    typer.Option(
        "--backward",
        help="A model of the other direction, which re-ranks the translations of the beam (decoding.backward_weight).",
        show_default=False,
    ),
]
ProcessesOption = Annotated[
    int | None,
    typer.Option(
        "--processes",
        min=1,
        help="The number of processes on this machine that share the work. Use torchrun for several machines.",
        show_default=False,
    ),
]
LevelOption = Annotated[
    Level, typer.Option("--level", help="Units of the matrices: words, tokens separated by white space, or pieces.")
]
EosOption = Annotated[bool, typer.Option("--keep-eos", help="Keep the row that predicted the end of the sentence.")]

PairSrcOption = Annotated[Path | None, typer.Option("--src", help="Source file.", show_default=False)]
PairTgtOption = Annotated[
    Path | None, typer.Option("--tgt", help="Target file, the translation of --src.", show_default=False)
]
PairSplitOption = Annotated[
    Literal["train", "valid", "test"] | None,
    typer.Option("--split", help="A split of the run's data instead of files.", show_default=False),
]


PrecisionOption = Annotated[
    Literal["fp32", "bf16", "int8"] | None,
    typer.Option("--precision", help="Precision of the weights. [default: the run's]", show_default=False),
]


def refuse_without_effect(ctx: typer.Context, **needs: tuple[bool, str]) -> None:
    """Refuse options that were given but would be ignored.

    Args:
        ctx: the context of the command.
        needs: for parameters of the command, whether they have an effect now, and what they need to have one.

    Raises:
        BadParameter: naming the first such option and the remedy.
    """
    for parameter in ctx.command.params:
        has_effect, needed = needs.get(parameter.name or "", (True, ""))
        source = ctx.get_parameter_source(parameter.name or "")
        if not has_effect and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"{parameter.opts[0]} has no effect here; it belongs to {needed}")


def has_matrices(alignments: Path | None) -> bool:
    """Return whether a file of `--alignments` holds matrices and not only links."""
    return alignments is not None and alignments.suffix.lower() not in (".pharaoh", ".tsv")


def chosen_device(overrides: list[str] | None) -> str:
    """Return `training.device` as the overrides set it, or its default."""
    settings = dict(one.partition("=")[::2] for one in overrides or [])
    return next((value.strip() for key, value in settings.items() if key.strip() == "training.device"), "auto")


def start_others(processes: int | None) -> None:
    """Let torchrun start this program `processes` times and exit; return if one process is enough."""
    if processes is None or processes == 1:
        return
    from nmt.processes import start_processes

    start_processes(processes, without_processes(sys.argv[1:]))


def without_processes(arguments: list[str]) -> list[str]:
    """Return a command line without the option `--processes` and its value."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if not skip and argument != "--processes" and not argument.startswith("--processes="):
            kept.append(argument)
        skip = argument == "--processes"
    return kept


def one_config(argument: Path | None, option: Path | None) -> Path:
    """Return the configuration file, which was given as an argument or as an option.

    Raises:
        BadParameter: if it was given twice, or not at all.
    """
    path = argument or option
    if path is None or (argument is not None and option is not None):
        raise typer.BadParameter("give one configuration file, such as my.yaml")
    return path


def one_of_files_and_split(src: Path | None, tgt: Path | None, split: str | None) -> None:
    """Refuse any choice other than two files or a split."""
    if (src is None) != (tgt is None) or (src is None) == (split is None):
        raise typer.BadParameter("give --src and --tgt, or --split")


def with_search(overrides: list[str] | None, beam: int | None, precision: str | None = None) -> list[str]:
    """Return the overrides, with the beam size and the precision added if they are given."""
    given = {"beam_size": beam, "precision": precision}
    return [*(overrides or []), *(f"decoding.{key}={value}" for key, value in given.items() if value)]


def model_and_pairs(
    model: Path | list[Path] | None,
    checkpoint: str | None,
    overrides: list[str] | None,
    src: Path | None,
    tgt: Path | None,
    split: Literal["train", "valid", "test"] | None,
) -> "tuple[LoadedModel, Source]":
    """Load the model, and return it with the source of the given pairs: two files or a split."""
    one_of_files_and_split(src, tgt, split)
    with fast_imports():
        from nmt.runs.load import load_model
        from nmt.runtime import set_up_logging

    set_up_logging()
    loaded = load_model(model, checkpoint, overrides or [])
    return loaded, loaded.source(split or "test", (src, tgt) if src and tgt else None)
