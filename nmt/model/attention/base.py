"""Attention: how much of each source position goes into the context of a query.

An attention maps a query and a memory to a context. It has a *score*, which computes the energy of a query with each
key, and a *normaliser*, which turns energies into weights. A *window* and a *coverage* are optional. The scores of the
papers are in `nmt.model.attention.scores`; your own package can add one (docs/extending.md).

    keys     = U h             [B, L, A]   once for each sentence        Score.keys
    energies = score(s, keys)  [B, Q, L]                                 Score.energies
    weights  = softmax(...)    [B, Q, L]   0 on padding, rows sum to 1   Score.weights
    context  = weights h       [B, Q, M]                                 Score.context
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.attention.coverage import Coverage
from nmt.model.attention.query import Query
from nmt.model.attention.window import Window
from nmt.model.memory import Memory

Normaliser = Callable[[Tensor], Tensor]


class Score(nn.Module):
    """How well a query fits each key; a subclass computes `energies`, and may override the steps around it.

    Attributes:
        context_size: width of the contexts.
        key_size: width of the keys, to which coverage is added.
        heads: the number of heads, h; None if the energies have no dimension for heads.
    """

    heads: int | None = None

    def __init__(self, memory_size: int, key_size: int):
        """Keep the sizes.

        Args:
            memory_size: M, width of the memory's values.
            key_size: width of the keys.
        """
        super().__init__()
        self.context_size, self.key_size = memory_size, key_size

    def keys(self, values: Tensor) -> Tensor:
        """Return the keys ``[B, L, *]``, computed once for each sentence from the memory's values ``[B, L, M]``."""
        return values

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return how well each query fits each key: ``[B, Q, L]``, or ``[B, h, Q, L]`` with h heads."""
        raise NotImplementedError

    def weights(self, energies: Tensor, bias: Tensor | None, allowed: Tensor, normalise: Normaliser) -> Tensor:
        """Return the weights: non-negative, exactly 0 where not `allowed`, rows sum to 1.

        Args:
            energies: the result of `energies`, in float32 at least.
            bias: what a window adds to the energies (the logarithm of its weights), broadcastable; None without a
                window.
            allowed: broadcastable bool, True on the positions that may have weight.
            normalise: the function from energies to weights; an energy of -inf has weight 0.
        """
        shifted = energies if bias is None else energies + bias
        return normalise(shifted.masked_fill(~allowed, -math.inf))

    def context(self, query: Query, weights: Tensor, memory: Memory) -> Tensor:
        """Return the weighted sums of the memory's values, ``[B, Q, M]``."""
        return weights.to(memory.values.dtype) @ memory.values


class Attention(nn.Module):
    """A score with its normaliser, window and coverage."""

    def __init__(self, score: Score, normalise: Normaliser, window: Window | None, coverage: Coverage | None):
        """Put the parts together."""
        super().__init__()
        self.normalise, self.window, self.coverage = normalise, window, coverage
        self.score = score
        self.context_size = score.context_size

    def keys(self, values: Tensor) -> Tensor:
        """Return the score's keys of the memory's values; see `Score.keys`."""
        return self.score.keys(values)

    def forward(self, query: Query, memory: Memory) -> tuple[Tensor, Tensor]:
        """Compute the contexts and weights of the queries.

        Returns:
            The contexts ``[B, Q, M]`` and the weights ``[B, Q, L]`` (the mean over heads): non-negative, rows sum to 1,
            exactly 0 on padding.
        """
        energies = self._energies(query, memory)  # [B, Q, L] or [B, h, Q, L]
        energies = energies.to(torch.promote_types(energies.dtype, torch.float32))  # bfloat16 is too coarse for softmax
        allowed, bias = memory.mask[:, None, :], None  # [B, 1, L]
        if self.window is not None:
            bias, inside = self.window(query, memory)  # [B, Q, L] each
            bias, allowed = self._for_heads(bias), allowed & inside
        weights = self.score.weights(energies, bias, self._for_heads(allowed), self.normalise)
        context = self.score.context(query, weights, memory)  # [B, Q, M]
        return context, weights if self.score.heads is None else weights.mean(dim=1)

    def contexts_of_each(self, memory: Memory) -> Tensor:
        """Return, for each position, the context ``[B, L, M]`` of a query that gives it the entire weight."""
        batch, length, _ = memory.values.shape
        nothing = memory.values[:, :0]
        query = Query(nothing, nothing, torch.arange(0, device=nothing.device))  # a context needs weights only
        weights = torch.eye(length, device=nothing.device).expand(batch, length, length)  # [B, L, L]
        if self.score.heads is not None:
            weights = weights[:, None].expand(batch, self.score.heads, length, length)  # [B, h, L, L]
        return self.score.context(query, weights, memory)  # [B, L, M]

    def _energies(self, query: Query, memory: Memory) -> Tensor:
        if self.coverage is None or query.coverage is None:
            return self.score.energies(query, memory.keys)
        # With coverage each query has its own keys, so Q queries of B sentences become B x Q sentences of one query.
        batch, count, length, _ = query.coverage.shape
        covered = self.coverage.added_to_keys(query.coverage, query.linear)  # [B, Q, L, A]
        # A score may store values after its keys, as `QKVScore` does; coverage is added to the keys only.
        covered = functional.pad(covered, (0, memory.keys.shape[-1] - self.score.key_size))
        keys = (memory.keys[:, None] + covered).flatten(0, 1)  # [B x Q, L, *]
        energies = self.score.energies(query.one_by_one(), keys)  # [B x Q, 1, L] or [B x Q, h, 1, L]
        by_query = energies.view(batch, count, -1, length)  # [B, Q, 1 or h, L]
        return by_query.squeeze(2) if self.score.heads is None else by_query.transpose(1, 2)

    def _for_heads(self, per_query: Tensor) -> Tensor:
        """Return ``[B, Q or 1, L]`` in a shape that broadcasts against the energies, with or without heads."""
        return per_query if self.score.heads is None else per_query[:, None]


class NoAttention(Attention):
    """No attention (Sutskever et al. 2014): the decoder gets nothing but a fixed vector, the encoder's last state."""

    def __init__(self) -> None:
        """Make an attention without any parameter."""
        super().__init__(Score(0, 0), lambda energies: energies, None, None)

    def forward(self, query: Query, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return contexts and weights of width zero, ``[B, Q, 0]``."""
        nothing = query.state[..., :0]
        return nothing, nothing
