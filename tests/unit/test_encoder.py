"""Sentences of one length together, or packed: the same memory and the same gradients."""

from typing import Literal

import pytest
import torch
from torch import Tensor, nn

from nmt.model.dropout import Dropout
from nmt.model.rnn import cells
from nmt.model.rnn import encoder as encoder_module
from nmt.model.rnn.encoder import RNNEncoder


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("lengths", [[4, 4, 4], [2, 5, 1, 5, 2]])
def test_an_lstm_run_length_by_length_is_the_packed_one(
    monkeypatch: pytest.MonkeyPatch, lengths: list[int], bidirectional: bool, residual: bool
) -> None:
    torch.manual_seed(1)
    encoder = RNNEncoder(
        cell="lstm",
        input_size=6,
        hidden_size=4,
        layers=2,
        bidirectional=bidirectional,
        dropout=0.0,
        residual=residual,
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


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_on_apples_gpu_no_cell_needs_packing(cell: Literal["lstm", "gru"]) -> None:
    encoder = RNNEncoder(cell=cell, input_size=6, hidden_size=4, layers=2, bidirectional=True, dropout=0.0)
    embedded, lengths = torch.randn(7, 6, 6), torch.tensor([3, 1, 2, 6, 3, 4, 5])
    found, counts = torch.unique(lengths, return_counts=True)
    values, last = encoder._by_length(encoder._run(), embedded, lengths, found, counts)
    expected, expected_last = encoder._packed(encoder._run(), embedded, lengths)
    torch.testing.assert_close(values, expected)
    torch.testing.assert_close(last, expected_last)


def test_an_lstm_runs_under_autocast_without_instructions_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "_cpu_has_bfloat16", lambda: False)
    encoder = RNNEncoder(cell="lstm", input_size=6, hidden_size=4, layers=2, bidirectional=True, dropout=0.0)
    embedded, lengths = torch.randn(6, 6, 6), torch.tensor([1, 2, 3, 4, 5, 6])  # as many lengths as are packed
    mask = torch.arange(6) < lengths[:, None]
    expected = encoder(embedded, mask, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = encoder(embedded.bfloat16(), mask, lengths)
    assert ours.values.dtype == torch.float32
    torch.testing.assert_close(ours.values, expected.values, atol=0.02, rtol=0.0)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_gpu_runs_rnns_in_float32_instead_of_the_float16_of_autocast(
    monkeypatch: pytest.MonkeyPatch, kind: type[nn.RNNBase]
) -> None:
    layer = kind(3, 4)
    assert not cells._needs_float32(layer, "cuda")
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    for dtype, wanted in ((torch.bfloat16, True), (torch.float16, False)):
        monkeypatch.setattr(torch, "get_autocast_dtype", lambda device, chosen=dtype: chosen)
        assert cells._needs_float32(layer, "cuda") == wanted
    assert not cells._needs_float32(layer, "cpu")


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_layer_that_needs_float32_takes_its_states_along(
    monkeypatch: pytest.MonkeyPatch, kind: type[nn.RNNBase]
) -> None:
    monkeypatch.setattr(cells, "_needs_float32", lambda layer, device: True)
    layer, inputs, state = kind(3, 4), torch.randn(5, 2, 3), torch.randn(1, 2, 4)
    states = (state, 2 * state) if kind is nn.LSTM else state
    expected, _ = layer(inputs, states)
    low = tuple(part.bfloat16() for part in states) if isinstance(states, tuple) else states.bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, _ = cells.layer_function(layer, Dropout(0.0))(inputs.bfloat16(), low)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, expected, atol=0.02, rtol=0.0)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_with_residual_connections_the_layers_outputs_add_up(cell: Literal["lstm", "gru"]) -> None:
    torch.manual_seed(2)
    encoder = RNNEncoder(
        cell=cell, input_size=6, hidden_size=4, layers=3, bidirectional=True, dropout=0.0, residual=True
    )
    embedded = torch.randn(1, 5, 6)
    memory = encoder(embedded, torch.ones(1, 5, dtype=torch.bool), torch.tensor([5]))
    first, second, third = encoder.rnn, *encoder.residual_layers
    outputs, last = first(embedded)
    states = [last]
    for layer in (second, third):
        more, last = layer(outputs)
        outputs = outputs + more
        states.append(last)
    torch.testing.assert_close(memory.values, outputs)
    for index, state in enumerate(states):
        hidden = state[0] if cell == "lstm" else state  # [2 directions, 1, H]
        torch.testing.assert_close(memory.hidden[index], hidden.transpose(0, 1).flatten(1))
