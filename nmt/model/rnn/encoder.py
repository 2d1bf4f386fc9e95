"""The recurrent encoder."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from nmt.model.dropout import Dropout
from nmt.model.memory import EncoderOutput
from nmt.model.rnn.cells import layer_function

RNN: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


_RUNS_AT_MOST = 4  # different lengths in a batch, each run separately by an LSTM on a CPU; with more, packing is faster


class RNNEncoder(nn.Module):
    """A stacked LSTM or GRU, in one or both directions, that never reads padding."""

    def __init__(
        self,
        *,
        cell: Literal["lstm", "gru"],
        input_size: int,
        hidden_size: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
        dropout_recurrent: float = 0.0,
        residual: bool = False,
    ):
        """Make the layers.

        Args:
            cell: `lstm` or `gru`.
            input_size: width of the embeddings.
            hidden_size: width per direction.
            layers: the number of stacked layers.
            bidirectional: whether to read in both directions, whose outputs are concatenated.
            dropout: the dropout between layers.
            dropout_recurrent: the dropout on the recurrent weights; see `weight_drop`.
            residual: whether each layer above the first adds its outputs to its inputs (Wu et al. 2016, section 3.1).
        """
        super().__init__()
        self.layers, self.directions = layers, 2 if bidirectional else 1
        at_once = 1 if residual else layers  # layers in torch's own stack, which has no residual connections
        self.rnn = RNN[cell](
            input_size,
            hidden_size,
            at_once,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if at_once > 1 else 0.0,
        )
        width = self.directions * hidden_size
        self.residual_layers = nn.ModuleList(
            RNN[cell](width, hidden_size, batch_first=True, bidirectional=bidirectional)
            for _ in range(layers - at_once)
        )
        self.layer_dropout, self.recurrent_dropout = Dropout(dropout), Dropout(dropout_recurrent)

    def forward(self, embedded: Tensor, mask: Tensor, lengths: Tensor) -> EncoderOutput:
        """Encode.

        Args:
            embedded: ``[B, S, E]``.
            mask: ``[B, S]`` bool, True on real tokens, which come first; at least one in each row.
            lengths: ``[B]`` on the CPU, the number of real tokens.

        Returns:
            Outputs (0 on padding) and last states, with the directions concatenated.
        """
        found, counts = torch.unique(lengths, return_counts=True)  # the lengths are on the CPU, whatever the device
        device = embedded.device.type
        few = len(found) <= _RUNS_AT_MOST and device == "cpu" and isinstance(self.rnn, nn.LSTM)
        if few or device == "mps":  # torch's packed sequences have open errors on Apple's GPUs
            values, last = self._by_length(self._run(), embedded, lengths, found, counts)
        else:
            values, last = self._packed(self._run(), embedded, lengths)
        return self._output(values, last, mask)

    def unpadded(self, embedded: Tensor, mask: Tensor) -> EncoderOutput:
        """Encode sentences ``[B, S, E]`` of equal length as `forward` does, but in one operation."""
        values, last = self._run()(embedded)
        return self._output(values, _in_tuple(last), mask)

    def _output(self, values: Tensor, last: tuple[Tensor, ...], mask: Tensor) -> EncoderOutput:
        """Return outputs and last states (of a GRU one ``[layers x directions, B, H]``, of an LSTM two) as a memory."""
        hidden, *cell = map(self._join, last)
        cells = cell[0] if cell else hidden[:0]
        return EncoderOutput(values=values, mask=mask, src_mask=mask, hidden=hidden, cell=cells)

    def _run(self) -> "_Run":
        """Return a function that runs all layers, with the recurrent weights dropped once for this batch."""
        first, *more = [layer_function(layer, self.recurrent_dropout) for layer in (self.rnn, *self.residual_layers)]
        if not more:
            return first

        def run(inputs: Tensor | PackedSequence) -> Any:
            outputs, last = first(inputs)
            states = [last]
            for layer in more:
                change, last = layer(_for_all(self.layer_dropout, outputs))
                outputs = _for_all(torch.add, outputs, change)
                states.append(last)
            if isinstance(last, tuple):
                return outputs, tuple(torch.cat(kind) for kind in zip(*states, strict=True))
            return outputs, torch.cat(states)

        return run

    def _packed(self, run: "_Run", embedded: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode packed sentences of any lengths; they are sorted here because torch's sorting would wait for a GPU."""
        order = lengths.argsort(descending=True)
        at_once = embedded.device.type == "cuda"  # see `Batch.to`
        back = order.argsort().to(embedded.device, non_blocking=at_once)
        by_length = embedded.index_select(0, order.to(embedded.device, non_blocking=at_once))
        packed = pack_padded_sequence(by_length, lengths[order], batch_first=True)
        outputs, last = run(packed)  # last: [layers x directions, B, H]
        values, _ = pad_packed_sequence(outputs, batch_first=True, total_length=embedded.shape[1])
        return values.index_select(0, back), tuple(state.index_select(1, back) for state in _in_tuple(last))

    def _by_length(
        self, run: "_Run", embedded: Tensor, lengths: Tensor, found: Tensor, counts: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode all sentences of one length together, and the lengths in `found` one after the other.

        On a CPU, torch runs an LSTM as one fused operation only if all sentences have the same length; packed sequences
        of several lengths take more than twice the time.
        """
        order = lengths.argsort()  # [B]
        values, states = [], []
        for length, rows in zip(found.tolist(), torch.split(order, counts.tolist()), strict=True):
            outputs, last = run(embedded[rows, :length])
            values.append(functional.pad(outputs, (0, 0, 0, embedded.shape[1] - length)))
            states.append(_in_tuple(last))
        back = order.argsort()
        return torch.cat(values)[back], tuple(torch.cat(kind, dim=1)[:, back] for kind in zip(*states, strict=True))

    def _join(self, state: Tensor) -> Tensor:
        """Turn ``[layers x directions, B, H]`` into ``[layers, B, directions x H]``."""
        split = state.view(self.layers, self.directions, *state.shape[1:])  # [layers, directions, B, H]
        return split.transpose(1, 2).flatten(2)


def _in_tuple(last: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the last states of a GRU (a tensor) or an LSTM (two) as a tuple."""
    return last if isinstance(last, tuple) else (last,)


_Run = Callable[[Any], Any]  # from embeddings to outputs and last states, as nn.LSTM and nn.GRU return them


def _for_all(function: Callable[..., Tensor], first: Any, *others: Any) -> Any:
    """Apply a function to tensors, or to the values of packed sequences of the same lengths."""
    if isinstance(first, PackedSequence):
        return first._replace(data=function(first.data, *(other.data for other in others)))
    return function(first, *others)
