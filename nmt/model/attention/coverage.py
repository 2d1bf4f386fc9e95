"""Coverage: what was looked at already (Tu et al. 2016), and a loss against looking again (See et al. 2017)."""

import torch
from torch import Tensor, nn

from nmt.model.memory import Memory

_MAX_FERTILITY = 2.0  # N of Tu et al. 2016, equation 8


class Coverage(nn.Module):
    """Numbers for every source place, told after each step what was looked at; they are added to the keys."""

    def __init__(self, size: int, key_size: int):
        """Make the projection to the keys.

        Args:
            size: C, how many numbers a source place has.
            key_size: width of the keys they are added to.
        """
        super().__init__()
        self.size = size
        self.key_layer = nn.Linear(size, key_size, bias=False)

    def start(self, memory: Memory) -> Tensor:
        """Nothing is covered: zeros ``[B, L, C]``."""
        # Sums of many small weights are too much for bfloat16.
        wide = torch.promote_types(memory.values.dtype, torch.float32)
        return memory.values.new_zeros(*memory.mask.shape, self.size, dtype=wide)

    def advance(self, coverage: Tensor, weights: Tensor, query: Tensor, memory: Memory) -> Tensor:
        """The coverage ``[B, Q, L, C]`` after looking with `weights` ``[B, Q, L]`` for `query` ``[B, Q, H]``."""
        raise TypeError(f"{type(self).__name__} does not say how it advances")


class LinguisticCoverage(Coverage):
    """The weights so far over each word's fertility, 2 sigmoid(u h) (Tu et al. 2016, equations 6 to 8)."""

    def __init__(self, size: int, key_size: int, memory_size: int, query_size: int):
        super().__init__(1, key_size)
        self.fertility = nn.Linear(memory_size, 1, bias=False)

    def advance(self, coverage: Tensor, weights: Tensor, query: Tensor, memory: Memory) -> Tensor:
        fertility = _MAX_FERTILITY * torch.sigmoid(self.fertility(memory.values))  # [B, L, 1]
        return coverage + weights[..., None].to(coverage.dtype) / fertility[:, None]


class NeuralCoverage(Coverage):
    """A GRU cell over the weight, the source place and the query (Tu et al. 2016, section 3.1.2)."""

    def __init__(self, size: int, key_size: int, memory_size: int, query_size: int):
        super().__init__(size, key_size)
        self.cell = nn.GRUCell(1 + memory_size + query_size, size)

    def advance(self, coverage: Tensor, weights: Tensor, query: Tensor, memory: Memory) -> Tensor:
        shape = (*weights.shape, -1)
        seen = torch.cat(
            [
                weights[..., None].to(coverage.dtype),
                memory.values[:, None].expand(*weights.shape, memory.values.shape[-1]),
                query[:, :, None].expand(*weights.shape, query.shape[-1]),
            ],
            dim=-1,
        )
        dtype = self.cell.weight_ih.dtype
        after = self.cell(seen.flatten(0, 2).to(dtype), coverage.flatten(0, 2).to(dtype)).view(shape)
        return after.to(coverage.dtype).masked_fill(~memory.mask[:, None, :, None], 0.0)  # type: ignore[no-any-return]


COVERAGES: dict[str, type[LinguisticCoverage] | type[NeuralCoverage]] = {
    "linguistic": LinguisticCoverage,
    "neural": NeuralCoverage,
}


def coverage_loss(weights: Tensor, tgt_mask: Tensor) -> Tensor:
    """Sum over t and s of min(weights[t, s], weights of all earlier steps on s) (See et al. 2017, equation 12).

    Args:
        weights: ``[B, T, S]``.
        tgt_mask: ``[B, T]`` bool, True on real tokens.

    Returns:
        The sum over the real target tokens of the batch; each of them adds 0 to 1.
    """
    before = weights.cumsum(dim=1) - weights
    again = torch.minimum(weights, before).sum(dim=-1)
    return again.masked_fill(~tgt_mask, 0.0).sum()
