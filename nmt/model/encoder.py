"""The recurrent encoder: source pieces to values, and the state after the last of them."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

RNN: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


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

    def forward(self, embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode.

        Args:
            embedded: ``[B, S, E]``.
            mask: ``[B, S]`` bool, True on real tokens, which come first; at least one in each row.

        Returns:
            Outputs ``[B, S, M]`` (0 on padding), the last hidden state ``[layers, B, M]`` and the last cell state (for
            a GRU ``[0, B, M]``), the directions side by side.
        """
        packed = pack_padded_sequence(embedded, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        outputs, last = self.rnn(packed)
        values, _ = pad_packed_sequence(outputs, batch_first=True, total_length=embedded.shape[1])
        hidden = self._join(last[0] if isinstance(last, tuple) else last)
        cell = self._join(last[1]) if isinstance(last, tuple) else hidden[:0]
        return values, hidden, cell

    def _join(self, state: Tensor) -> Tensor:
        """``[layers x directions, B, H]`` to ``[layers, B, directions x H]``."""
        split = state.view(self.layers, self.directions, *state.shape[1:])
        return split.transpose(1, 2).flatten(2)
