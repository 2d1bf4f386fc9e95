"""Attention: which source places does a query look at?

Every mechanism is a function of a query and a memory, ``(Query, Memory) -> (context [B, Q, M], weights [B, Q, L])``,
and is put together from four parts: a *score* (energies of a query with each key), a *normaliser* (energies to
weights), and if wanted a *window* and a *coverage*. To add a score, write one subclass here with its name and list the
name in `config.AttentionScore`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.attention.coverage import COVERAGES, Coverage
from nmt.model.attention.normaliser import NORMALISERS
from nmt.model.attention.window import Window
from nmt.model.memory import Memory


@dataclass(frozen=True)
class Query:
    """What the decoder asks with: Q questions to each of B sentences, its target positions or its beams.

    Attributes:
        state: ``[B, Q, H]`` the decoder's state.
        word: ``[B, Q, E]`` the embedding of the last word.
        position: ``[Q]`` how many words came before that one.
        coverage: ``[B, Q, L, C]``, or None without coverage.
    """

    state: Tensor
    word: Tensor
    position: Tensor
    coverage: Tensor | None = None


@dataclass(frozen=True)
class AttentionOptions:
    """Sizes and choices, as in `config.AttentionConfig`; H, E and M are the widths of state, word and values."""

    query_size: int
    word_size: int
    memory_size: int
    size: int
    heads: int = 1
    normed: bool = False
    max_src_length: int = 100
    kernel: str = "gaussian"
    width: float = 1.0
    learned_width: bool = True
    normaliser: str = "softmax"
    window: str = "none"
    window_size: float = 10.0
    coverage: str = "none"
    coverage_size: int = 10


class Attention(nn.Module):
    """Weights are the normalised energies over real places; the context is the weighted sum of the values."""

    scores: ClassVar[dict[str, type["Attention"]]] = {}

    def __init_subclass__(cls, score: str) -> None:
        super().__init_subclass__()
        Attention.scores[score] = cls

    def __init__(self, options: AttentionOptions, key_size: int):
        """Make the parts that every score can have.

        Args:
            options: sizes and choices.
            key_size: width of the keys that coverage is added to.
        """
        super().__init__()
        self.context_size, self.key_size = options.memory_size, key_size
        self.normalise = NORMALISERS[options.normaliser]
        self.window = (
            None if options.window == "none" else Window(options.window, options.window_size, options.query_size)
        )
        self.coverage: Coverage | None = None
        if options.coverage != "none":
            self.coverage = COVERAGES[options.coverage](
                options.coverage_size, key_size, options.memory_size, options.query_size
            )

    def keys(self, values: Tensor) -> Tensor:
        """What queries are compared with, ``[B, L, *]``, computed once per sentence from `values` ``[B, L, M]``."""
        return values

    def ask(self, query: Query) -> Tensor:
        """What of the query is compared, ``[B, Q, *]``."""
        return query.state

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        """How well each query ``[B, Q, *]`` fits each key ``[B, L, *]``: ``[B, Q, L]``, or ``[B, h, Q, L]``."""
        raise TypeError(f"{type(self).__name__} defines no energies")

    def masked(self, energies: Tensor, allowed: Tensor) -> Tensor:
        """Energies with -inf where `allowed` (broadcastable bool) is False."""
        return energies.masked_fill(~allowed, -math.inf)

    def weigh(self, energies: Tensor, window: Tensor | None, allowed: Tensor) -> Tensor:
        """Weights from energies.

        Args:
            energies: as `energies` gives them, in float32 at least.
            window: the logarithm of a window's weights, or None; broadcastable.
            allowed: broadcastable bool, True on what may be looked at.
        """
        seen = energies if window is None else energies + window
        return self.normalise(self.masked(seen, allowed))

    def values(self, memory: Memory) -> Tensor:
        """What is summed, ``[B, L, M]`` or by head ``[B, h, L, d]``."""
        return memory.values

    def join(self, context: Tensor) -> Tensor:
        """The context ``[B, Q, M]`` from the weighted sum of `values`."""
        return context

    def forward(self, query: Query, memory: Memory) -> tuple[Tensor, Tensor]:
        """Look.

        Returns:
            The context ``[B, Q, M]`` and the weights ``[B, Q, L]`` (the mean over heads): non-negative, rows sum to 1,
            exactly 0 on padding.
        """
        energies = self._energies(query, memory)
        # bfloat16 is too coarse for a softmax
        energies = energies.to(torch.promote_types(energies.dtype, torch.float32))
        allowed, window = memory.mask[:, None, :], None
        if self.window is not None:
            bias, inside = self.window(query.state, query.position, memory.mask)
            window, allowed = _per_head(bias, energies), allowed & inside
        weights = self.weigh(energies, window, _per_head(allowed, energies))
        values = self.values(memory)
        context = self.join(weights.to(values.dtype) @ values)
        return context, weights.mean(dim=1) if weights.dim() == 4 else weights

    def _energies(self, query: Query, memory: Memory) -> Tensor:
        asked = self.ask(query)
        if self.coverage is None or query.coverage is None:
            return self.energies(asked, memory.keys)
        # Each query has keys of its own now: the B sentences of Q queries become B x Q sentences of one.
        batch, count, places, _ = query.coverage.shape
        seen = query.coverage.to(self.coverage.key_layer.weight.dtype)
        covered = functional.pad(
            self.coverage.key_layer(seen), (0, memory.keys.shape[-1] - self.key_size)
        )  # only keys are covered, not the values that may stand beside them
        keys = (memory.keys[:, None] + covered).flatten(0, 1)
        energies = self.energies(asked.flatten(0, 1)[:, None], keys)
        by_query = energies.view(batch, count, -1, places)  # [B, Q, 1 or h, L]
        return by_query.squeeze(2) if energies.dim() == 3 else by_query.transpose(1, 2)


def _per_head(per_query: Tensor, energies: Tensor) -> Tensor:
    """``[B, Q or 1, L]`` in a shape that broadcasts against energies with or without heads."""
    return per_query[:, None] if energies.dim() == 4 else per_query
