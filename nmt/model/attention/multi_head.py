"""Multi-head attention: scaled dot products of learned projections, h times side by side (Vaswani et al. 2017)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class MultiHead(nn.Module):
    """softmax(Q Kᵀ / √d) V for each head, then an output projection (their equations 1 and section 3.2.2)."""

    def __init__(self, query_size: int, memory_size: int, size: int, output_size: int, heads: int, dropout: float):
        """Make the projections.

        Args:
            query_size: width of what asks.
            memory_size: width of what is looked at.
            size: width of queries, keys and values over all heads; d is size / heads.
            output_size: width of the result.
            heads: h.
            dropout: on the weights, in training.
        """
        super().__init__()
        self.size, self.heads, self.dropout = size, heads, dropout
        self.query_layer = nn.Linear(query_size, size)
        self.key_layer = nn.Linear(memory_size, size)
        self.value_layer = nn.Linear(memory_size, size)
        self.output_layer = nn.Linear(size, output_size)

    def split(self, joined: Tensor) -> Tensor:
        """``[B, N, size]`` to ``[B, h, N, d]``."""
        return joined.view(*joined.shape[:-1], self.heads, -1).transpose(1, 2)

    def keys(self, values: Tensor) -> Tensor:
        """Projected keys and values of ``[B, S, M]``, side by side ``[B, S, 2 x size]``, computed once."""
        return torch.cat([self.key_layer(values), self.value_layer(values)], dim=-1)

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        """Scaled dot products ``[B, h, Q, S]`` of ``[B, Q, H]`` with the key half of `keys`."""
        queries = self.split(self.query_layer(query))
        return queries @ self.split(keys[..., : self.size]).transpose(-1, -2) / math.sqrt(self.size // self.heads)

    def values(self, keys: Tensor) -> Tensor:
        """The value half of `keys`, ``[B, h, S, d]``."""
        return self.split(keys[..., self.size :])

    def join(self, context: Tensor) -> Tensor:
        """Contexts of the heads ``[B, h, Q, d]`` to the result ``[B, Q, output_size]``."""
        return self.output_layer(context.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def projections(self, query: Tensor, keys: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of each head, ``[B, h, L, size / h]``."""
        return self.split(self.query_layer(query)), self.split(keys[..., : self.size]), self.values(keys)

    def forward(
        self, query: Tensor, keys: Tensor, allowed: Tensor | None, causal: bool = False, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Look.

        Args:
            query: ``[B, Q, H]``.
            keys: of `keys`, ``[B, S, 2 x size]``.
            allowed: bool, broadcastable to ``[B, h, Q, S]``, True where a query may look; None: everywhere.
            causal: whether query i sees keys 0 to i only; Q is S then, and `allowed` None.
            need_weights: take the explicit path, which has the weights to show; both agree to rounding.

        Returns:
            ``[B, Q, output_size]``, and the weights ``[B, h, Q, S]`` in float32 if they are needed.
        """
        dropout = self.dropout if self.training else 0.0
        if not need_weights:
            context = functional.scaled_dot_product_attention(
                *self.projections(query, keys), attn_mask=allowed, dropout_p=dropout, is_causal=causal
            )
            return self.join(context), None
        energies = self.energies(query, keys)
        energies = energies.to(torch.promote_types(energies.dtype, torch.float32))
        if causal:
            allowed = torch.ones(energies.shape[-2:], dtype=torch.bool, device=energies.device).tril()
        if allowed is not None:
            energies = energies.masked_fill(~allowed, -math.inf)
        weights = energies.softmax(dim=-1)
        values = self.values(keys)
        return self.join(functional.dropout(weights, dropout).to(values.dtype) @ values), weights
