"""Functions from energies to weights, which are non-negative and sum to 1 in each row.

A weight is exactly 0 where the energy is -inf. Every function takes energies ``[..., S]`` of float32 or float64 with at
least one finite number in each row.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Sparse normalisers give weight 0 to any energy this far below the maximum, so this value can replace -inf.
_FAR_BELOW = -10.0


def softmax(energies: Tensor) -> Tensor:
    """Return exp(e) / sum exp(e)."""
    return energies.softmax(dim=-1)


def sparsemax(energies: Tensor) -> Tensor:
    """Return the Euclidean projection onto the simplex: max(e - tau, 0) (Martins & Astudillo 2016, algorithm 1)."""
    shifted = _shifted(energies)
    ordered, _ = shifted.sort(dim=-1, descending=True)
    rank = torch.arange(1, energies.shape[-1] + 1, device=energies.device, dtype=energies.dtype)
    total = ordered.cumsum(dim=-1)
    size = (1 + rank * ordered > total).sum(dim=-1, keepdim=True).clamp(min=1)  # it is 0 if an energy is not a number
    threshold = (total.gather(-1, size - 1) - 1) / size
    return (shifted - threshold).clamp(min=0.0)


def entmax15(energies: Tensor) -> Tensor:
    """Return entmax with alpha 1.5: max(e / 2 - tau, 0) squared (Peters et al. 2019, algorithm 2)."""
    shifted = _shifted(energies) / 2
    ordered, _ = shifted.sort(dim=-1, descending=True)
    rank = torch.arange(1, energies.shape[-1] + 1, device=energies.device, dtype=energies.dtype)
    mean = ordered.cumsum(dim=-1) / rank
    spread = rank * ((ordered**2).cumsum(dim=-1) / rank - mean**2)
    # If the support is too large, this would be the root of a negative number; such thresholds are never chosen.
    thresholds = mean - ((1 - spread) / rank).clamp(min=1e-12).sqrt()
    size = (thresholds <= ordered).sum(dim=-1, keepdim=True).clamp(min=1)  # it is 0 if an energy is not a number
    return (shifted - thresholds.gather(-1, size - 1)).clamp(min=0.0) ** 2


def hard(energies: Tensor) -> Tensor:
    """Return 1 at the largest energy of each row and 0 elsewhere; the gradient is that of softmax."""
    soft = energies.softmax(dim=-1)
    return straight_through(torch.zeros_like(soft).scatter_(-1, soft.argmax(dim=-1, keepdim=True), 1.0), soft)


NORMALISERS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": softmax,
    "sparsemax": sparsemax,
    "entmax15": entmax15,
    "hard": hard,
}


def _shifted(energies: Tensor) -> Tensor:
    """Return the energies shifted to a row maximum of 0 and made finite, which does not change the weights."""
    return (energies - energies.amax(dim=-1, keepdim=True)).clamp(min=_FAR_BELOW)


def straight_through(weights: Tensor, soft: Tensor) -> Tensor:
    """Return `weights`, whose gradient is replaced by that of `soft` (Bengio et al. 2013, section 4)."""
    return _StraightThrough.apply(weights, soft)  # type: ignore[no-any-return, no-untyped-call]


class _StraightThrough(torch.autograd.Function):
    """Return the first input unchanged, and pass the gradient to the second."""

    @staticmethod
    def forward(context: Any, weights: Tensor, soft: Tensor) -> Tensor:
        return weights.view_as(weights)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient
