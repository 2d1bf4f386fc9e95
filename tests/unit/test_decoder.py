import contextlib
import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from nmt.config import AttentionScore
from nmt.data.batching import Batch, batch_of
from nmt.model.dropout import Dropout
from nmt.model.rnn.cells import gru_cell, lstm_cell
from nmt.model.seq2seq import Seq2Seq, switch_words
from tests.variants import MODELS

MakeModel = Callable[..., Seq2Seq]
BATCH = batch_of([([5, 6, 7, 8, 9], [10, 11, 12]), ([13, 14], [15, 16, 17, 18]), ([19], [])])
SCORES = sorted(get_args(AttentionScore))
WIRINGS = list(itertools.product(SCORES, ["bahdanau", "luong"], [True, False]))


def repeated_steps(model: Seq2Seq, batch: Batch) -> tuple[Tensor, Tensor]:
    memory = model.encode(batch)
    state = model.start(memory)
    features, weights = [], []
    for t in range(batch.tgt_in.shape[1]):
        feature, weight, state = model.decoder.step(batch.tgt_in[:, t], state, memory)
        features.append(feature)
        weights.append(weight)
    return torch.stack(features, 1), memory.on_source(torch.stack(weights, 1))


@pytest.mark.parametrize(("score", "wiring", "feeding"), WIRINGS)
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_unroll_is_repeated_step(make_model: MakeModel, score: str, wiring: str, feeding: bool, cell: str) -> None:
    decoder = {"wiring": wiring, "input_feeding": feeding, "cell": cell, "layers": 2}
    model = make_model(attention={"score": score}, decoder=decoder, encoder={"cell": cell}).double()
    features, weights = model(BATCH)
    expected_features, expected_weights = repeated_steps(model, BATCH)
    torch.testing.assert_close(features, expected_features, atol=1e-10, rtol=1e-9)
    torch.testing.assert_close(weights, expected_weights, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("name", MODELS)
def test_unroll_is_repeated_step_for_every_model(make_model: MakeModel, name: str) -> None:
    model = make_model(**MODELS[name]).double()
    features, weights = model(BATCH)
    expected_features, expected_weights = repeated_steps(model, BATCH)
    torch.testing.assert_close(features, expected_features, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(weights, expected_weights, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert not weights.masked_select(~BATCH.src_mask[:, None].expand_as(weights)).any()


@pytest.mark.parametrize("name", MODELS)
def test_a_sentence_does_not_see_its_batch(make_model: MakeModel, name: str) -> None:
    model = make_model(**MODELS[name])
    together, weights = model(BATCH)
    pairs = [([5, 6, 7, 8, 9], [10, 11, 12]), ([13, 14], [15, 16, 17, 18]), ([19], [])]
    for row, pair in enumerate(pairs):
        alone, alone_weights = model(batch_of([pair]))
        steps, columns = alone_weights.shape[1:]
        torch.testing.assert_close(together[row, :steps], alone[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(weights[row, :steps, :columns], alone_weights[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_beams_share_one_memory(make_model: MakeModel, name: str) -> None:
    model = make_model(**MODELS[name])
    memory = model.encode(BATCH)
    state = model.start(memory)
    first = torch.tensor([4, 5, 6, 7, 8, 9])
    doubled = torch.tensor([0, 0, 1, 1, 2, 2])
    _, _, beams = model.step(first, state.select(doubled), memory)
    second = torch.tensor([7, 4, 9, 6, 5, 8])
    log_probs, weights, _ = model.step(second, beams, memory)
    for k in (0, 1):
        _, _, one = model.step(first[k::2], state, memory)
        expected, expected_weights, _ = model.step(second[k::2], one, memory)
        torch.testing.assert_close(log_probs[k::2], expected, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(weights[k::2], expected_weights, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODELS if not {"hard", "boxcar"} & set(name.split())])
def test_bfloat16_is_float32_to_its_rounding(make_model: MakeModel, name: str) -> None:
    model = make_model(**MODELS[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)  # milder energies: rounding moves the sharpest rows too far to compare
        features, weights = model(BATCH)
        with torch.autocast("cpu", torch.bfloat16):
            rough, rough_weights = model(BATCH)
    assert rough_weights.dtype == torch.float32
    torch.testing.assert_close(rough_weights.sum(-1), torch.ones_like(rough_weights[..., 0]), atol=1e-3, rtol=0)
    spread = float(features.std())
    assert float((rough - features).abs().mean()) < 0.1 * spread
    assert float((rough_weights - weights).abs().mean()) < 0.03


def test_wirings_feedings_and_scores_differ(make_model: MakeModel) -> None:
    results = []
    for score, wiring, feeding in WIRINGS:
        features, _ = make_model(attention={"score": score}, decoder={"wiring": wiring, "input_feeding": feeding})(
            BATCH
        )
        results.append(features)
    for a, b in itertools.combinations(results, 2):
        assert not torch.allclose(a, b, atol=1e-3)


@pytest.mark.parametrize("bridge", ["zero", "last", "mean", "learned"])
@pytest.mark.parametrize(("encoder_cell", "decoder_cell"), list(itertools.product(["lstm", "gru"], repeat=2)))
def test_every_bridge_carries_what_it_says(
    make_model: MakeModel, bridge: str, encoder_cell: str, decoder_cell: str
) -> None:
    model = make_model(bridge=bridge, encoder={"cell": encoder_cell}, decoder={"cell": decoder_cell})
    memory = model.encode(BATCH)
    state = model.start(memory)
    assert [hidden.shape for hidden in state.hidden] == [(3, 16)]
    assert [cell.shape for cell in state.cell] == ([(3, 16)] if decoder_cell == "lstm" else [])
    if bridge == "zero":
        assert not state.hidden[0].any()
    elif bridge == "last":
        # the forward half is the output at the last real token, the backward half the one at the first
        expected = torch.stack(
            [torch.cat([memory.values[b, n - 1, :8], memory.values[b, 0, 8:]]) for b, n in enumerate([5, 2, 1])]
        )
        torch.testing.assert_close(state.hidden[0], expected)
        if encoder_cell == decoder_cell == "lstm":
            assert torch.equal(state.cell[0], memory.cell[0])
    elif bridge == "mean":
        expected = torch.stack([memory.values[b, :n].mean(0) for b, n in enumerate([5, 2, 1])])
        torch.testing.assert_close(state.hidden[0], expected)


def test_a_learned_bridge_is_a_layer_on_the_encoders_last_state(make_model: MakeModel) -> None:
    sizes = {"encoder": {"hidden_size": 8, "layers": 2}, "decoder": {"hidden_size": 16, "layers": 2}}
    model = make_model(bridge="learned", **sizes)
    memory = model.encode(BATCH)
    linear = model.decoder.bridge.linear  # type: ignore[attr-defined]
    both = torch.tanh(memory.hidden[1] @ linear.weight.T + linear.bias)  # [B, 4 x 16]: hidden of 2 layers, cells of 2
    state = model.start(memory)
    for number, part in enumerate([*state.hidden, *state.cell]):
        torch.testing.assert_close(part, both[:, 16 * number : 16 * (number + 1)])


def test_cells_equal_torchs() -> None:
    torch.manual_seed(0)
    x, h, c = torch.randn(3, 4), torch.randn(3, 5), torch.randn(3, 5)
    lstm, gru = nn.LSTMCell(4, 5), nn.GRUCell(4, 5)
    sides = x @ lstm.weight_ih.T + lstm.bias_ih, h @ lstm.weight_hh.T + lstm.bias_hh
    torch.testing.assert_close(lstm_cell(c, *sides), lstm(x, (h, c)))
    mine = gru_cell(x @ gru.weight_ih.T + gru.bias_ih, h @ gru.weight_hh.T + gru.bias_hh, h)
    torch.testing.assert_close(mine, gru(x, h))


def test_gradients_of_the_lstm_cell_are_those_of_differences_and_of_torch() -> None:
    torch.manual_seed(1)
    inputs, recurrent = (torch.randn(3, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    cell = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lstm_cell, (cell, inputs, recurrent, recurrent))
    i, f, g, o = (inputs + recurrent).chunk(4, dim=-1)
    new_cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    plain = (o.sigmoid() * new_cell.tanh()).sum() + 2 * new_cell.sum()
    hidden, found = lstm_cell(cell, inputs, recurrent)
    ours = torch.autograd.grad(hidden.sum() + 2 * found.sum(), (inputs, recurrent, cell))
    torch.testing.assert_close(ours, torch.autograd.grad(plain, (inputs, recurrent, cell)))


@pytest.mark.parametrize(("wiring", "feeding"), [("bahdanau", False), ("luong", True), ("luong", False)])
def test_free_running_feeds_the_models_own_argmax(make_model: MakeModel, wiring: str, feeding: bool) -> None:
    model = make_model(decoder={"wiring": wiring, "input_feeding": feeding})
    features, _ = model(BATCH, teacher_forcing=0.0)
    own = model.project(features).argmax(-1)
    fed = torch.cat([BATCH.tgt_in[:, :1], own[:, :-1]], dim=1)
    expected, _ = model(replace(BATCH, tgt_in=fed))
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


def test_half_teacher_forcing_lies_between_and_gives_gradients(make_model: MakeModel) -> None:
    model = make_model()
    torch.manual_seed(1)
    half, _ = model(BATCH, teacher_forcing=0.5)
    assert not torch.allclose(half, model(BATCH, teacher_forcing=1.0)[0])
    assert not torch.allclose(half, model(BATCH, teacher_forcing=0.0)[0])
    half.sum().backward()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "output" not in name)


@pytest.mark.parametrize("tie", ["none", "src_tgt", "tgt_output", "all"])
def test_tied_embeddings_are_one_parameter(make_model: MakeModel, tie: str) -> None:
    model = make_model(tie_embeddings=tie)
    src, tgt, out = model.src_embedding.weight, model.decoder.embedding.weight, model.output.weight
    assert (src is tgt) == (tie in ("src_tgt", "all"))
    assert (tgt is out) == (tie in ("tgt_output", "all"))
    assert model(BATCH)[0].shape[-1] == (12 if tie in ("tgt_output", "all") else 16)


def test_word_dropout_replaces_real_words_in_training_only(make_model: MakeModel) -> None:
    model = make_model(dropout={"word": 0.5})
    ids: Any = torch.tensor([[2, 0, 1, 3] + [9] * 2000])
    assert torch.equal(model._corrupt(ids, 40), ids)
    dropped = model.train()._corrupt(ids, 40)
    assert dropped[0, :4].tolist() == [2, 0, 1, 3]
    assert 0.4 < float((dropped[0, 4:] == 1).float().mean()) < 0.6


def test_switchout_replaces_as_many_words_as_its_temperature_says_by_any_others(make_model: MakeModel) -> None:
    torch.manual_seed(1)
    sentence, size, temperature = [2, 7, 8, 9, 3, 0, 1], 1000, 1.5
    ids: Any = torch.tensor([sentence] * 20_000)
    switched = switch_words(ids, size, temperature)
    changed = switched != ids
    assert not changed[:, [0, 4, 5, 6]].any(), "special pieces stay"
    chances = [math.exp(-k / temperature) for k in range(4)]
    expected = sum(k * chance for k, chance in enumerate(chances)) / sum(chances)
    assert float(changed.sum(1).float().mean()) == pytest.approx(expected, rel=0.03)
    drawn = switched[changed]
    assert (int(drawn.min()), int(drawn.max())) == (4, size - 1)
    assert float(drawn.float().mean()) == pytest.approx((4 + size - 1) / 2, rel=0.03)
    model = make_model(dropout={"switchout": 2.0})
    assert torch.equal(model._corrupt(ids, size), ids)
    assert (model.train()._corrupt(ids, size) != ids).any()


class Half(Dropout):
    """Halves what it is given in training, in the place of chance."""

    def forward(self, x: Tensor) -> Tensor:
        return x / 2 if self.training else x


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(("wiring", "feeding"), [("luong", False), ("luong", True), ("bahdanau", True)])
@pytest.mark.parametrize("residual", [True, False])
def test_weight_drop_changes_the_recurrent_weights_alone(
    make_model: MakeModel, cell: str, wiring: str, feeding: bool, residual: bool
) -> None:
    layers = {"cell": cell, "layers": 2, "residual": residual}
    model = make_model(
        encoder={"hidden_size": 8, **layers},
        decoder={"hidden_size": 16, "wiring": wiring, "input_feeding": feeding, **layers},
        dropout={"recurrent": 0.5, "embedding": 0.0, "layers": 0.0, "memory": 0.0, "output": 0.0},
    ).double()
    expected = copy.deepcopy(model)
    with torch.no_grad():
        for name, weight in expected.named_parameters():
            if "weight_hh" in name:
                weight /= 2
    for part in (model.encoder, model.decoder):
        part.recurrent_dropout = Half(0.5)  # type: ignore[assignment]
    features, weights = model.train()(BATCH)
    torch.testing.assert_close((features, weights), expected(BATCH))
    features.sum().backward()
    expected(BATCH)[0].sum().backward()
    for (name, ours), theirs in zip(model.named_parameters(), expected.parameters(), strict=True):
        if ours.grad is not None and theirs.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad / 2 if "weight_hh" in name else theirs.grad)


def test_the_cell_state_of_an_lstm_stays_in_float32_under_bfloat16(make_model: Callable[..., Seq2Seq]) -> None:
    batch = batch_of([([5, 6, 7], [8, 9, 10])])
    for model in (make_model(), make_model(bridge="zero")):
        for context, precision in (
            (torch.autocast("cpu", dtype=torch.bfloat16), model),
            (contextlib.nullcontext(), copy.deepcopy(model).to(torch.bfloat16)),
        ):
            with context, torch.no_grad():
                memory = precision.encode(batch)
                state = precision.start(memory)
                _, _, after = precision.step(batch.tgt_in[:, 0], state, memory)
            assert {cell.dtype for cell in (*state.cell, *after.cell)} == {torch.float32}
