"""Drawing alignment matrices with words along the sides, as text for a terminal or as a picture."""

import math
import os
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nmt.alignment.matrix import AlignmentMatrix
from nmt.fonts import Fonts, figure_fonts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHADES = " ░▒▓█"
_JOINERS = "\u200c\u200d"  # join or separate the shapes of neighbouring letters, and join emoji
_LONGEST_SIDE = 30_000  # pixels of a picture; matplotlib refuses twice as many
_MOST_PIXELS = 150_000_000  # of a picture; each takes four bytes of memory


def terminal_heatmap(matrix: AlignmentMatrix, width: int | None = None) -> str:
    """Return the matrix as text: one row per target token, one column per source token, darker for more weight.

    The source tokens are at the top, each above its column. Each row ends with its largest weight as a number and the
    source token of that weight. If this is wider than the terminal, each row lists only the two source tokens with the
    largest weights.

    Args:
        matrix: the matrix to show.
        width: the number of columns of the terminal; None for that of the terminal at standard error, or for as many
            columns as needed if there is no terminal.
    """
    sources = [_printable(token) for token in matrix.src_tokens]
    targets = [_printable(token) for token in matrix.tgt_tokens]
    margin = max((_width(token) for token in targets), default=0)
    widths = [max(3, _width(token)) for token in sources]
    labels = [" " * (margin - _width(token)) + token for token in targets]
    heaviest = [np.argsort(-row, kind="stable")[:2] for row in matrix.weights]
    lines = [
        " " * margin + "   " + " ".join(_centre(token, width) for token, width in zip(sources, widths, strict=True))
    ]
    for label, row, columns in zip(labels, matrix.weights, heaviest, strict=True):
        cells = (
            _SHADES[min(len(_SHADES) - 1, int(weight * len(_SHADES)))] * width
            for weight, width in zip(row, widths, strict=True)
        )
        best = "".join(f"  {sources[column]} {row[column]:.2f}" for column in columns[:1])
        lines.append(f"{label} │ {' '.join(cells)} │{best}")
    limit = _terminal_width() if width is None else width
    if limit is None or max(map(_width, lines)) <= limit:
        return "\n".join(lines)
    return "\n".join(
        f"{label} │" + "".join(f"  {sources[column]} {row[column]:.2f}" for column in columns if row[column] >= 0.005)
        for label, row, columns in zip(labels, matrix.weights, heaviest, strict=True)
    )


def _terminal_width() -> int | None:
    """Return the number of columns of the terminal at standard error; None if there is no terminal."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else None
    except (OSError, ValueError):
        return None


def draw_heatmaps(matrices: Sequence[AlignmentMatrix], titles: Sequence[str] | None = None) -> "Figure":
    """Return one figure with a heat map of each matrix, one below the other, in several columns if there are many.

    Args:
        matrices: at least one matrix.
        titles: a heading for each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sizes = [_size(matrix) for matrix in matrices]
    width = max(width for width, _ in sizes)
    # the smallest number of columns with which the figure is not much higher than it is wide
    columns = 1
    while len(matrices) > 3 and columns < len(matrices):
        heights = _heights(sizes, columns)
        if sum(heights) <= 1.5 * columns * width:
            break
        columns += 1
    heights = _heights(sizes, columns)
    figure = Figure(figsize=(columns * width, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    fonts = _fonts(matrices, titles or ())
    for axis in axes.flat[len(matrices) :]:
        axis.set_axis_off()
    for index, (matrix, axis) in enumerate(zip(matrices, axes.flat, strict=False)):
        _draw(axis, matrix, fonts)
        if titles is not None:
            _set_title(axis, titles[index], fonts, "medium")
        axis.set_xlabel(f"{matrix.level}, EOS {matrix.eos}", fontsize="small", color="0.4")
    return figure


def _size(matrix: AlignmentMatrix) -> tuple[float, float]:
    """Return the width and height of a heat map in inches, including its slanted source words and its target words."""
    above = max((_width(token) for token in matrix.src_tokens), default=0)
    beside = max((_width(token) for token in matrix.tgt_tokens), default=0)
    width = 0.9 + 0.42 * len(matrix.src_tokens) + 0.09 * beside + 0.05 * above
    return max(4.0, width), 0.9 + 0.32 * len(matrix.tgt_tokens) + 0.09 * above


def _heights(sizes: Sequence[tuple[float, float]], columns: int) -> list[float]:
    """Return the height of each row of heat maps."""
    heights = [height for _, height in sizes]
    return [max(heights[start : start + columns]) for start in range(0, len(heights), columns)]


def draw_grid(rows: Sequence[Sequence[AlignmentMatrix]], titles: Sequence[str], columns: int = 6) -> "Figure":
    """Return a figure with the matrices of several models for the same sentences, side by side.

    Args:
        rows: for each sentence, one matrix of each model.
        titles: the models' names.
        columns: the most models in one row of the figure; the others follow below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(titles))
    lines = -(-len(titles) // columns)
    every = [matrix for row in rows for matrix in row]
    # There is room for words of twelve characters; longer ones, such as those of an untrained model, need more.
    above = max([0, *(_width(token) - 12 for matrix in every for token in matrix.src_tokens)])
    beside = max([0, *(_width(token) - 12 for matrix in every for token in matrix.tgt_tokens)])
    taller, wider = 0.08 * above, 0.07 * beside + 0.05 * above  # source words are slanted
    heights = [
        1.5 + 0.22 * max(len(matrix.tgt_tokens) for matrix in row) + taller for row in rows for _ in range(lines)
    ]
    width = 1.2 + 0.22 * max(len(matrix.src_tokens) for matrix in every) + wider
    figure = Figure(figsize=(columns * width, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    fonts = _fonts(every, titles)
    for axis in axes.flat:
        axis.set_axis_off()
    for index, row in enumerate(rows):
        for position, (title, matrix) in enumerate(zip(titles, row, strict=True)):
            axis = axes[index * lines + position // columns, position % columns]
            axis.set_axis_on()
            _draw(axis, matrix, fonts, fontsize=7)
            _set_title(axis, title, fonts, 9)
    return figure


def _fonts(matrices: Iterable[AlignmentMatrix], titles: Iterable[str]) -> Fonts:
    """Return the fonts for the words of the matrices and the titles."""
    words = [_printable(token) for matrix in matrices for token in (*matrix.src_tokens, *matrix.tgt_tokens)]
    return figure_fonts([*words, *titles])


def _draw(axis: "Axes", matrix: AlignmentMatrix, fonts: Fonts, fontsize: float | None = None) -> None:
    """Draw one heat map with its words along the sides."""
    axis.imshow(matrix.weights, cmap="Greys", vmin=0.0, vmax=1.0, aspect="equal")
    sources, targets = (
        [fonts.drawable(_printable(token)) for token in tokens] for tokens in (matrix.src_tokens, matrix.tgt_tokens)
    )
    # dollar signs are text, not the beginning of a formula
    style: dict[str, Any] = {"fontsize": fontsize, "fontfamily": fonts.families, "parse_math": False}
    axis.set_xticks(range(len(sources)), sources, rotation=60, ha="left", rotation_mode="anchor", **style)
    axis.set_yticks(range(len(targets)), targets, **style)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)


def _set_title(axis: "Axes", title: str, fonts: Fonts, fontsize: str | float) -> None:
    axis.set_title(fonts.drawable(title), fontsize=fontsize, fontfamily=fonts.families, parse_math=False)


def save_heatmaps(matrices: Sequence[AlignmentMatrix], path: Path) -> None:
    """Draw the matrices into a picture file; the suffix of `path` chooses the format."""
    figure = draw_heatmaps(matrices)
    width, height = figure.get_size_inches()
    figure.savefig(path, dpi=min(120.0, _LONGEST_SIDE / max(width, height), math.sqrt(_MOST_PIXELS / (width * height))))


def _printable(token: str) -> str:
    """Return the token with a dot for each control character, which would disturb a terminal.

    Joiners stay, since they belong to the spelling of Persian and Hindi words.
    """
    return "".join(
        "·" if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") and char not in _JOINERS else char
        for char in token
    )


def _width(text: str) -> int:
    """Return how many columns `text` takes in a terminal: two for wide characters, none for combining ones.

    The vowels and final consonants of a decomposed Korean syllable take no columns of their own.
    """
    columns = 0
    for char in text:
        if unicodedata.category(char) not in ("Mn", "Me", "Cf") and not "\u1160" <= char <= "\u11ff":
            columns += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return columns


def _centre(text: str, width: int) -> str:
    left = (width - _width(text)) // 2
    return " " * left + text + " " * (width - _width(text) - left)
