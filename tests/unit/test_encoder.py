"""Sentences of one length together, or packed: the same memory and the same gradients."""

import pytest
import torch
from torch import Tensor

from nmt.model.rnn import encoder as encoder_module
from nmt.model.rnn.encoder import RNNEncoder


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("lengths", [[4, 4, 4], [2, 5, 1, 5, 2]])
def test_an_lstm_run_length_by_length_is_the_packed_one(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], bidirectional: bool
) -> None:
    torch.manual_seed(1)
    encoder = RNNEncoder(
        cell="lstm", input_size=6, hidden_size=4, layers=2, bidirectional=bidirectional, dropout=0.0
    ).double()
    embedded = torch.randn(len(lengths), max(lengths), 6, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    grouped = []

    def results() -> list[Tensor]:
        memory = encoder(embedded, mask, torch.tensor(lengths))
        total = (memory.values**2).sum() + memory.hidden.sin().sum() + memory.cell.cos().sum()
        return [
            memory.values,
            memory.hidden,
            memory.cell,
            *torch.autograd.grad(total, [embedded, *encoder.parameters()]),
        ]

    by_length = encoder._by_length
    monkeypatch.setattr(encoder, "_by_length", lambda *parts: grouped.append(1) or by_length(*parts))
    ours = results()
    monkeypatch.setattr(encoder_module, "_RUNS_AT_MOST", 0)
    packed = results()
    assert grouped == [1], "the first must be by length, the second packed"
    assert not ours[0][~mask].any()
    for mine, theirs in zip(ours, packed, strict=True):
        torch.testing.assert_close(mine, theirs)
