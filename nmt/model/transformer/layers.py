"""The parts of a Transformer: embeddings with positions, kinds of self-attention, residual blocks, encoder layers."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from nmt.model.attention.multi_head import MultiHead, attend
from nmt.model.dropout import Dropout
from nmt.model.transformer.linear_attention import causal_linear_attention, fast_weights_step, linear_attention


class PositionedEmbedding(nn.Module):
    """The sum of embeddings times √E and positions (Vaswani et al. 2017, sections 3.4 and 3.5)."""

    def __init__(
        self,
        size: int,
        positions: Literal["none", "sinusoidal", "learned"],
        max_positions: int,
        dropout: float,
        variational: bool = False,
    ):
        """Make the position table, if it is learned.

        Args:
            size: E.
            positions: the kind of positions.
            max_positions: the number of `learned` positions.
            dropout: the dropout on the sum.
            variational: whether dropout drops the same values at every position.
        """
        super().__init__()
        self.kind, self.size = positions, size
        self.position_table = nn.Parameter(torch.empty(max_positions, size)) if positions == "learned" else None
        self.dropout = Dropout(dropout, variational)

    def forward(self, embedded: Tensor, first: int = 0) -> Tensor:
        """Add positions `first`, `first` + 1, ... to embeddings ``[B, N, E]``."""
        scaled = embedded * math.sqrt(self.size)
        count = embedded.shape[1]
        if self.position_table is not None:
            scaled = scaled + self.position_table[first : first + count]
        elif self.kind == "sinusoidal":
            scaled = scaled + sinusoids(first, count, self.size, embedded.device).to(scaled.dtype)
        return self.dropout(scaled)  # type: ignore[no-any-return]


def sinusoids(first: int, count: int, size: int, device: torch.device) -> Tensor:
    """Return sinusoidal positions ``[count, size]``, beginning with position `first`.

    The even columns are sin(p / 10000^(2i / size)), and the odd columns are the cosines.
    """
    position = torch.arange(first, first + count, device=device, dtype=torch.float32)
    rates = torch.exp(torch.arange(0, size, 2, device=device, dtype=torch.float32) * (-math.log(10000.0) / size))
    angles = position[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class DotProductSelfAttention(nn.Module):
    """softmax(X Xᵀ / √E) X: self-attention by dot products alone, without any parameter.

    After layer norm, x·x = E is far above all other products, so each position would attend only to itself. A norm
    whose gain starts at `gain` makes the energies a quarter as large and thus flattens the softmax.
    """

    gain = 0.5

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the self-attention output ``[B, S, E]`` of `x`; the mask ``[B, S]`` is True on real positions."""
        joined = x[:, None]
        return attend(joined, joined, joined, mask[:, None, None, :], self.dropout)[0][:, 0]


class SelfAttention(nn.Module):
    """Multi-head self-attention with projected queries, keys and values (Vaswani et al. 2017, section 3.2.3)."""

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.multi_head = MultiHead(size, size, size, size, heads, dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the self-attention output ``[B, S, E]`` of `x`; the mask ``[B, S]`` is True on real positions."""
        mixed, _ = self.multi_head(x, self.multi_head.keys(x), mask[:, None, None, :])
        return mixed  # type: ignore[no-any-return]


class PositionalSelfAttention(nn.Module):
    """Self-attention whose weights depend on positions alone: softmax(R) (Tay et al. 2021, section 3.1).

    R is a learned matrix or the product of two. These are the random Synthesizer of the paper and its factorised form,
    with projected values in several heads.
    """

    def __init__(self, size: int, heads: int, max_positions: int, rank: int | None, dropout: float = 0.0):
        """Make the parameters.

        Args:
            size: E.
            heads: h.
            max_positions: the number of positions that have weights.
            rank: the width of the two factors of R; None if R is a single matrix.
            dropout: the dropout on the weights in training.
        """
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        shape = (heads, max_positions, rank or max_positions)
        self.position_rows = nn.Parameter(torch.empty(shape))
        self.position_columns = nn.Parameter(torch.empty(shape)) if rank else None
        self.value_layer, self.output_layer = nn.Linear(size, size), nn.Linear(size, size)

    def weights(self, mask: Tensor) -> Tensor:
        """Return the weights ``[B, h, S, S]`` for sentences with the mask ``[B, S]``."""
        length = mask.shape[1]
        rows = self.position_rows[:, :length]
        energies = (
            rows[:, :, :length]
            if self.position_columns is None
            else rows @ self.position_columns[:, :length].transpose(1, 2)
        )
        energies = energies.to(torch.promote_types(energies.dtype, torch.float32))
        return energies.masked_fill(~mask[:, None, None, :], -math.inf).softmax(dim=-1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the self-attention output ``[B, S, E]`` of `x`; the mask ``[B, S]`` is True on real positions."""
        values = self.value_layer(x).view(*x.shape[:2], self.heads, -1).transpose(1, 2)
        mixed = self.dropout(self.weights(mask)).to(values.dtype) @ values
        return self.output_layer(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class LinearSelfAttention(nn.Module):
    """Linear attention in several heads: see `linear_attention`."""

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.multi_head = MultiHead(size, size, size, size, heads, dropout=0.0)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return the self-attention output ``[B, S, E]`` of `x`; the mask ``[B, S]`` is True on real positions."""
        heads = self.multi_head
        return heads.output(linear_attention(*heads.projections(x, heads.keys(x)), mask[:, None]))


class CausalSelfAttention(nn.Module):
    """Multi-head self-attention to the same and earlier positions; `whole` and `step` agree to rounding."""

    def __init__(self, size: int, heads: int, dropout: float):
        super().__init__()
        self.multi_head = MultiHead(size, size, size, size, heads, dropout)

    def start(self, rows: int, like: Tensor) -> Tensor:
        """Return an empty cache of keys and values, ``[N, 0, 2E]``."""
        return like.new_zeros(rows, 0, 2 * self.multi_head.size)

    def whole(self, x: Tensor) -> Tensor:
        """Return the outputs ``[N, T, E]`` of all positions at once, with energies of -inf above the diagonal."""
        return self.multi_head(x, self.multi_head.keys(x), None, causal=True)[0]  # type: ignore[no-any-return]

    def step(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the output for one more position.

        Args:
            x: ``[N, 1, E]`` the input at this position.
            cache: ``[N, T, 2E]`` the keys and values of the T positions before it.

        Returns:
            The output ``[N, 1, E]``, and the cache including this position, ``[N, T + 1, 2E]``.
        """
        keys = self.multi_head.keys(x)
        keys = torch.cat([cache.to(keys.dtype), keys], dim=1)
        return self.multi_head(x, keys, None)[0], keys


class CausalLinearAttention(nn.Module):
    """Causal self-attention with linear attention; the cache of `step` is fast weights, whose size is constant."""

    def __init__(self, size: int, heads: int):
        super().__init__()
        self.multi_head = MultiHead(size, size, size, size, heads, dropout=0.0)

    def start(self, rows: int, like: Tensor) -> Tensor:
        """Return empty fast weights ``[N, h, d, d + 1]``; see `fast_weights_step`."""
        heads = self.multi_head.heads
        width = self.multi_head.size // heads
        return like.new_zeros(rows, heads, width, width + 1)

    def whole(self, x: Tensor) -> Tensor:
        """Return the outputs ``[N, T, E]`` of all positions at once."""
        return self.multi_head.output(causal_linear_attention(*self._project(x)))

    def step(self, x: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the output for one more position.

        Args:
            x: ``[N, 1, E]`` the input at this position.
            cache: the fast weights of the positions before it.

        Returns:
            The output ``[N, 1, E]``, and the fast weights including this position.
        """
        queries, keys, values = (projected[:, :, 0] for projected in self._project(x))
        mixed, cache = fast_weights_step(queries, keys, values, cache)
        return self.multi_head.output(mixed[:, :, None]), cache

    def _project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.multi_head.projections(x, self.multi_head.keys(x))


class Sublayer(nn.Module):
    """A residual block: x + dropout(f(norm(x))) for `pre`, or norm(x + dropout(f(x))) for `post`."""

    def __init__(self, size: int, norm: Literal["pre", "post"], dropout: float, gain: float = 1.0):
        """Make the norm.

        Args:
            size: E.
            norm: `pre` for a norm before the block, `post` for a norm after the sum.
            dropout: the dropout on what the block adds.
            gain: the initial gain of a norm before the block.
        """
        super().__init__()
        self.norm, self.pre, self.dropout = nn.LayerNorm(size), norm == "pre", Dropout(dropout)
        if self.pre:
            nn.init.constant_(self.norm.weight, gain)

    def forward(self, x: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        """Run `block` on ``[..., E]``."""
        if self.pre:
            return x + self.dropout(block(self.norm(x)))  # type: ignore[no-any-return]
        return self.norm(x + self.dropout(block(x)))  # type: ignore[no-any-return]


def feed_forward(size: int, hidden_size: int, dropout: float) -> nn.Sequential:
    """Return the module W2 dropout(relu(W1 x)) (Vaswani et al. 2017, equation 2)."""
    return nn.Sequential(nn.Linear(size, hidden_size), nn.ReLU(), Dropout(dropout), nn.Linear(hidden_size, size))


class EncoderLayer(nn.Module):
    """One layer of an encoder: self-attention, then a feed-forward block at each position."""

    def __init__(
        self, self_attention: nn.Module, size: int, hidden_size: int, norm: Literal["pre", "post"], dropout: float
    ):
        """Put the layer together.

        Args:
            self_attention: ``(x [B, S, E], mask [B, S]) -> [B, S, E]``.
            size: E.
            hidden_size: the hidden width of the feed-forward block; 0 for no such block.
            norm: `pre` for a norm before each block, `post` for a norm after it.
            dropout: the dropout on what each block adds.
        """
        super().__init__()
        gain = self_attention.gain if isinstance(self_attention, DotProductSelfAttention) else 1.0
        self.self_attention, self.attention_sublayer = self_attention, Sublayer(size, norm, dropout, gain)
        self.feed_forward = feed_forward(size, hidden_size, dropout) if hidden_size else None
        self.feed_forward_sublayer = Sublayer(size, norm, dropout) if hidden_size else None

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return ``[B, S, E]``; positions outside the mask have no weight."""
        x = self.attention_sublayer(x, lambda inside: self.self_attention(inside, mask))
        if self.feed_forward is not None and self.feed_forward_sublayer is not None:
            x = self.feed_forward_sublayer(x, self.feed_forward)
        return x
