"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

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


PrecisionOption = Annotated[
    Literal["fp32", "bf16", "int8"] | None,
    typer.Option("--precision", help="Of the weights; overrides decoding.precision.", show_default=False),
]


def one_of_files_and_split(src: Path | None, tgt: Path | None, split: str | None) -> None:
    """Refuse anything but two files or a split."""
    if (src is None) != (tgt is None) or (src is None) == (split is None):
        raise typer.BadParameter("give --src and --tgt, or --split")


def with_search(overrides: list[str] | None, beam: int | None, precision: str | None = None) -> list[str]:
    """The overrides, and beam size and precision as two more."""
    given = {"beam_size": beam, "precision": precision}
    return [*(overrides or []), *(f"decoding.{key}={value}" for key, value in given.items() if value)]
