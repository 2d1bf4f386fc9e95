"""The losses: label-smoothed cross-entropy over real tokens, and losses on the attention weights."""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nmt.config import ConsistencyConfig

GuidedLoss = Literal["cross_entropy", "squared"]
_TOKENS_AT_ONCE = 2048  # the most tokens in a product of the output layer: enough to be fast, few enough to save memory
_TINY = 1e-30  # added to weights before their logarithm
_SOFTMAX_AT_ONCE = 128  # tokens in one softmax on a CPU, so that everything between the products stays in the cache


def guided_loss(weights: Tensor, guide: Tensor, kind: GuidedLoss) -> Tensor:
    """Return how far attention weights are from links, summed over the batch (Chen et al. 2016, equations 8 and 9).

    Args:
        weights: ``[B, T, S]`` the attention weights.
        guide: ``[B, T, S]`` the links; each row sums to 1, or is all 0 and adds no loss.
        kind: `cross_entropy` for -sum of guide x log weight, or `squared` for half the squared distance.
    """
    has_link = guide.sum(dim=-1, keepdim=True) > 0
    if kind == "squared":
        return ((weights - guide) ** 2 * has_link).sum() / 2
    # _TINY is added because a clamp would have no gradient for the smallest weights, where it is needed most.
    return -(guide * (weights + _TINY).log()).sum()


def coverage_loss(weights: Tensor, tgt_mask: Tensor) -> Tensor:
    """Return the sum over t and s of min(weights[t, s], sum of weights[t', s] over t' < t) (See et al. 2017, eq. 12).

    Args:
        weights: ``[B, T, S]``.
        tgt_mask: ``[B, T]`` bool, True on real tokens.

    Returns:
        The sum over the real target tokens of the batch; each token adds a value from 0 to 1.
    """
    before = weights.cumsum(dim=1) - weights  # [B, T, S]
    again = torch.minimum(weights, before).sum(dim=-1)  # [B, T]
    return again.masked_fill(~tgt_mask, 0.0).sum()


def label_smoothing(share: float, output: nn.Linear, pieces: Tensor | None = None) -> Tensor:
    """Return ``[V]`` what label smoothing gives each piece of the target distribution; the gold piece gets the rest.

    Args:
        share: the sum e of what is given (Szegedy et al. 2016, section 7).
        output: the layer from features to the logits of the V pieces.
        pieces: ``[V]`` bool, True on the pieces among which e is divided equally, as in masked label smoothing, which
            leaves out the pieces of the source language (Chen et al. 2022); None for all pieces.
    """
    chosen = torch.ones_like(output.weight[:, 0]) if pieces is None else pieces.to(output.weight)
    return (chosen * (share / chosen.sum())).detach()


class LossSums(NamedTuple):
    """Sums over the real target tokens of a batch, in nats.

    Attributes:
        total: what is minimised: the smoothed cross-entropy, with two passes the divergence between them, and the
            losses that the `Objective` adds.
        loss: the smoothed cross-entropy alone, without gradient.
        nll: the negative log-likelihood, without gradient.
    """

    total: Tensor
    loss: Tensor
    nll: Tensor


def sequence_loss(
    features: Tensor,
    tgt_out: Tensor,
    tgt_positions: Tensor,
    output: nn.Linear,
    smoothing: Tensor,
    consistency: ConsistencyConfig | None = None,
) -> LossSums:
    """Return the losses of a batch; padding never reaches the output layer.

    Output layer, softmax and their gradients are computed together for a block of tokens at a time, so there is never a
    tensor of all tokens by the entire vocabulary.

    Args:
        features: ``[B, T, F]``, or with `consistency` ``[2 B, T, F]``, the first pass followed by the second.
        tgt_out: ``[B, T]`` the tokens to predict.
        tgt_positions: ``[N]`` where the real tokens stand in ``[B x T]``.
        output: the layer from features to the logits of the V pieces; under autocast, its products have that precision.
        smoothing: ``[V]`` what each piece gets of the target distribution, of which the gold piece gets 1 - its sum in
            addition; see `label_smoothing`.
        consistency: the settings by which two passes over the same pairs are made to agree; None for a single pass.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else output.weight.dtype
    targets, passes = tgt_out.flatten()[tgt_positions], 1
    smoothing = smoothing.to(torch.promote_types(dtype, torch.float32))
    criterion: _Criterion = functools.partial(_smoothed, smoothing=smoothing)
    if consistency is None:
        rows = features.flatten(0, 1).index_select(0, tgt_positions)  # [N, F]
    else:  # the two passes of a token become adjacent rows, so that a block has both
        passes = 2
        both = features.unflatten(0, (2, -1)).flatten(1, 2)  # type: ignore[no-untyped-call]
        rows = both.index_select(1, tgt_positions).transpose(0, 1).flatten(0, 1)  # [2 N, F]
        criterion = functools.partial(_consistent, smoothing=smoothing, consistency=consistency)
    with torch.autocast(kind, enabled=False):  # the products have `dtype`, and all else stays in float32 at least
        sums = _ProjectedLoss.apply(  # type: ignore[no-untyped-call]
            rows, output.weight, output.bias, targets, passes, criterion, dtype, torch.is_grad_enabled()
        )
    return LossSums(*sums)


# A criterion takes logits [N, V], whose memory it may reuse, targets [N / passes, 1], and whether gradients are needed.
# It returns the three `LossSums` and the gradient of the first sum with respect to the logits.
_Criterion = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor, Tensor, Tensor]]


class _ProjectedLoss(torch.autograd.Function):
    """Output layer and loss in one node of autograd's graph, whose forward pass also computes the gradients.

    The gradient of cross-entropy with respect to the logits is softmax - target distribution, so it is known as soon as
    the softmax is.
    """

    @staticmethod
    def forward(
        context: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        passes: int,
        criterion: _Criterion,
        dtype: torch.dtype,
        learns: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        x, w = features.to(dtype), weight.to(dtype)
        wide = torch.promote_types(dtype, torch.float32)
        total, loss, nll = (torch.zeros((), dtype=wide, device=x.device) for _ in range(3))
        d_x, d_weight, d_bias = torch.empty_like(x), None, torch.zeros_like(bias, dtype=wide)
        blocks = max(1, -(-len(x) // _TOKENS_AT_ONCE))
        tokens = max(1, -(-len(targets) // blocks))  # tokens per block
        for start in range(0, len(targets), tokens):
            rows = slice(start * passes, (start + tokens) * passes)
            x_block, target_block = x[rows], targets[start : start + tokens, None]
            logits = x_block @ w.T  # without the bias, which is added at no cost in the softmax's smaller parts
            at_once = _SOFTMAX_AT_ONCE // passes if x.device.type == "cpu" else tokens
            for first in range(0, len(target_block), at_once):
                part = slice(first * passes, (first + at_once) * passes)
                part_total, part_loss, part_nll, d_part = criterion(
                    logits[part].to(wide).add_(bias), target_block[first : first + at_once], learns
                )
                total, loss, nll = total + part_total, loss + part_loss, nll + part_nll
                if learns:
                    d_bias += d_part.sum(dim=0)
                    logits[part] = d_part  # reuse the memory of the logits
            if learns:
                d_logits = logits
                torch.mm(d_logits, w, out=d_x[rows])
                product = d_logits.T @ x_block
                d_weight = product if d_weight is None else d_weight.to(weight.dtype).add_(product)
        if learns:
            context.save_for_backward(d_x, d_weight, d_bias)
        context.features_dtype, context.weight_dtype = features.dtype, weight.dtype
        context.mark_non_differentiable(loss, nll)
        return total, loss, nll

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        d_x, d_weight, d_bias = context.saved_tensors
        d_weight = d_weight.to(context.weight_dtype, copy=True).mul_(gradient)
        return (d_x * gradient).to(context.features_dtype), d_weight, d_bias * gradient, *(None,) * 5


def _smoothed(
    logits: Tensor, targets: Tensor, learns: bool, *, smoothing: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the smoothed cross-entropy of logits ``[N, V]`` and targets ``[N, 1]``; see `_Criterion`."""
    probabilities = logits.softmax(dim=-1)
    # The largest probability is at least 1 / V, so its logarithm is safe; torch's own logsumexp takes twice as long.
    sums = logits.amax(dim=-1) - probabilities.amax(dim=-1).log()
    nll = (sums - logits.gather(1, targets)[:, 0]).sum()
    share = smoothing.sum()
    loss = (1.0 - share) * nll + (share * sums - logits @ smoothing).sum()
    return loss, loss, nll, _gradient(probabilities, targets, smoothing) if learns else probabilities


def _consistent(
    logits: Tensor, targets: Tensor, learns: bool, *, smoothing: Tensor, consistency: ConsistencyConfig
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the losses of two passes; see `_Criterion`.

    In the logits ``[2 N, V]``, the two rows of a token are adjacent.

    With D = log p - log q of the first pass p and the second pass q, the gradient of KL(p || q) is p (D - KL) with
    respect to the first logits and q - p with respect to the second.
    """
    first, second, forward, backward = consistency.factors
    log_p, log_q = (one.log_softmax(dim=-1) for one in logits.unflatten(0, (-1, 2)).unbind(1))  # type: ignore[no-untyped-call]
    p, q = log_p.exp(), log_q.exp()  # [N, V] each
    difference = log_p - log_q
    gradients = torch.empty_like(logits)
    d_p, d_q = gradients.unflatten(0, (-1, 2)).unbind(1)  # type: ignore[no-untyped-call]
    p_to_q = torch.linalg.vecdot(p, difference)[:, None]  # [N, 1]
    torch.sub(difference, p_to_q, out=d_p).mul_(p).mul_(forward)
    torch.sub(q, p, out=d_q).mul_(forward)
    total = forward * p_to_q.sum()
    if backward:
        q_to_p = -torch.linalg.vecdot(q, difference)[:, None]  # [N, 1]
        total = total + backward * q_to_p.sum()
        d_p.add_(p, alpha=backward).sub_(q, alpha=backward)
        d_q.sub_(difference.add_(q_to_p).mul_(q), alpha=backward)
    loss, nll = (torch.zeros_like(total) for _ in range(2))
    for share, log_probs, probabilities, gradient in ((first, log_p, p, d_p), (second, log_q, q, d_q)):
        if share:
            one_nll = -log_probs.gather(1, targets).sum()
            nll = nll + share * one_nll
            loss = loss + share * ((1.0 - smoothing.sum()) * one_nll - (log_probs @ smoothing).sum())
            gradient.add_(_gradient(probabilities, targets, smoothing), alpha=share)
    return total + loss, loss, nll, gradients


def _gradient(probabilities: Tensor, targets: Tensor, smoothing: Tensor) -> Tensor:
    """Return the gradient of the smoothed cross-entropy with respect to the logits ``[N, V]``.

    It is p - target distribution, and it overwrites p.
    """
    probabilities -= smoothing
    return probabilities.scatter_add_(1, targets, (smoothing.sum() - 1.0).expand(targets.shape))
