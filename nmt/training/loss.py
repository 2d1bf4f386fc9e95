"""The losses: label-smoothed cross-entropy over real tokens, and those of the attention weights."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

GuidedLoss = Literal["cross_entropy", "squared"]
_TOKENS_AT_ONCE = 2048  # at most, in the output layer's products: large enough to be fast, and bounds the memory
_TINY = 1e-30  # added to weights before their logarithm
_SOFTMAX_AT_ONCE = 128  # tokens; what is between the products then stays in the cache


def guided_loss(weights: Tensor, guide: Tensor, kind: GuidedLoss) -> Tensor:
    """Return how far attention weights are from links, summed over the batch (Chen et al. 2016, equations 8 and 9).

    Args:
        weights: ``[B, T, S]``.
        guide: ``[B, T, S]``, rows sum to 1; rows of 0 have no loss.
        kind: `cross_entropy`: -sum of guide x log weight; `squared`: half the squared distance.
    """
    has_link = guide.sum(dim=-1, keepdim=True) > 0
    if kind == "squared":
        return ((weights - guide) ** 2 * has_link).sum() / 2
    # A sum, not a clamp: a clamp has no gradient where a weight is too small, which is where it is needed most.
    return -(guide * (weights + _TINY).log()).sum()


def coverage_loss(weights: Tensor, tgt_mask: Tensor) -> Tensor:
    """Return the sum over t and s of min(weights[t, s], weights of all earlier steps on s) (See et al. 2017, eq. 12).

    Args:
        weights: ``[B, T, S]``.
        tgt_mask: ``[B, T]`` bool, True on real tokens.

    Returns:
        The sum over the real target tokens of the batch; each of them adds 0 to 1.
    """
    before = weights.cumsum(dim=1) - weights  # [B, T, S]
    again = torch.minimum(weights, before).sum(dim=-1)  # [B, T]
    return again.masked_fill(~tgt_mask, 0.0).sum()


def sequence_loss(
    features: Tensor, tgt_out: Tensor, tgt_mask: Tensor, output: nn.Linear, smoothing: float
) -> tuple[Tensor, Tensor]:
    """Return the sums over the real tokens of a batch; padding never reaches the output layer.

    Output layer, softmax and their gradients are computed together for some tokens at a time, so no tensor of all
    tokens and the whole vocabulary is made.

    Args:
        features: ``[B, T, F]``.
        tgt_out: ``[B, T]`` the tokens to predict.
        tgt_mask: ``[B, T]`` bool, True on real tokens.
        output: features to logits of the V pieces; under autocast it multiplies in that precision.
        smoothing: e in the target distribution (1 - e) one-hot + e / V (Szegedy et al. 2016, section 7).

    Returns:
        The smoothed cross-entropy that is minimised, and the plain negative log-likelihood (without gradient), in nats.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else output.weight.dtype
    learns = torch.is_grad_enabled()
    return _ProjectedLoss.apply(  # type: ignore[no-any-return, no-untyped-call]
        features[tgt_mask], output.weight, output.bias, tgt_out[tgt_mask], smoothing, dtype, learns
    )


class _ProjectedLoss(torch.autograd.Function):
    """The gradient of a sum of cross-entropies is softmax - target distribution, known as soon as the softmax is."""

    @staticmethod
    def forward(
        context: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        smoothing: float,
        dtype: torch.dtype,
        learns: bool,
    ) -> tuple[Tensor, Tensor]:
        x, w = features.to(dtype), weight.to(dtype)
        wide = torch.promote_types(dtype, torch.float32)
        nll, uniform = (torch.zeros((), dtype=wide, device=x.device) for _ in range(2))
        d_x, d_weight, d_bias = torch.empty_like(x), None, torch.zeros_like(bias, dtype=wide)
        blocks = max(1, -(-len(x) // _TOKENS_AT_ONCE))
        for x_block, target_block, d_block in zip(
            x.tensor_split(blocks), targets[:, None].tensor_split(blocks), d_x.tensor_split(blocks), strict=True
        ):
            logits = x_block @ w.T  # without the bias, which the softmax's smaller parts add at no cost
            for position in range(0, len(logits), _SOFTMAX_AT_ONCE):
                part = slice(position, position + _SOFTMAX_AT_ONCE)
                part_nll, part_uniform, probabilities = _cross_entropy(
                    logits[part].to(wide).add_(bias), target_block[part]
                )
                nll, uniform = nll + part_nll, uniform + part_uniform
                if learns:
                    d_part = _gradient(probabilities, target_block[part], smoothing)
                    d_bias += d_part.sum(dim=0)
                    logits[part] = d_part  # the memory of the logits is used again
            if learns:
                d_logits = logits
                torch.mm(d_logits, w, out=d_block)
                product = d_logits.T @ x_block
                d_weight = product if d_weight is None else d_weight.to(weight.dtype).add_(product)
        if learns:
            context.save_for_backward(d_x, d_weight, d_bias)
        context.features_dtype, context.weight_dtype = features.dtype, weight.dtype
        context.mark_non_differentiable(nll)
        return (1.0 - smoothing) * nll + smoothing * uniform, nll

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        d_x, d_weight, d_bias = context.saved_tensors
        d_weight = d_weight.to(context.weight_dtype, copy=True).mul_(gradient)
        return (d_x * gradient).to(context.features_dtype), d_weight, d_bias * gradient, *(None,) * 4


def _cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the cross-entropy of logits ``[N, V]`` and targets ``[N, 1]``, in parts.

    Returns:
        The sum of the targets' -log p, the sum of the means of -log p over the vocabulary, and p, ``[N, V]``.
    """
    probabilities = logits.softmax(dim=-1)
    # The largest probability is at least 1 / V, so its logarithm is safe; torch's own logsumexp takes twice as long.
    sums = logits.amax(dim=-1) - probabilities.amax(dim=-1).log()
    nll = (sums - logits.gather(1, targets)[:, 0]).sum()
    return nll, (sums - logits.mean(dim=-1)).sum(), probabilities


def _gradient(probabilities: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return the gradient of the smoothed sum by the logits ``[N, V]``: p - target distribution, in the memory of p."""
    probabilities -= smoothing / probabilities.shape[-1]
    taken = torch.full_like(targets, smoothing - 1.0, dtype=probabilities.dtype)
    return probabilities.scatter_add_(1, targets, taken)
