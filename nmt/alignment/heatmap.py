"""Alignment matrices drawn: in the terminal with words along the sides, or as a picture."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nmt.alignment.matrix import AlignmentMatrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SHADES = " ░▒▓█"


def terminal_heatmap(matrix: AlignmentMatrix) -> str:
    """The matrix as text: one row per target token, one column per source token, darker for more weight.

    Source tokens stand at the top, each over its own column; the row's largest weight is given as a number at the end.
    """
    sources = [_printable(token) for token in matrix.src_tokens]
    targets = [_printable(token) for token in matrix.tgt_tokens]
    margin = max((_width(token) for token in targets), default=0)
    widths = [max(3, _width(token)) for token in sources]
    lines = [
        " " * margin + "   " + " ".join(_centre(token, width) for token, width in zip(sources, widths, strict=True))
    ]
    for token, row in zip(targets, matrix.weights, strict=True):
        cells = (
            _SHADES[min(len(_SHADES) - 1, int(weight * len(_SHADES)))] * width
            for weight, width in zip(row, widths, strict=True)
        )
        label = " " * (margin - _width(token)) + token
        best = f"  {sources[int(row.argmax())]} {row.max():.2f}" if len(row) else ""
        lines.append(f"{label} │ {' '.join(cells)} │{best}")
    return "\n".join(lines)


def draw_heatmaps(matrices: Sequence[AlignmentMatrix], titles: Sequence[str] | None = None) -> "Figure":
    """The matrices as one figure, one heat map below the other.

    Args:
        matrices: at least one.
        titles: a heading for each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [1.2 + 0.32 * len(matrix.tgt_tokens) for matrix in matrices]
    width = max(4.0, 1.8 + 0.42 * max(len(matrix.src_tokens) for matrix in matrices))
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(matrices), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for index, (matrix, axis) in enumerate(zip(matrices, axes, strict=True)):
        _draw(axis, matrix)
        if titles is not None:
            axis.set_title(titles[index], fontsize="medium")
        axis.set_xlabel(f"{matrix.level}, EOS {matrix.eos}", fontsize="small", color="0.4")
    return figure


def draw_grid(rows: Sequence[Sequence[AlignmentMatrix]], titles: Sequence[str], columns: int = 6) -> "Figure":
    """Matrices of the same sentences by several models, side by side.

    Args:
        rows: for each sentence one matrix of each model.
        titles: the models' names.
        columns: models in one line of the figure; the others follow below.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(columns, len(titles))
    lines = -(-len(titles) // columns)
    heights = [1.5 + 0.22 * max(len(matrix.tgt_tokens) for matrix in row) for row in rows for _ in range(lines)]
    longest = max(len(matrix.src_tokens) for row in rows for matrix in row)
    figure = Figure(figsize=(columns * (1.2 + 0.22 * longest), sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    for axis in axes.flat:
        axis.set_axis_off()
    for index, row in enumerate(rows):
        for position, (title, matrix) in enumerate(zip(titles, row, strict=True)):
            axis = axes[index * lines + position // columns, position % columns]
            axis.set_axis_on()
            _draw(axis, matrix, fontsize=7)
            axis.set_title(title, fontsize=9)
    return figure


def _draw(axis: "Axes", matrix: AlignmentMatrix, fontsize: float | None = None) -> None:
    """One heat map with its words along the sides."""
    axis.imshow(matrix.weights, cmap="Greys", vmin=0.0, vmax=1.0, aspect="equal")
    sources, targets = ([_printable(token) for token in tokens] for tokens in (matrix.src_tokens, matrix.tgt_tokens))
    axis.set_xticks(range(len(sources)), sources, rotation=60, ha="left", rotation_mode="anchor", fontsize=fontsize)
    axis.set_yticks(range(len(targets)), targets, fontsize=fontsize)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)


def save_heatmaps(matrices: Sequence[AlignmentMatrix], path: Path) -> None:
    """Draw the matrices into a picture file; the suffix of `path` chooses the format."""
    draw_heatmaps(matrices).savefig(path, dpi=120)


def _printable(token: str) -> str:
    """The token without control characters, which would disturb a terminal; sentencepiece's space mark as it is."""
    return "".join("·" if unicodedata.category(char) in ("Cc", "Cf", "Zl", "Zp") else char for char in token)


def _width(text: str) -> int:
    """Columns that `text` takes in a terminal: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _centre(text: str, width: int) -> str:
    left = (width - _width(text)) // 2
    return " " * left + text + " " * (width - _width(text) - left)
