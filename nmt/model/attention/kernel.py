"""Kernels k(u) of Nadaraya-Watson attention, as logarithms: a softmax over log k is k / sum k."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Kernel = Literal["gaussian", "boxcar", "epanechnikov", "constant"]


def gaussian(squared: Tensor) -> Tensor:
    """Return log k(u) with k(u) = exp(-u² / 2)."""
    return -squared / 2


def boxcar(squared: Tensor) -> Tensor:
    """Return log k(u), where k(u) is 1 for |u| < 1 and 0 otherwise.

    Its gradient is zero wherever it is defined, so the backward pass uses the gradient of `soft_boxcar` instead.
    """
    return torch.where(squared < 1, 0.0, -torch.inf).to(squared.dtype)


def soft_boxcar(squared: Tensor) -> Tensor:
    """Return log k(u) with k(u) = 1 / (1 + u⁴) + 0.1: a boxcar with soft edges.

    Because of the constant 0.1 there is a gradient even if no key lies inside the box, so that keys are pulled towards
    the query rather than only ranked.
    """
    return torch.log(1 / (1 + squared**2) + 0.1)


def epanechnikov(squared: Tensor) -> Tensor:
    """Return log k(u) with k(u) = max(0, 1 - u²)."""
    inside = squared < 1
    return torch.where(inside, torch.log1p(-squared.where(inside, torch.zeros_like(squared))), -torch.inf)


def constant(squared: Tensor) -> Tensor:
    """Return log k(u) with k(u) = 1: the context is the mean of all values."""
    return torch.zeros_like(squared)


LOG_KERNELS: dict[Kernel, Callable[[Tensor], Tensor]] = {
    "gaussian": gaussian,
    "boxcar": boxcar,
    "epanechnikov": epanechnikov,
    "constant": constant,
}
"""Each maps u² ``[...]``, the squared distance divided by sigma squared, to log k(u), -inf outside the kernel."""


def squared_distances(queries: Tensor, keys: Tensor) -> Tensor:
    """Return |q - k|² of all pairs: queries ``[..., Q, A]``, keys ``[..., S, A]``, result ``[..., Q, S]``.

    It is computed from differences, since |q|² + |k|² - 2 q k is not precise enough at the edge of a compact kernel.
    """
    if queries.device.type == "mps":  # where torch's function has no gradient
        return sums_of_squares(queries, keys)
    return torch.cdist(queries, keys, compute_mode="donot_use_mm_for_euclid_dist") ** 2


def sums_of_squares(queries: Tensor, keys: Tensor) -> Tensor:
    """Return what `squared_distances` does, by way of all differences ``[..., Q, S, A]``."""
    return (queries[..., :, None, :] - keys[..., None, :, :]).square().sum(dim=-1)


def uniform_if_empty(log_weights: Tensor, allowed: Tensor) -> Tensor:
    """Return the log weights, set to 0 on all allowed keys in each row that has no key inside the kernel.

    Args:
        log_weights: ``[..., S]``, -inf where the kernel or the mask forbids.
        allowed: broadcastable bool, True where the mask allows.
    """
    empty = (log_weights == -torch.inf).all(dim=-1, keepdim=True)
    return torch.where(empty & allowed, 0.0, log_weights)
