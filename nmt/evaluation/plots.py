"""Scores as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nmt.evaluation.metrics import LengthScore
from nmt.fonts import figure_fonts


def draw_lengths(curves: Mapping[str, Sequence[LengthScore]], path: Path) -> None:
    """Draw BLEU over source length, one line for each system (Bahdanau et al. 2015, figure 2).

    The axis of BLEU begins at 0. Bars show the 95 % intervals of a system if all its groups have one.

    Args:
        curves: the `scores_by_length` of each system on the same sources; at least one system.
        path: the picture file.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, max(4.0, 0.22 * len(curves))), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    fonts = figure_fonts(curves)
    style: dict[str, Any] = {"fontfamily": fonts.families, "parse_math": False}  # dollar signs are text
    lines = []
    for index, groups in enumerate(curves.values()):
        margins = [group.margin for group in groups if group.margin is not None]
        line, *_ = axis.errorbar(
            range(len(groups)),
            [group.bleu for group in groups],
            yerr=margins if margins and len(margins) == len(groups) else None,
            capsize=3,
            marker="osv^Dx"[index // 20 % 6],
            color=colormaps["tab20"](index % 20),
        )
        lines.append(line)
    first = next(iter(curves.values()))
    axis.set_xticks(range(len(first)), [f"{group.shortest}-{group.longest}" for group in first])
    axis.set_ylim(bottom=0.0)
    axis.set(xlabel="source words (about equally many sentences each)", ylabel="BLEU")
    names = [fonts.drawable(name) for name in curves]
    if len(names) == 1:
        axis.set_title(f"BLEU by source length, {names[0]}", **style)
    else:
        axis.set_title("BLEU by source length")
        legend = axis.legend(lines, names, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
        for text in legend.get_texts():
            text.set(**style)
    figure.savefig(path, dpi=110)
