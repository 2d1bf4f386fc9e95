"""The energies vᵀ tanh(q + k) of the scores that have a hidden layer, computed in one node of autograd's graph."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def plain_additive_energies(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    """Return what `additive_energies` returns, computed by the plain formula as a reference for readers and tests."""
    hidden = torch.tanh(query[:, :, None] + keys[:, None])  # [B, Q, L, A]
    return hidden @ vector[0]  # [B, Q, L]


def additive_energies(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    """Return vᵀ tanh(q + k) for each query and each key.

    Args:
        query: ``[B, Q, A]``, projected.
        keys: ``[B, L, A]``, projected.
        vector: v, ``[1, A]``.

    Returns:
        ``[B, Q, L]``, in float32 at least.
    """
    dtype = torch.promote_types(query.dtype, keys.dtype)
    return _Energies.apply(query.to(dtype), keys.to(dtype), vector)  # type: ignore[no-any-return, no-untyped-call]


class _Energies(torch.autograd.Function):
    """Compute sum, tanh and product in float32, which takes half the time of bfloat16 on a CPU.

    Only the tanh that is saved for the backward pass has the precision of the inputs, such as bfloat16. The additive
    energies need the digits of float32 because they are differences of large sums.
    """

    @staticmethod
    def forward(context: Any, query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
        wide = torch.promote_types(query.dtype, torch.float32)
        hidden = torch.add(query.to(wide)[:, :, None], keys[:, None]).tanh_()  # [B, Q, L, A]
        with torch.autocast(hidden.device.type, enabled=False):
            energies = hidden @ vector[0].to(wide)  # [B, Q, L]
        context.save_for_backward(hidden.to(query.dtype), vector)
        return energies

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden, vector = context.saved_tensors
        gradient = gradient.reshape(-1, 1).to(hidden.dtype)  # [B x Q x L, 1]
        d_vector = gradient.T @ hidden.flatten(0, 2)  # [1, A]
        d_hidden = (gradient @ vector.to(hidden.dtype)).view(hidden.shape)
        d_sums = torch.ops.aten.tanh_backward(d_hidden, hidden)  # [B, Q, L, A]
        d_keys = d_sums[:, 0] if d_sums.shape[1] == 1 else d_sums.sum(dim=1)  # slow for a dimension of size 1
        return d_sums.sum(dim=2), d_keys, d_vector.to(vector.dtype)
