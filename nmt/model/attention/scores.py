"""The scores of the papers. In the formulas, q is the decoder's state and k the encoder's output of one position."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.attention.additive import additive_energies
from nmt.model.attention.base import Normaliser, Score
from nmt.model.attention.kernel import LOG_KERNELS, Kernel, soft_boxcar, squared_distances, uniform_if_empty
from nmt.model.attention.multi_head import MultiHead
from nmt.model.attention.normaliser import straight_through
from nmt.model.attention.query import Query
from nmt.model.memory import Memory


class AdditiveScore(Score):
    """vᵀ tanh(W q + U k) (Bahdanau et al. 2015, appendix A.1.2).

    If `normed`, v is replaced by g v / |v|, and a bias is added inside tanh.
    """

    def __init__(self, query_size: int, memory_size: int, size: int, normed: bool):
        """Make W, U and v, of hidden width A = `size`."""
        super().__init__(memory_size, key_size=size)
        self.query_layer = nn.Linear(query_size, size, bias=normed)
        self.key_layer = nn.Linear(memory_size, size, bias=False)
        self.energy = _energy_layer(size, normed)

    def keys(self, values: Tensor) -> Tensor:
        """Return U k."""
        return self.key_layer(values)  # type: ignore[no-any-return]  # [B, L, A]

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return vᵀ tanh(W q + U k)."""
        projected = query.project(self.query_layer)  # [B, Q, A]
        return additive_energies(projected, keys, self.energy.weight)  # [B, Q, L]


class ConcatScore(Score):
    """vᵀ tanh(W [q; k] + b) (Luong et al. 2015, section 3.1).

    The halves of W for q and for k are applied separately.
    """

    def __init__(self, query_size: int, memory_size: int, size: int, normed: bool):
        """Make W, b and v, of hidden width A = `size`; see `AdditiveScore` for `normed`."""
        super().__init__(memory_size, key_size=size)
        self.layer = nn.Linear(query_size + memory_size, size)
        self.energy = _energy_layer(size, normed)
        self.query_size = query_size

    def keys(self, values: Tensor) -> Tensor:
        """Return W's second half times k, plus b."""
        return functional.linear(values, self.layer.weight[:, self.query_size :], self.layer.bias)  # [B, L, A]

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return vᵀ tanh(W [q; k] + b)."""
        projected = functional.linear(query.state, self.layer.weight[:, : self.query_size])  # [B, Q, A]
        return additive_energies(projected, keys, self.energy.weight)  # [B, Q, L]


class DotScore(Score):
    """qᵀ k, without any parameter (Luong et al. 2015, section 3.1)."""

    def __init__(self, memory_size: int):
        """Set the sizes; `memory_size` is also the width of the queries."""
        super().__init__(memory_size, key_size=memory_size)

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return qᵀ k."""
        return query.state @ keys.transpose(1, 2)  # [B, Q, L]


class ScaledDotScore(DotScore):
    """qᵀ k / √M (Vaswani et al. 2017, equation 1)."""

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return qᵀ k / √M."""
        return super().energies(query, keys) / math.sqrt(keys.shape[-1])  # [B, Q, L]


class GeneralScore(Score):
    """qᵀ W k (Luong et al. 2015, section 3.1)."""

    def __init__(self, query_size: int, memory_size: int):
        """Make W."""
        super().__init__(memory_size, key_size=query_size)
        self.key_layer = nn.Linear(memory_size, query_size, bias=False)

    def keys(self, values: Tensor) -> Tensor:
        """Return W k."""
        return self.key_layer(values)  # type: ignore[no-any-return]  # [B, L, H]

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return qᵀ W k."""
        return query.state @ keys.transpose(1, 2)  # [B, Q, L]


class QKVScore(Score):
    """Scaled dot products of projected queries and keys in several heads (Vaswani et al. 2017, section 3.2.2)."""

    def __init__(self, query_size: int, memory_size: int, size: int, heads: int):
        """Make the projections; `size` is their width over all heads."""
        super().__init__(memory_size, key_size=size)
        self.multi_head = MultiHead(query_size, memory_size, size, memory_size, heads, dropout=0.0)
        self.heads = heads

    def keys(self, values: Tensor) -> Tensor:
        """Return the projected keys and values, concatenated."""
        return self.multi_head.keys(values)  # [B, L, 2 x size]

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return the scaled dot products of each head."""
        return self.multi_head.energies(query.project(self.multi_head.query_layer), keys)  # [B, h, Q, L]

    def context(self, query: Query, weights: Tensor, memory: Memory) -> Tensor:
        """Return the output projection of the heads' weighted sums of projected values."""
        values = self.multi_head.values(memory.keys)  # [B, h, L, d]
        merged = self.multi_head.merge(weights.to(values.dtype) @ values)  # [B, Q, size]
        return query.linear(self.multi_head.output_layer, merged)  # [B, Q, M]


class LocationScore(Score):
    """W q + b: one energy for each of the first positions, whatever token is there (Luong et al. 2015, equation 8)."""

    def __init__(self, query_size: int, memory_size: int, max_src_length: int):
        """Make W and b; `max_src_length` is the number of positions that have an energy."""
        super().__init__(memory_size, key_size=1)
        self.layer = nn.Linear(query_size, max_src_length)

    def keys(self, values: Tensor) -> Tensor:
        """Return a 0 for every position, as a place to which coverage can be added."""
        return torch.zeros_like(values[..., :1])  # [B, L, 1]

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return the energies of the first L positions."""
        return query.project(self.layer)[..., : keys.shape[1]] + keys.transpose(1, 2)  # [B, Q, L]


class FullyConnectedScore(LocationScore):
    """W [embedding; state] + b: one energy for each of the first positions.

    This is the attention of the PyTorch tutorial on translation with a sequence-to-sequence network (Robertson 2017).
    With the `bahdanau` wiring, the state is that of the previous step, as in the tutorial.
    """

    def __init__(self, query_size: int, word_size: int, memory_size: int, max_src_length: int):
        """Make W and b; `max_src_length` is the number of positions that have an energy."""
        super().__init__(word_size + query_size, memory_size, max_src_length)

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return the energies of the first L positions."""
        both = torch.cat([query.embedding, query.state], dim=-1)  # [B, Q, E + H]
        return query.linear(self.layer, both)[..., : keys.shape[1]] + keys.transpose(1, 2)  # [B, Q, L]


class KernelScore(Score):
    """Weights in proportion to k(|W q - U k| / sigma) (Nadaraya 1964, Watson 1964).

    A query that has no key inside a compact kernel (boxcar, epanechnikov) gives all real positions the same weight.
    The weights of the boxcar have the gradient of a kernel with soft edges (straight-through, as with hard weights).
    """

    def __init__(self, query_size: int, memory_size: int, size: int, kernel: Kernel, width: float, learned_width: bool):
        """Make W and U, of width `size`, and sigma, which starts at `width`."""
        super().__init__(memory_size, key_size=size)
        self.query_layer = nn.Linear(query_size, size, bias=False)
        self.key_layer = nn.Linear(memory_size, size, bias=False)
        self.kernel = kernel
        # The logarithm is learned, so that sigma stays positive; _initialise does not change it.
        self.log_width = nn.Parameter(torch.full((1,), math.log(width)), requires_grad=learned_width)

    def keys(self, values: Tensor) -> Tensor:
        """Return U k."""
        return self.key_layer(values)  # type: ignore[no-any-return]  # [B, L, A]

    def energies(self, query: Query, keys: Tensor) -> Tensor:
        """Return the energies -u², where u = |query - key| / sigma."""
        wide = torch.promote_types(self.log_width.dtype, torch.float32)  # distances lose too much in bfloat16
        squared = squared_distances(query.project(self.query_layer).to(wide), keys.to(wide))  # [B, Q, L]
        return -squared * torch.exp(-2 * self.log_width)

    def weights(self, energies: Tensor, bias: Tensor | None, allowed: Tensor, normalise: Normaliser) -> Tensor:
        """Return k(u) / sum k(u)."""

        def normalise_rows(log_weights: Tensor) -> Tensor:
            return normalise(uniform_if_empty(log_weights, allowed))

        def weights(log_kernel: Tensor) -> Tensor:
            return super(KernelScore, self).weights(log_kernel, bias, allowed, normalise_rows)

        exact = weights(LOG_KERNELS[self.kernel](-energies))
        if self.kernel == "boxcar" and torch.is_grad_enabled():
            return straight_through(exact, weights(soft_boxcar(-energies)))
        return exact


def _energy_layer(size: int, normed: bool) -> nn.Linear:
    """Return the layer vᵀ of a score with a hidden layer, weight-normalised if `normed` (Salimans & Kingma 2016)."""
    layer = nn.Linear(size, 1, bias=False)
    return nn.utils.parametrizations.weight_norm(layer) if normed else layer
