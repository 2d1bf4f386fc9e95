"""Scores as pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nmt.evaluation.metrics import LengthScore


def draw_lengths(curves: Mapping[str, Sequence[LengthScore]], path: Path) -> None:
    """BLEU over source length as a picture, a line for each system (Bahdanau et al. 2015, figure 2).

    Args:
        curves: `scores_by_length` of each system on the same sources.
        path: of the picture.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, max(4.0, 0.22 * len(curves))), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for index, (name, groups) in enumerate(curves.items()):
        axis.plot(
            range(len(groups)),
            [group.bleu for group in groups],
            marker="osv^Dx"[index // 20 % 6],
            color=colormaps["tab20"](index % 20),
            label=name,
        )
    first = next(iter(curves.values()))
    axis.set_xticks(range(len(first)), [f"{group.shortest}-{group.longest}" for group in first])
    axis.set(xlabel="source words (equally many sentences each)", ylabel="BLEU")
    axis.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=110)
