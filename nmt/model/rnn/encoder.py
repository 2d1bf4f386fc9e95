"""The recurrent encoder."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from nmt.model.memory import EncoderOutput

RNN: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


_RUNS_AT_MOST = 4  # of an LSTM on a CPU, for as many different lengths in a batch; with more, packing is faster


class RNNEncoder(nn.Module):
    """Stacked LSTM or GRU, in one or both directions, over packed sequences (so padding is never read)."""

    def __init__(
        self,
        *,
        cell: Literal["lstm", "gru"],
        input_size: int,
        hidden_size: int,
        layers: int,
        bidirectional: bool,
        dropout: float,
    ):
        """Make the layers.

        Args:
            cell: `lstm` or `gru`.
            input_size: width of the embeddings.
            hidden_size: width per direction.
            layers: how many, one on the other.
            bidirectional: read both ways; the outputs of both are side by side.
            dropout: between layers.
        """
        super().__init__()
        self.layers, self.directions = layers, 2 if bidirectional else 1
        self.rnn = RNN[cell](
            input_size,
            hidden_size,
            layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,
        )

    def forward(self, embedded: Tensor, mask: Tensor, lengths: Tensor) -> EncoderOutput:
        """Encode.

        Args:
            embedded: ``[B, S, E]``.
            mask: ``[B, S]`` bool, True on real tokens, which come first; at least one in each row.
            lengths: ``[B]`` on the CPU, the number of real tokens.

        Returns:
            Outputs (0 on padding) and last states, the directions side by side.
        """
        found, counts = torch.unique(lengths, return_counts=True)  # of numbers on the processor, whatever the device
        last: Tensor | tuple[Tensor, Tensor]
        if len(found) <= _RUNS_AT_MOST and embedded.device.type == "cpu" and isinstance(self.rnn, nn.LSTM):
            values, last = self._by_length(embedded, lengths, found, counts)
        else:
            values, last = self._packed(embedded, lengths)
        hidden = self._join(last[0] if isinstance(last, tuple) else last)
        cell = self._join(last[1]) if isinstance(last, tuple) else hidden[:0]
        return EncoderOutput(values=values, mask=mask, src_mask=mask, hidden=hidden, cell=cell)

    def unpadded(self, embedded: Tensor, mask: Tensor) -> EncoderOutput:
        """Encode sentences of one length, ``[B, S, E]``; the same as `forward` does, in one operation."""
        values, last = self.rnn(embedded)
        hidden = self._join(last[0] if isinstance(last, tuple) else last)
        cell = self._join(last[1]) if isinstance(last, tuple) else hidden[:0]
        return EncoderOutput(values=values, mask=mask, src_mask=mask, hidden=hidden, cell=cell)

    def _packed(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor]]:
        """Encode sentences of any lengths, sorted here: torch's own sorting would wait for a GPU."""
        order = lengths.argsort(descending=True)
        back = order.argsort().to(embedded.device, non_blocking=True)
        by_length = embedded.index_select(0, order.to(embedded.device, non_blocking=True))
        packed = pack_padded_sequence(by_length, lengths[order], batch_first=True)
        outputs, last = self.rnn(packed)  # last: [layers x directions, B, H]
        values, _ = pad_packed_sequence(outputs, batch_first=True, total_length=embedded.shape[1])
        states = tuple(state.index_select(1, back) for state in (last if isinstance(last, tuple) else (last,)))
        return values.index_select(0, back), states if isinstance(last, tuple) else states[0]

    def _by_length(
        self, embedded: Tensor, lengths: Tensor, found: Tensor, counts: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Encode sentences of the same length together, the `found` lengths one after the other.

        torch runs an LSTM on a CPU as one fused operation only where no sentence is shorter than another; packed
        sequences of several lengths take more than twice the time.
        """
        order = lengths.argsort()  # [B]
        values, hiddens, cells = [], [], []
        for length, rows in zip(found.tolist(), torch.split(order, counts.tolist()), strict=True):
            outputs, (hidden, cell) = self.rnn(embedded[rows, :length])
            values.append(functional.pad(outputs, (0, 0, 0, embedded.shape[1] - length)))
            hiddens.append(hidden)
            cells.append(cell)
        back = order.argsort()
        return torch.cat(values)[back], (torch.cat(hiddens, dim=1)[:, back], torch.cat(cells, dim=1)[:, back])

    def _join(self, state: Tensor) -> Tensor:
        """Turn ``[layers x directions, B, H]`` into ``[layers, B, directions x H]``."""
        split = state.view(self.layers, self.directions, *state.shape[1:])  # [layers, directions, B, H]
        return split.transpose(1, 2).flatten(2)
