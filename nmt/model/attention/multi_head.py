"""Multi-head attention: scaled dot products of learned projections, h times side by side (Vaswani et al. 2017)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.dropout import Dropout

_SHORT = 500  # up to this many queries per sentence, explicit weights are faster in bfloat16


class MultiHead(nn.Module):
    """softmax(Q Kᵀ / √d) V for each head, then an output projection (their equation 1 and section 3.2.2)."""

    def __init__(self, query_size: int, memory_size: int, size: int, output_size: int, heads: int, dropout: float):
        """Make the projections.

        Args:
            query_size: the width of the queries before their projection.
            memory_size: the width of the memory.
            size: the width of queries, keys and values over all heads; d is size / heads.
            output_size: the width of the result.
            heads: the number of heads, h.
            dropout: the dropout on the weights in training.
        """
        super().__init__()
        self.size, self.heads = size, heads
        self.dropout = Dropout(dropout)
        self.query_layer = nn.Linear(query_size, size)
        self.key_layer = nn.Linear(memory_size, size)
        self.value_layer = nn.Linear(memory_size, size)
        self.output_layer = nn.Linear(size, output_size)

    def split(self, joined: Tensor) -> Tensor:
        """Return ``[B, N, size]`` split into heads, ``[B, h, N, d]``."""
        return joined.view(*joined.shape[:-1], self.heads, -1).transpose(1, 2)

    def keys(self, values: Tensor) -> Tensor:
        """Return the projected keys and values of ``[B, S, M]``, concatenated to ``[B, S, 2 x size]``."""
        return torch.cat([self.key_layer(values), self.value_layer(values)], dim=-1)

    def energies(self, projected: Tensor, keys: Tensor) -> Tensor:
        """Return scaled dot products ``[B, h, Q, S]`` of projected queries ``[B, Q, size]`` and the keys in `keys`."""
        return _energies(self.split(projected), self.split(keys[..., : self.size]))

    def values(self, keys: Tensor) -> Tensor:
        """Return the value half of `keys`, ``[B, h, S, d]``."""
        return self.split(keys[..., self.size :])

    def merge(self, context: Tensor) -> Tensor:
        """Return the contexts of the heads ``[B, h, Q, d]``, concatenated to ``[B, Q, size]``."""
        return context.transpose(1, 2).flatten(2)

    def output(self, context: Tensor) -> Tensor:
        """Return the output projection of the heads' contexts ``[B, h, Q, d]``: ``[B, Q, output_size]``."""
        return self.output_layer(self.merge(context))  # type: ignore[no-any-return]

    def projections(self, query: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of each head, ``[B, h, L, size / h]``."""
        return self.split(self.query_layer(query)), self.split(keys[..., : self.size]), self.values(keys)

    def forward(
        self, query: Tensor, keys: Tensor, allowed: Tensor | None, causal: bool = False, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Compute the attention of all heads and its output projection.

        Args:
            query: ``[B, Q, H]``.
            keys: what `keys` returned, ``[B, S, 2 x size]``.
            allowed: bool, broadcastable to ``[B, h, Q, S]``, True where a weight may be positive; None: everywhere.
            causal: True if query i sees only keys 0 to i; Q must then equal S, and `allowed` must be None.
            need_weights: True to compute and return explicit weights; the contexts are the same to rounding.

        Returns:
            ``[B, Q, output_size]``, and the weights ``[B, h, Q, S]`` in float32 if they are needed.
        """
        projections = self.projections(query, keys)  # [B, h, L, d] each
        context, weights = attend(*projections, allowed, self.dropout, causal, need_weights)
        return self.output(context), weights


def attend(
    queries: Tensor,
    keys: Tensor,
    values: Tensor,
    allowed: Tensor | None,
    dropout: Dropout,
    causal: bool = False,
    need_weights: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Return softmax(Q Kᵀ / √d) V, computed by torch's fused kernel or with explicit weights, whichever is faster.

    Args:
        queries: ``[B, h, Q, d]``.
        keys: ``[B, h, S, d]``.
        values: ``[B, h, S, d]``.
        allowed: bool, broadcastable to ``[B, h, Q, S]``, True where a weight may be positive; None: everywhere.
        dropout: the dropout on the weights.
        causal: True if query i sees only keys 0 to i; Q must then equal S, and `allowed` must be None.
        need_weights: True to compute and return explicit weights; the contexts are the same to rounding.

    Returns:
        The contexts ``[B, h, Q, d]``, and the weights ``[B, h, Q, S]`` in float32 if they are needed.
    """
    if not need_weights and not _is_explicit_faster(queries, dropout):
        rate = dropout.p if dropout.training else 0.0
        context = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=allowed, dropout_p=rate, is_causal=causal
        )
        return context, None
    energies = _energies(queries, keys)  # [B, h, Q, S]
    energies = energies.to(torch.promote_types(energies.dtype, torch.float32))
    if causal:
        allowed = torch.ones(energies.shape[-2:], dtype=torch.bool, device=energies.device).tril()
    if allowed is not None:
        # Adding the small mask takes a tenth of the time of filling all energies by masked_fill.
        energies = energies + torch.zeros_like(allowed, dtype=energies.dtype).masked_fill(~allowed, -math.inf)
    weights = energies.softmax(dim=-1)  # [B, h, Q, S]
    context = dropout(weights.to(values.dtype)) @ values  # [B, h, Q, d]
    return context, weights if need_weights else None


def _energies(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the scaled dot products ``[B, h, Q, S]`` of queries ``[B, h, Q, d]`` and keys ``[B, h, S, d]``."""
    # Dividing first keeps the products within the range of float16.
    return (queries / math.sqrt(queries.shape[-1])) @ keys.transpose(-1, -2)


def _is_explicit_faster(queries: Tensor, dropout: Dropout) -> bool:
    """Return whether explicit weights take less time than torch's fused kernel; see docs/speed.md.

    On a CPU the kernel draws the random numbers of dropout one at a time, and its gradient in bfloat16 is slow unless
    sentences are long.
    """
    drops = dropout.training and dropout.p > 0.0
    is_short = queries.shape[2] <= _SHORT
    learns = torch.is_grad_enabled() and queries.dtype == torch.bfloat16 and is_short
    return queries.device.type == "cpu" and (drops or learns)
