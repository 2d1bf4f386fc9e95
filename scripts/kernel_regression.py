"""Attention as regression: Nadaraya-Watson on y = 2 sin x + x + noise, with the kernels of the score `kernel`.

A query x looks at 40 training points. The prediction is the mean of their y, weighted by k(|x - x_i| / sigma). The
script prints the mean squared error of each kernel and width on 200 points without noise, and draws the fits and the
weights:

    python scripts/kernel_regression.py --output kernel_regression.png
"""

from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from nmt.model.attention.kernel import LOG_KERNELS, Kernel, squared_distances, uniform_if_empty

KERNELS: tuple[Kernel, ...] = ("gaussian", "boxcar", "epanechnikov")
RANGE = 5.0


def truth(x: Tensor) -> Tensor:
    """Return 2 sin x + x, the function that is fitted."""
    return 2 * torch.sin(x) + x


def kernel_attention(
    queries: Tensor, keys: Tensor, values: Tensor, kernel: Kernel, width: float
) -> tuple[Tensor, Tensor]:
    """Return the predictions and the attention weights.

    Args:
        queries: ``[Q]``.
        keys: ``[S]`` the x of the training points.
        values: ``[S]`` their y.
        kernel: the kernel.
        width: its sigma.

    Returns:
        The weighted mean of `values` for each query ``[Q]``, and the weights ``[Q, S]``.
    """
    squared = squared_distances(queries[:, None], keys[:, None]) / width**2
    everywhere = torch.ones(len(keys), dtype=torch.bool)
    weights = uniform_if_empty(LOG_KERNELS[kernel](squared), everywhere).softmax(dim=-1)
    return weights @ values, weights


def main(
    output: Annotated[Path, typer.Option(help="The picture.")] = Path("kernel_regression.png"),
    points: Annotated[int, typer.Option(min=1, help="Training points.")] = 40,
    noise: Annotated[float, typer.Option(min=0.0, help="Standard deviation of the noise.")] = 0.5,
    widths: Annotated[list[float] | None, typer.Option("--width", help="sigma; repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Of points and noise.")] = 1,
) -> None:
    """Fit, print the errors, draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    chosen = widths or [0.1, 0.5, 1.0, 2.0]
    generator = torch.Generator().manual_seed(seed)
    keys = (torch.rand(points, generator=generator) * RANGE).sort().values
    values = truth(keys) + noise * torch.randn(points, generator=generator)
    queries = torch.linspace(0, RANGE, 200)
    figure = Figure(figsize=(3.2 * len(chosen), 4.2 * len(KERNELS)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2 * len(KERNELS), len(chosen), squeeze=False)
    print("| kernel | " + " | ".join(f"sigma {width:g}" for width in chosen) + " |")
    print("| --- |" + " ---: |" * len(chosen))
    for row, kernel in enumerate(KERNELS):
        errors = []
        for column, width in enumerate(chosen):
            fit, weights = kernel_attention(queries, keys, values, kernel, width)
            errors.append(float(((fit - truth(queries)) ** 2).mean()))
            curve, heat = axes[2 * row, column], axes[2 * row + 1, column]
            curve.plot(keys, values, ".", color="0.6", markersize=4)
            curve.plot(queries, truth(queries), "--", color="0.4", linewidth=1)
            curve.plot(queries, fit, color="black")
            curve.set_title(f"{kernel}, sigma {width:g}: error {errors[-1]:.3f}", fontsize=9)
            heat.imshow(weights, cmap="Greys", aspect="auto", extent=(0, points, RANGE, 0))
            heat.set(xlabel="training point (sorted)", ylabel="query x")
        print(f"| {kernel} | " + " | ".join(f"{error:.3f}" for error in errors) + " |")
    figure.savefig(output, dpi=80)


if __name__ == "__main__":
    typer.run(main)
