"""The bridge from the encoder's last state to the decoder's first state."""

from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from nmt.model.memory import EncoderOutput, mean_state


class Bridge(nn.Module):
    """Computes the decoder's first state from the encoder's last one.

    For an encoder without a recurrent state, the mean of its outputs stands for its last state.

    - `zero`: all zeros.
    - `last`: the encoder's last state, layer by layer; the LSTM's cell state is 0 if the encoder is a GRU.
    - `mean`: the mean of the encoder's outputs as the hidden state of every layer; the cell state is 0.
    - `learned`: tanh(W h + b), where h is the encoder's last hidden state in the top layer; each decoder layer has its
      own W for the hidden state and another one for the cell state.
    """

    def __init__(
        self,
        kind: Literal["zero", "last", "mean", "learned"],
        memory_size: int,
        hidden_size: int,
        layers: int,
        states: int,
    ):
        """Make the parameters.

        Args:
            kind: one of the kinds above.
            memory_size: M.
            hidden_size: H of the decoder; must be M for `last` and `mean`.
            layers: the number of layers of the decoder.
            states: 2 for an LSTM (hidden and cell), 1 for a GRU.
        """
        super().__init__()
        self.kind: Literal["zero", "last", "mean", "learned"] = kind
        self.hidden_size, self.layers, self.states = hidden_size, layers, states
        self.linear = nn.Linear(memory_size, states * layers * hidden_size) if kind == "learned" else None

    def forward(self, memory: EncoderOutput) -> tuple[Tensor, Tensor]:
        """Return the states before the first step.

        Returns:
            Hidden ``[layers, B, H]``, and cell ``[layers, B, H]`` in float32 at least (``[0, B, H]`` for a GRU).
        """
        batch = memory.values.shape[0]
        zero = memory.values.new_zeros(self.layers, batch, self.hidden_size)
        hidden, cell = zero, zero
        match self.kind:
            case "zero":
                pass
            case "last":
                hidden = memory.hidden
                cell = memory.cell if len(memory.cell) else zero  # a GRU encoder has no cell state to copy
            case "mean":
                hidden = mean_state(memory.values, memory.mask).expand(self.layers, -1, -1)
            case "learned":
                assert self.linear is not None
                both = torch.tanh(self.linear(memory.hidden[-1])).view(batch, -1, self.hidden_size).transpose(0, 1)
                hidden, cell = both[: self.layers], both[self.layers :]
            case _:
                assert_never(self.kind)
        cell = cell.to(torch.promote_types(cell.dtype, torch.float32))
        return hidden, cell if self.states == 2 else zero[:0]
