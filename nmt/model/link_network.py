"""A small network that reads both sentences of a pair and predicts which of their words are linked.

It is trained on the links of a statistical aligner and corrects them. Its errors differ from the aligner's because it
sees the context of each word (compare Garg et al. 2019; Chen et al. 2021). It is not part of any encoder or decoder.
"""

import torch
from torch import Tensor, nn

from nmt.model.dropout import Dropout
from nmt.model.rnn.encoder import RNNEncoder

_FIRST_BIAS = -2.5  # initial logit of a link; most pairs of words are not linked
_SCALE = 4.0  # factor of the energies, so that links can have a high probability from the start


class LinkNetwork(nn.Module):
    """Two bidirectional LSTMs, a soft alignment of their states, and two more LSTMs that read the aligned states.

    Each side has the states h = [LSTM(x); x]. The first logits are e = q(h_tgt) k(h_src). The contexts
    c_tgt = softmax_src(e) h_src and c_src = softmax_tgt(e) h_tgt show each word what it is likely to be linked to. Each
    side then has the states g = [LSTM([h; c]); h], which also show what the neighbouring words are likely to be linked
    to. The final logits are e + q'(g_tgt) k'(g_src).
    """

    def __init__(self, src_size: int, tgt_size: int, size: int, dropout: float = 0.3, word_dropout: float = 0.1):
        """Make the layers.

        Args:
            src_size: number of source pieces; the piece after the last one stands for unknown pieces.
            tgt_size: number of target pieces.
            size: D, width of embeddings and states.
            dropout: dropout on embeddings and states.
            word_dropout: share of the pieces that are replaced by the unknown piece in training.
        """
        super().__init__()
        self.embeddings = nn.ModuleList(nn.Embedding(count + 1, size) for count in (src_size, tgt_size))
        self.readers = nn.ModuleList(_reader(size, size) for _ in range(2))
        self.correctors = nn.ModuleList(_reader(4 * size, size) for _ in range(2))
        self.first = nn.ModuleList(nn.Linear(2 * size, size) for _ in range(2))
        self.second = nn.ModuleList(nn.Linear(3 * size, size) for _ in range(2))
        self.unknown = src_size, tgt_size
        self.bias = nn.Parameter(torch.tensor([_FIRST_BIAS, 0.0]))
        self.dropout, self.word_dropout, self.scale = Dropout(dropout), word_dropout, _SCALE * size**-0.5
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.1)  # type: ignore[arg-type]

    def forward(self, src: Tensor, src_mask: Tensor, tgt: Tensor, tgt_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the first alignment and those after the correction.

        Args:
            src: ``[B, S]`` source pieces, -1 for unknown ones.
            src_mask: ``[B, S]`` bool, True on real pieces.
            tgt: ``[B, T]`` target pieces.
            tgt_mask: ``[B, T]`` bool.

        Returns:
            Two tensors ``[B, T, S]``; the sigmoid of a logit is the probability of a link.
        """
        masks = src_mask, tgt_mask
        embedded = [self.dropout(self._embed(side, ids)) for side, ids in enumerate((src, tgt))]  # [B, L, D]
        states = [
            torch.cat([self._read(self.readers[side], x, masks[side]), x], dim=-1) for side, x in enumerate(embedded)
        ]  # [B, L, 2D]
        first = self._energies(self.first, states) + self.bias[0]  # [B, T, S]
        by_tgt = first.masked_fill(~src_mask[:, None, :], -torch.inf).softmax(dim=2)  # [B, T, S]
        by_src = first.masked_fill(~tgt_mask[:, :, None], -torch.inf).softmax(dim=1).transpose(1, 2)  # [B, S, T]
        contexts = [by_src @ states[1], by_tgt @ states[0]]  # [B, L, 2D]
        corrected = [
            torch.cat([self._read(self.correctors[side], torch.cat([h, c], dim=-1), masks[side]), h], dim=-1)
            for side, (h, c) in enumerate(zip(states, contexts, strict=True))
        ]  # [B, L, 3D]
        return first, first + self._energies(self.second, corrected) + self.bias[1]

    def _embed(self, side: int, ids: Tensor) -> Tensor:
        unknown = self.unknown[side]
        dropped = ids < 0
        if self.training and self.word_dropout:
            dropped = dropped | (torch.rand(ids.shape, device=ids.device) < self.word_dropout)
        return self.embeddings[side](ids.masked_fill(dropped, unknown))  # type: ignore[no-any-return]

    def _read(self, reader: nn.Module, x: Tensor, mask: Tensor) -> Tensor:
        values: Tensor = reader(x, mask, mask.sum(dim=1).cpu()).values
        return self.dropout(values)  # type: ignore[no-any-return]

    def _energies(self, layers: nn.ModuleList, states: list[Tensor]) -> Tensor:
        keys, queries = (layer(state) for layer, state in zip(layers, states, strict=True))
        energies: Tensor = (queries @ keys.transpose(1, 2)) * self.scale  # [B, T, S]
        return energies


def _reader(input_size: int, size: int) -> RNNEncoder:
    return RNNEncoder(
        cell="lstm", input_size=input_size, hidden_size=size // 2, layers=1, bidirectional=True, dropout=0.0
    )
