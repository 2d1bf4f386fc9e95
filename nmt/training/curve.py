"""The training curve as a picture."""

from collections.abc import Sequence
from typing import Any


def draw_curve(history: Sequence[dict[str, Any]], path: Any, best: int | None = None) -> None:
    """Draw the records of ``metrics.jsonl`` as a picture: training and validation loss, and BLEU and chrF if known.

    Args:
        history: the records.
        path: the picture file.
        best: the update of the best validation, which is marked in the picture; None if there is none yet.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    train = [record for record in history if "valid" not in record]
    valid = [record for record in history if "valid" in record and "averaged" not in record]
    scores = [name for name in ("bleu", "chrf") if any(name in record["valid"] for record in valid)]
    figure = Figure(figsize=(9 if scores else 5, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2 if scores else 1, sharex=True, squeeze=False)[0]
    axes[0].plot([r["update"] for r in train], [r["loss"] for r in train], label="training", color="0.6")
    losses = [r["valid"]["loss"] for r in valid]
    axes[0].plot([r["update"] for r in valid], losses, "o-", markersize=3, label="validation", color="black")
    axes[0].set(xlabel="update", ylabel="loss (nats per token)")
    for name, style in zip(scores, ("o-", "s--"), strict=False):
        scored = [r for r in valid if name in r["valid"]]
        values = [r["valid"][name] for r in scored]
        axes[1].plot([r["update"] for r in scored], values, style, markersize=3, label=name, color="black")
        axes[1].set(xlabel="update", ylabel="validation score")
    for axis in axes:
        if best is not None:
            axis.axvline(best, color="0.4", linestyle=":", label=f"best, update {best}")
        axis.legend()
    figure.savefig(path, dpi=120)
