"""The energies vᵀ tanh(q + k) of the scores with a hidden layer, as one node of autograd's graph."""

from typing import Any

import torch
from torch import Tensor


def additive_energies(query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
    """vᵀ tanh(q + k) for each query and each key.

    Args:
        query: ``[B, Q, A]``, projected.
        keys: ``[B, L, A]``, projected.
        vector: v, ``[1, A]``.

    Returns:
        ``[B, Q, L]``.
    """
    dtype = torch.promote_types(query.dtype, keys.dtype)
    return _Energies.apply(query.to(dtype), keys.to(dtype), vector)  # type: ignore[no-any-return, no-untyped-call]


class _Energies(torch.autograd.Function):
    """tanh(x) = 2 s - 1 with s = sigmoid(2 x), which in bfloat16 takes a CPU a third of the time of its tanh."""

    @staticmethod
    def forward(context: Any, query: Tensor, keys: Tensor, vector: Tensor) -> Tensor:
        s = torch.add(2.0 * query[:, :, None], keys[:, None], alpha=2.0).sigmoid_()  # [B, Q, L, A]
        v = vector[0].to(s.dtype)
        context.save_for_backward(s, v)
        context.vector_dtype = vector.dtype
        return (2.0 * (s @ v)).sub_(v.sum())

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s, v = context.saved_tensors
        gradient = gradient.reshape(-1, 1)
        d_vector = 2.0 * (gradient.T @ s.flatten(0, 2)) - gradient.sum()
        d_sums = torch.ops.aten.sigmoid_backward((gradient @ (4.0 * v)[None]).view(s.shape), s)
        d_keys = d_sums[:, 0] if s.shape[1] == 1 else d_sums.sum(dim=1)  # torch is slow to sum over one
        return d_sums.sum(dim=2), d_keys, d_vector.to(context.vector_dtype)
