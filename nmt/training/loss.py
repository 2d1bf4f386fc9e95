"""Label-smoothed cross-entropy over real tokens."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional


def guided_loss(weights: Tensor, guide: Tensor, kind: Literal["cross_entropy", "squared"]) -> Tensor:
    """How far attention weights are from links, summed over the batch (Chen et al. 2016, equations 8 and 9).

    Args:
        weights: ``[B, T, S]``.
        guide: ``[B, T, S]``, rows sum to 1; rows of 0 have no loss.
        kind: `cross_entropy`: -sum of guide x log weight; `squared`: half the squared distance.
    """
    told = guide.sum(dim=-1, keepdim=True) > 0
    if kind == "squared":
        return ((weights - guide) ** 2 * told).sum() / 2
    return -(guide * weights.clamp(min=1e-6).log()).sum()


def sequence_loss(
    features: Tensor, tgt_out: Tensor, tgt_mask: Tensor, project: Callable[[Tensor], Tensor], smoothing: float
) -> tuple[Tensor, Tensor]:
    """Sums over the real tokens of a batch; padding never reaches the output layer.

    Args:
        features: ``[B, T, F]``.
        tgt_out: ``[B, T]`` the tokens to predict.
        tgt_mask: ``[B, T]`` bool, True on real tokens.
        project: features ``[N, F]`` to logits ``[N, V]``.
        smoothing: e in the target distribution (1 - e) one-hot + e / V (Szegedy et al. 2016, section 7).

    Returns:
        The smoothed cross-entropy that is minimised, and the plain negative log-likelihood (without gradient), in nats.
    """
    logits = project(features[tgt_mask]).float()
    targets = tgt_out[tgt_mask]
    loss = functional.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="sum")
    if smoothing == 0.0:
        return loss, loss.detach()
    with torch.no_grad():
        # smoothed = (1 - e) nll + e (logsumexp - mean logit): one pass over the logits gives the rest
        uniform = (torch.logsumexp(logits, dim=-1) - logits.mean(dim=-1)).sum()
        nll = (loss.detach() - smoothing * uniform) / (1.0 - smoothing)
    return loss, nll
