"""One step of an LSTM or a GRU from gates that are summed already, with torch's parameters and torch's order."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class GateWeights(NamedTuple):
    """The parameters of one recurrent layer: weights ``[gates x H, E]`` and ``[gates x H, H]``, and their biases."""

    inputs: Tensor
    recurrent: Tensor
    input_bias: Tensor
    recurrent_bias: Tensor


def gate_weights(layer: nn.Module) -> GateWeights:
    """The parameters of a one-layer ``nn.LSTM`` or ``nn.GRU``, for stepping through it by hand."""
    return GateWeights(*layer.parameters())


def lstm_cell(input_gates: Tensor, recurrent_gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """LSTM from the two sides' gates ``[N, 4H]`` in torch's order (input, forget, candidate, output).

    Returns:
        The new hidden state and the new cell state, ``[N, H]``.
    """
    return _LSTMCell.apply(input_gates, recurrent_gates, cell)  # type: ignore[no-any-return, no-untyped-call]


class _LSTMCell(torch.autograd.Function):
    """Ten steps on small tensors, whose gradients autograd would take one by one, with one node in its graph."""

    @staticmethod
    def forward(context: Any, input_gates: Tensor, recurrent_gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        gates = input_gates + recurrent_gates
        size = cell.shape[-1]
        gates[:, : 2 * size].sigmoid_()
        gates[:, 2 * size : 3 * size].tanh_()
        gates[:, 3 * size :].sigmoid_()
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=-1)
        new_cell = torch.addcmul(forget_gate * cell, input_gate, candidate)
        squashed = torch.tanh(new_cell)
        context.save_for_backward(gates, cell, squashed)
        return output_gate * squashed, new_cell

    @staticmethod
    def backward(context: Any, d_hidden: Tensor, d_new_cell: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        gates, cell, squashed = context.saved_tensors
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=-1)
        through = torch.ops.aten.tanh_backward(d_hidden * output_gate, squashed).add_(d_new_cell)
        d_gates = torch.empty_like(gates)
        size = cell.shape[-1]
        torch.mul(through, candidate, out=d_gates[:, :size])
        torch.mul(through, cell, out=d_gates[:, size : 2 * size])
        torch.mul(through, input_gate, out=d_gates[:, 2 * size : 3 * size])
        torch.mul(d_hidden, squashed, out=d_gates[:, 3 * size :])
        squares = gates * gates
        slopes = gates - squares  # of the sigmoids, from their values
        slopes[:, 2 * size : 3 * size] = 1.0 - squares[:, 2 * size : 3 * size]  # of the tanh
        d_gates *= slopes
        return d_gates, d_gates, through * forget_gate


def gru_cell(input_gates: Tensor, recurrent_gates: Tensor, hidden: Tensor) -> Tensor:
    """GRU from the two sides' gates ``[N, 3H]`` in torch's order (reset, update, candidate): new hidden ``[N, H]``."""
    reset_in, update_in, candidate_in = input_gates.chunk(3, dim=-1)
    reset_rec, update_rec, candidate_rec = recurrent_gates.chunk(3, dim=-1)
    update = torch.sigmoid(update_in + update_rec)
    candidate = torch.tanh(candidate_in + torch.sigmoid(reset_in + reset_rec) * candidate_rec)
    return candidate + update * (hidden - candidate)
