"""Coverage: a record of the attention at earlier steps (Tu et al. 2016)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.attention.query import ApplyLinear
from nmt.model.memory import EncoderOutput
from nmt.model.rnn.cells import gru_cell

_MAX_FERTILITY = 2.0  # N of Tu et al. 2016, equation 8


class Coverage(nn.Module):
    """C numbers for each source position, updated after each step; their projection is added to the keys."""

    def __init__(self, size: int, key_size: int):
        """Make the projection to the keys.

        Args:
            size: C, the number of values for each source position.
            key_size: width of the keys they are added to.
        """
        super().__init__()
        self.size = size
        self.key_layer = nn.Linear(size, key_size, bias=False)

    def start(self, memory: EncoderOutput) -> Tensor:
        """Return the coverage before the first step: zeros ``[B, L, C]``."""
        # bfloat16 is too coarse for sums of many small weights.
        wide = torch.promote_types(memory.values.dtype, torch.float32)
        return memory.values.new_zeros(*memory.mask.shape, self.size, dtype=wide)

    def advance(self, coverage: Tensor, weights: Tensor, query: Tensor, memory: EncoderOutput) -> Tensor:
        """Return the coverage after a step.

        Args:
            coverage: ``[B, Q, L, C]`` the coverage before the step.
            weights: ``[B, Q, L]`` the weights of the step.
            query: ``[B, Q, H]`` the decoder's states.
            memory: the encoder's outputs.
        """
        raise NotImplementedError

    def added_to_keys(self, coverage: Tensor, linear: ApplyLinear) -> Tensor:
        """Return what is added to the keys of each query, ``[B, Q, L, A]``."""
        return linear(self.key_layer, coverage.to(self.key_layer.weight.dtype))


class LinguisticCoverage(Coverage):
    """The sum of the weights so far, divided by the fertility 2 sigmoid(u h) (Tu et al. 2016, equations 6 to 8)."""

    def __init__(self, key_size: int, memory_size: int):
        """Make the layer that computes fertilities; `memory_size` is M, and `key_size` is that of `Coverage`."""
        super().__init__(1, key_size)
        self.fertility = nn.Linear(memory_size, 1, bias=False)

    def advance(self, coverage: Tensor, weights: Tensor, query: Tensor, memory: EncoderOutput) -> Tensor:
        """Add the weights divided by the fertilities."""
        fertility = _MAX_FERTILITY * torch.sigmoid(self.fertility(memory.values))  # [B, L, 1]
        return coverage + weights[..., None].to(coverage.dtype) / fertility[:, None]


class NeuralCoverage(Coverage):
    """A GRU cell that reads the weight, the source position's output and the query (Tu et al. 2016, section 3.1.2)."""

    def __init__(self, size: int, key_size: int, memory_size: int, query_size: int):
        """Make the cell; `memory_size` is M, `query_size` is H, and the other sizes are those of `Coverage`."""
        super().__init__(size, key_size)
        self.cell = nn.GRUCell(1 + memory_size + query_size, size)

    def advance(self, coverage: Tensor, weights: Tensor, query: Tensor, memory: EncoderOutput) -> Tensor:
        """Step the cell of each position."""
        seen = torch.cat(
            [
                weights[..., None].to(coverage.dtype),
                memory.values[:, None].expand(*weights.shape, memory.values.shape[-1]),
                query[:, :, None].expand(*weights.shape, query.shape[-1]),
            ],
            dim=-1,
        )
        cell = self.cell  # by its products, since nn.GRUCell takes two dimensions only and cannot be exported
        before = coverage.to(cell.weight_ih.dtype)
        input_gates = functional.linear(seen.to(before.dtype), cell.weight_ih, cell.bias_ih)
        after = gru_cell(input_gates, functional.linear(before, cell.weight_hh, cell.bias_hh), before)  # [B, Q, L, C]
        return after.to(coverage.dtype).masked_fill(~memory.mask[:, None, :, None], 0.0)
