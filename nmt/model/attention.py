"""Attention: which source positions does a query look at?

Every mechanism is a function of a query and a memory,
``(query [B, Q, H], memory) -> (context [B, Q, M], weights [B, Q, S])``.
Q counts the queries put to one sentence at once: the target positions in training, the beams in search. To add a
mechanism, write one subclass with its name and list the name in `config.AttentionScore`.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Memory:
    """What the decoder may look at: one source batch, encoded once.

    Attributes:
        values: ``[B, S, M]`` the encoder's outputs, which the context sums.
        mask: ``[B, S]`` bool, True on real tokens.
        keys: ``[B, S, *]`` what queries are compared with; the attention's own projection of `values`.
        hidden: ``[layers, B, M]`` the encoder's last hidden state.
        cell: ``[layers, B, M]`` its last cell state; for a GRU ``[0, B, M]``.
    """

    values: Tensor
    mask: Tensor
    keys: Tensor
    hidden: Tensor
    cell: Tensor

    def select(self, rows: Tensor) -> "Memory":
        """The memory of the sentences `rows` (``[B']`` indices)."""
        return Memory(self.values[rows], self.mask[rows], self.keys[rows], self.hidden[:, rows], self.cell[:, rows])


class Attention(nn.Module):
    """Weights are the softmax of energies over real tokens; the context is the weighted sum of the values."""

    scores: ClassVar[dict[str, type["Attention"]]] = {}

    def __init_subclass__(cls, score: str) -> None:
        super().__init_subclass__()
        Attention.scores[score] = cls

    def __init__(self, query_size: int, memory_size: int, hidden_size: int):
        """Make the parameters.

        Args:
            query_size: H, width of the query.
            memory_size: M, width of the values.
            hidden_size: width of the hidden layer, for the scores that have one.
        """
        super().__init__()
        self.context_size = memory_size

    def keys(self, values: Tensor) -> Tensor:
        """What the queries are compared with, ``[B, S, *]``, computed once per sentence from `values` ``[B, S, M]``."""
        return values

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        """How well each query ``[B, Q, H]`` fits each key ``[B, S, *]``: ``[B, Q, S]``, any real number."""
        raise TypeError(f"{type(self).__name__} defines no energies")

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """Look.

        Args:
            query: ``[B, Q, H]``.
            memory: of the same B sentences.

        Returns:
            The context ``[B, Q, M]`` and the weights ``[B, Q, S]``: non-negative, rows sum to 1, exactly 0 on padding.
        """
        energies = self.energies(query, memory.keys)
        energies = energies.to(
            torch.promote_types(energies.dtype, torch.float32)
        )  # bfloat16 is too coarse for a softmax
        weights = energies.masked_fill(~memory.mask[:, None, :], -math.inf).softmax(dim=-1)
        return weights.to(memory.values.dtype) @ memory.values, weights


class NoAttention(Attention, score="none"):
    """The fixed vector (Sutskever et al. 2014): the decoder has the encoder's last state and nothing to look at."""

    def __init__(self, query_size: int, memory_size: int, hidden_size: int):
        super().__init__(query_size, memory_size, hidden_size)
        self.context_size = 0

    def forward(self, query: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
        """A context and weights of width zero, ``[B, Q, 0]``."""
        nothing = query[..., :0]
        return nothing, nothing


class AdditiveAttention(Attention, score="additive"):
    """vᵀ tanh(W q + U k) (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self, query_size: int, memory_size: int, hidden_size: int):
        super().__init__(query_size, memory_size, hidden_size)
        self.query_layer = nn.Linear(query_size, hidden_size, bias=False)
        self.key_layer = nn.Linear(memory_size, hidden_size, bias=False)
        self.energy = nn.Linear(hidden_size, 1, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        return self.key_layer(values)  # type: ignore[no-any-return]

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        hidden = torch.tanh(self.query_layer(query)[:, :, None] + keys[:, None])  # [B, Q, S, A]
        return self.energy(hidden).squeeze(-1)  # type: ignore[no-any-return]


class ConcatAttention(Attention, score="concat"):
    """vᵀ tanh(W [q; k] + b) (Luong et al. 2015, equation 8); W is applied in its two halves."""

    def __init__(self, query_size: int, memory_size: int, hidden_size: int):
        super().__init__(query_size, memory_size, hidden_size)
        self.layer = nn.Linear(query_size + memory_size, hidden_size)
        self.energy = nn.Linear(hidden_size, 1, bias=False)
        self.query_size = query_size

    def keys(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.layer.weight[:, self.query_size :], self.layer.bias)

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        projected = functional.linear(query, self.layer.weight[:, : self.query_size])
        return self.energy(torch.tanh(projected[:, :, None] + keys[:, None])).squeeze(-1)  # type: ignore[no-any-return]


class DotAttention(Attention, score="dot"):
    """qᵀ k, without any parameter (Luong et al. 2015, equation 8)."""

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)


class ScaledDotAttention(Attention, score="scaled_dot"):
    """qᵀ k / √M (Vaswani et al. 2017, equation 1)."""

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])


class GeneralAttention(Attention, score="general"):
    """qᵀ W k (Luong et al. 2015, equation 8)."""

    def __init__(self, query_size: int, memory_size: int, hidden_size: int):
        super().__init__(query_size, memory_size, hidden_size)
        self.key_layer = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        return self.key_layer(values)  # type: ignore[no-any-return]

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)


def build_attention(score: str, query_size: int, memory_size: int, hidden_size: int) -> Attention:
    """The mechanism called `score`; sizes as in `Attention`."""
    return Attention.scores[score](query_size, memory_size, hidden_size)
