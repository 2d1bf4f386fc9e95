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

from nmt.model.additive import additive_energies
from nmt.model.coverage import COVERAGES, Coverage
from nmt.model.kernel import LOG_KERNELS, boxcar, soft_boxcar, squared_distances, uniform_if_empty
from nmt.model.memory import Memory
from nmt.model.multi_head import MultiHead
from nmt.model.normaliser import NORMALISERS, straight_through
from nmt.model.window import Window


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


class NoAttention(Attention, score="none"):
    """The fixed vector (Sutskever et al. 2014): the decoder has the encoder's last state and nothing to look at."""

    def __init__(self, options: AttentionOptions):
        super().__init__(options, 0)
        self.context_size = 0

    def forward(self, query: Query, memory: Memory) -> tuple[Tensor, Tensor]:
        """A context and weights of width zero, ``[B, Q, 0]``."""
        nothing = query.state[..., :0]
        return nothing, nothing


class AdditiveAttention(Attention, score="additive"):
    """vᵀ tanh(W q + U k) (Bahdanau et al. 2015, appendix A.1.2); normed: g v / |v| for v, and a bias inside."""

    def __init__(self, options: AttentionOptions):
        super().__init__(options, options.size)
        self.query_layer = nn.Linear(options.query_size, options.size, bias=options.normed)
        self.key_layer = nn.Linear(options.memory_size, options.size, bias=False)
        self.energy = _energy_layer(options)

    def keys(self, values: Tensor) -> Tensor:
        return self.key_layer(values)  # type: ignore[no-any-return]

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return additive_energies(self.query_layer(query), keys, self.energy.weight)


class ConcatAttention(Attention, score="concat"):
    """vᵀ tanh(W [q; k] + b) (Luong et al. 2015, equation 8); W is applied in its two halves."""

    def __init__(self, options: AttentionOptions):
        super().__init__(options, options.size)
        self.layer = nn.Linear(options.query_size + options.memory_size, options.size)
        self.energy = _energy_layer(options)
        self.query_size = options.query_size

    def keys(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.layer.weight[:, self.query_size :], self.layer.bias)

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        projected = functional.linear(query, self.layer.weight[:, : self.query_size])
        return additive_energies(projected, keys, self.energy.weight)


class DotAttention(Attention, score="dot"):
    """qᵀ k, without any parameter (Luong et al. 2015, equation 8)."""

    def __init__(self, options: AttentionOptions):
        super().__init__(options, options.memory_size)

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)


class ScaledDotAttention(Attention, score="scaled_dot"):
    """qᵀ k / √M (Vaswani et al. 2017, equation 1)."""

    def __init__(self, options: AttentionOptions):
        super().__init__(options, options.memory_size)

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2) / math.sqrt(keys.shape[-1])


class GeneralAttention(Attention, score="general"):
    """qᵀ W k (Luong et al. 2015, equation 8)."""

    def __init__(self, options: AttentionOptions):
        super().__init__(options, options.query_size)
        self.key_layer = nn.Linear(options.memory_size, options.query_size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        return self.key_layer(values)  # type: ignore[no-any-return]

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return query @ keys.transpose(1, 2)


class QKVAttention(Attention, score="qkv"):
    """Projected queries, keys and values in `heads` heads, scaled dot products (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, options: AttentionOptions):
        super().__init__(options, options.size)
        self.multi_head = MultiHead(
            options.query_size, options.memory_size, options.size, options.memory_size, options.heads, dropout=0.0
        )

    def keys(self, values: Tensor) -> Tensor:
        return self.multi_head.keys(values)

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return self.multi_head.energies(query, keys)

    def values(self, memory: Memory) -> Tensor:
        return self.multi_head.values(memory.keys)

    def join(self, context: Tensor) -> Tensor:
        return self.multi_head.join(context)


class LocationAttention(Attention, score="location"):
    """W q, one energy for each of `max_src_length` places, whatever stands there (Luong et al. 2015, equation 9)."""

    def __init__(self, options: AttentionOptions):
        super().__init__(options, 1)
        self.layer = nn.Linear(options.query_size, options.max_src_length)

    def keys(self, values: Tensor) -> Tensor:
        """A 0 for every place: nothing but coverage is ever added to it."""
        return torch.zeros_like(values[..., :1])

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return self.layer(query)[..., : keys.shape[1]] + keys.transpose(1, 2)  # type: ignore[no-any-return]


class FullyConnectedAttention(Attention, score="fc"):
    """W [word; state] + b, one energy for each of `max_src_length` places.

    The attention decoder of the PyTorch tutorial on translation with a sequence-to-sequence network (Robertson 2017);
    with the `bahdanau` wiring, as there, the state is that of the step before.
    """

    def __init__(self, options: AttentionOptions):
        super().__init__(options, 1)
        self.layer = nn.Linear(options.word_size + options.query_size, options.max_src_length)

    def ask(self, query: Query) -> Tensor:
        return torch.cat([query.word, query.state], dim=-1)

    def keys(self, values: Tensor) -> Tensor:
        """A 0 for every place: nothing but coverage is ever added to it."""
        return torch.zeros_like(values[..., :1])

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        return self.layer(query)[..., : keys.shape[1]] + keys.transpose(1, 2)  # type: ignore[no-any-return]


class KernelAttention(Attention, score="kernel"):
    """Weights in proportion to k(|W q - U k| / sigma) (Nadaraya 1964, Watson 1964).

    A query with no key inside a compact kernel (boxcar, epanechnikov) looks at all real places alike. The boxcar's
    weights are a boxcar's and their gradient is that of soft edges: straight-through, as with hard weights.
    """

    def __init__(self, options: AttentionOptions):
        super().__init__(options, options.size)
        self.query_layer = nn.Linear(options.query_size, options.size, bias=False)
        self.key_layer = nn.Linear(options.memory_size, options.size, bias=False)
        self.log_kernel = LOG_KERNELS[options.kernel]
        width = torch.full((1,), math.log(options.width))
        # The logarithm is what is learned, so that sigma stays positive; _initialise leaves it as it is.
        self.log_width = nn.Parameter(width, requires_grad=options.learned_width)

    def keys(self, values: Tensor) -> Tensor:
        return self.key_layer(values)  # type: ignore[no-any-return]

    def energies(self, query: Tensor, keys: Tensor) -> Tensor:
        """-u², minus the squared distance over sigma squared."""
        wide = torch.promote_types(self.log_width.dtype, torch.float32)  # distances lose too much in bfloat16
        squared = squared_distances(self.query_layer(query).to(wide), keys.to(wide))
        return -squared * torch.exp(-2 * self.log_width)

    def weigh(self, energies: Tensor, window: Tensor | None, allowed: Tensor) -> Tensor:
        weights = super().weigh(self.log_kernel(-energies), window, allowed)
        if self.log_kernel is boxcar and torch.is_grad_enabled():
            return straight_through(weights, super().weigh(soft_boxcar(-energies), window, allowed))
        return weights

    def masked(self, energies: Tensor, allowed: Tensor) -> Tensor:
        return uniform_if_empty(super().masked(energies, allowed), allowed)


def _energy_layer(options: AttentionOptions) -> nn.Linear:
    """vᵀ of the scores with a hidden layer; weight-normalised on demand (Salimans & Kingma 2016)."""
    layer = nn.Linear(options.size, 1, bias=False)
    if options.normed:
        layer = nn.utils.parametrizations.weight_norm(layer)
    return layer


def _per_head(per_query: Tensor, energies: Tensor) -> Tensor:
    """``[B, Q or 1, L]`` in a shape that broadcasts against energies with or without heads."""
    return per_query[:, None] if energies.dim() == 4 else per_query


def build_attention(score: str, options: AttentionOptions) -> Attention:
    """The mechanism called `score`."""
    return Attention.scores[score](options)  # type: ignore[call-arg]
