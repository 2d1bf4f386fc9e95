"""One step of an LSTM or a GRU, given the gates' linear parts, with torch's parameters and torch's gate order."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nmt.model.dropout import Dropout, weight_drop


class StepWeights(NamedTuple):
    """The parameters of a layer: weights ``[gates x H, E]`` and ``[gates x H, H]``, and the biases of both products."""

    inputs: Tensor
    recurrent: Tensor
    input_bias: Tensor
    recurrent_bias: Tensor | None


def step_weights(layer: nn.Module, dropout: Dropout) -> StepWeights:
    """Return the parameters of a one-layer ``nn.LSTM`` or ``nn.GRU``, for stepping through it by hand.

    An LSTM only uses the sum of its two biases, so they are returned as one. As in `weight_drop`, `dropout` is applied
    to the recurrent weights.
    """
    inputs, recurrent, input_bias, recurrent_bias = layer.parameters()
    recurrent = dropout(recurrent)
    if isinstance(layer, nn.LSTM):
        return StepWeights(inputs, recurrent, input_bias + recurrent_bias, None)
    return StepWeights(inputs, recurrent, input_bias, recurrent_bias)


def layer_function(layer: nn.Module, dropout: Dropout) -> Callable[..., Any]:
    """Return an ``nn.LSTM`` or ``nn.GRU`` as a function for one batch, with `weight_drop`.

    It runs in float32 where torch has no bfloat16 for it; see `_needs_float32`.
    """
    function = weight_drop(layer, dropout)
    device = next(layer.parameters()).device.type
    if not _needs_float32(layer, device):
        return function

    def in_float32(inputs: Any, *state: Tensor | tuple[Tensor, Tensor]) -> Any:
        states = (one.float() if isinstance(one, Tensor) else tuple(part.float() for part in one) for one in state)
        with torch.autocast(device, enabled=False):
            return function(inputs.float(), *states)

    return in_float32


def _needs_float32(layer: nn.Module, device: str) -> bool:
    """Return whether torch cannot run a layer in bfloat16 although autocast asks for it.

    On a GPU, torch's autocast runs every RNN in float16, also where bfloat16 is wanted; small gradients would then be
    lost, since the loss is not scaled. On a CPU without instructions for bfloat16, an LSTM fails.
    """
    if not torch.is_autocast_enabled(device) or torch.get_autocast_dtype(device) != torch.bfloat16:
        return False
    return device == "cuda" or (device == "cpu" and isinstance(layer, nn.LSTM) and not _cpu_has_bfloat16())


@cache
def _cpu_has_bfloat16() -> bool:
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def lstm_cell(cell: Tensor, *gates: Tensor) -> tuple[Tensor, Tensor]:
    """Compute one step of an LSTM.

    Args:
        cell: ``[N, H]`` the old cell state, in float32 at least, since it is a sum over all steps.
        gates: two or more tensors ``[N, 4H]`` in torch's order (input, forget, candidate, output), which are summed.

    Returns:
        The new hidden state ``[N, H]`` in the precision of the gates, and the new cell state ``[N, H]`` in the
        precision of the old one.
    """
    if torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
        return _traced_lstm_cell(cell, *gates)
    return _LSTMCell.apply(cell, *gates)  # type: ignore[no-any-return, no-untyped-call]


def _traced_lstm_cell(cell: Tensor, *gates: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `lstm_cell` does, using only operations that other runtimes have."""
    total = sum(gates[1:], gates[0])
    size = cell.shape[-1]
    input_gate, forget_gate, candidate, output_gate = (total[:, at * size : (at + 1) * size] for at in range(4))
    new_cell = torch.sigmoid(forget_gate) * cell + torch.sigmoid(input_gate) * torch.tanh(candidate)
    return torch.sigmoid(output_gate) * torch.tanh(new_cell), new_cell


class _LSTMCell(torch.autograd.Function):
    """An LSTM step, whose ten operations on small tensors are one node of autograd's graph instead of ten."""

    @staticmethod
    def forward(context: Any, cell: Tensor, *gates: Tensor) -> tuple[Tensor, Tensor]:
        total = gates[0] + gates[1]
        for more in gates[2:]:
            total += more
        size = cell.shape[-1]
        total[:, : 2 * size].sigmoid_()
        total[:, 2 * size : 3 * size].tanh_()
        total[:, 3 * size :].sigmoid_()
        input_gate, forget_gate, candidate, output_gate = total.chunk(4, dim=-1)
        new_cell = torch.addcmul(forget_gate * cell, input_gate.to(cell.dtype), candidate.to(cell.dtype))
        squashed = torch.tanh(new_cell.to(total.dtype))
        context.save_for_backward(total, cell, squashed)
        context.count = len(gates)
        return output_gate * squashed, new_cell

    @staticmethod
    @once_differentiable
    def backward(context: Any, d_hidden: Tensor, d_new_cell: Tensor) -> tuple[Tensor, ...]:
        gates, cell, squashed = context.saved_tensors
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=-1)
        d_cell = torch.ops.aten.tanh_backward(d_hidden * output_gate, squashed).to(cell.dtype).add_(d_new_cell)
        size = cell.shape[-1]
        squares = gates * gates
        d_gates = gates - squares  # the slopes of the sigmoids, from their values
        d_gates[:, 2 * size : 3 * size] = 1.0 - squares[:, 2 * size : 3 * size]  # the slope of the tanh
        d_gates[:, :size] *= d_cell * candidate
        d_gates[:, size : 2 * size] *= d_cell * cell
        d_gates[:, 2 * size : 3 * size] *= d_cell * input_gate
        d_gates[:, 3 * size :] *= d_hidden * squashed
        return d_cell * forget_gate, *(d_gates,) * context.count


def gru_cell(input_gates: Tensor, recurrent_gates: Tensor, hidden: Tensor) -> Tensor:
    """Return the new hidden state ``[..., H]`` of a GRU.

    Args:
        input_gates: ``[..., 3H]`` the input's part of the gates, in torch's order (reset, update, candidate).
        recurrent_gates: ``[..., 3H]`` the old state's part of the gates.
        hidden: ``[..., H]`` the old state.
    """
    reset_in, update_in, candidate_in = input_gates.chunk(3, dim=-1)
    reset_rec, update_rec, candidate_rec = recurrent_gates.chunk(3, dim=-1)
    update = torch.sigmoid(update_in + update_rec)
    candidate = torch.tanh(candidate_in + torch.sigmoid(reset_in + reset_rec) * candidate_rec)
    return candidate + update * (hidden - candidate)
