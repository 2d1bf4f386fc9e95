"""The scores: how well a query fits a key."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.attention.additive import additive_energies
from nmt.model.attention.base import Attention, AttentionOptions, Query
from nmt.model.attention.kernel import LOG_KERNELS, boxcar, soft_boxcar, squared_distances, uniform_if_empty
from nmt.model.attention.multi_head import MultiHead
from nmt.model.attention.normaliser import straight_through
from nmt.model.memory import Memory


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


def build_attention(score: str, options: AttentionOptions) -> Attention:
    """The mechanism called `score`."""
    return Attention.scores[score](options)  # type: ignore[call-arg]
