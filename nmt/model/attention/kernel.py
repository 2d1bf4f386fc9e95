"""Kernels k(u) of Nadaraya-Watson attention, as logarithms: a softmax over log k is k / sum k."""

from collections.abc import Callable

import torch
from torch import Tensor


def gaussian(squared: Tensor) -> Tensor:
    """k(u) = exp(-u² / 2)."""
    return -squared / 2


def boxcar(squared: Tensor) -> Tensor:
    """k(u) = 1 for |u| < 1, else 0. It is flat, so distances get no gradient; `soft_boxcar` lends it one."""
    return torch.where(squared < 1, 0.0, -torch.inf).to(squared.dtype)


def soft_boxcar(squared: Tensor) -> Tensor:
    """k(u) = 1 / (1 + u⁴) + 0.1: a boxcar with soft edges, half of 1 at |u| = 1, whose gradient points inside.

    The 0.1 is to it what looking at all places alike is to a boxcar without any key inside: a key that would help gains
    weight by coming nearer, not only by being nearer than the others.
    """
    return torch.log(1 / (1 + squared**2) + 0.1)


def epanechnikov(squared: Tensor) -> Tensor:
    """k(u) = max(0, 1 - u²)."""
    inside = squared < 1
    return torch.where(inside, torch.log1p(-squared.where(inside, torch.zeros_like(squared))), -torch.inf)


def constant(squared: Tensor) -> Tensor:
    """k(u) = 1: the mean of all values, wherever the query is."""
    return torch.zeros_like(squared)


LOG_KERNELS: dict[str, Callable[[Tensor], Tensor]] = {
    "gaussian": gaussian,
    "boxcar": boxcar,
    "epanechnikov": epanechnikov,
    "constant": constant,
}
"""Each takes u² ``[...]``, the squared distance over sigma squared, and gives log k(u), -inf outside the kernel."""


def squared_distances(queries: Tensor, keys: Tensor) -> Tensor:
    """|q - k|² of all pairs: queries ``[..., Q, A]``, keys ``[..., S, A]``, result ``[..., Q, S]``.

    By differences, not by |q|² + |k|² - 2 q k, which loses the digits that a compact kernel's edge depends on.
    """
    return torch.cdist(queries, keys, compute_mode="donot_use_mm_for_euclid_dist") ** 2


def uniform_if_empty(log_weights: Tensor, allowed: Tensor) -> Tensor:
    """Rows without any key inside the kernel look at all allowed keys alike.

    Args:
        log_weights: ``[..., S]``, -inf where the kernel or the mask forbids.
        allowed: broadcastable bool, True where the mask allows.
    """
    empty = (log_weights == -torch.inf).all(dim=-1, keepdim=True)
    return torch.where(empty & allowed, 0.0, log_weights)
