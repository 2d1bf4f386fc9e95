"""Linear attention: weights without a softmax, so that sums over keys can be stored as fast weights."""

import torch
from torch import Tensor


def linear_attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Return f(q) (sum_s f(k_s) v_sᵀ) / f(q) sum_s f(k_s) with f = elu + 1.

    See Katharopoulos et al. 2020, equations 5 and 7. The sums over s are computed at once, in float32. They could
    also be built one key at a time, as fast weights that are written to (Schlag et al. 2021).

    Args:
        queries: ``[..., Q, d]``.
        keys: ``[..., S, d]``.
        values: ``[..., S, d]``.
        mask: ``[..., S]`` bool, True on real keys.
    """
    wide = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        shown = feature_map(keys.to(wide)) * mask[..., None]
        asked = feature_map(queries.to(wide))
        fast_weights = shown.transpose(-1, -2) @ values.to(wide)
        total = shown.sum(dim=-2)
        return (asked @ fast_weights / _not_zero(asked @ total[..., None])).to(values.dtype)


def causal_linear_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return linear attention in which query t sees keys 0 to t, for all positions ``[..., T, d]`` at once."""
    wide = torch.promote_types(queries.dtype, torch.float32)
    with torch.autocast(queries.device.type, enabled=False):
        weights = (feature_map(queries.to(wide)) @ feature_map(keys.to(wide)).transpose(-1, -2)).tril()
        return (weights / _not_zero(weights.sum(dim=-1, keepdim=True)) @ values.to(wide)).to(values.dtype)


def fast_weights_step(query: Tensor, key: Tensor, value: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compute one position of `causal_linear_attention` from a recurrent state.

    See Katharopoulos et al. 2020, equations 16 to 20; f is `feature_map`.

    Args:
        query: ``[..., d]``.
        key: ``[..., d]``.
        value: ``[..., d]``.
        state: ``[..., d, d + 1]``: the first d columns hold the fast weights, the sum of f(k) vᵀ over the keys so far;
            the last column holds the sum of f(k).

    Returns:
        The result ``[..., d]`` and the state after this key.
    """
    wide = torch.promote_types(query.dtype, torch.float32)
    with torch.autocast(query.device.type, enabled=False):
        one = torch.ones_like(value[..., :1])
        written = feature_map(key.to(wide))[..., :, None] * torch.cat([value, one], dim=-1).to(wide)[..., None, :]
        state = state.to(wide) + written
        read = (feature_map(query.to(wide))[..., None, :] @ state)[..., 0, :]
        return (read[..., :-1] / _not_zero(read[..., -1:])).to(value.dtype), state


def feature_map(x: Tensor) -> Tensor:
    """Return elu(x) + 1, which is exp(x) below 0; the sum would round this to 0 if x is below -17."""
    return torch.where(x > 0, x + 1, x.clamp(max=0).exp())


def _not_zero(total: Tensor) -> Tensor:
    """Return a sum of products of features, at least the smallest normal number, since features below -100 are 0."""
    return total.clamp(min=torch.finfo(total.dtype).tiny)
