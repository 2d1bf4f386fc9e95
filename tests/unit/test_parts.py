"""Parts of models that a whole model's invariants do not show: first values, dropout, norms, limits."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nmt.config import Config
from nmt.data.batching import batch_of
from nmt.data.tokenizer import UNK, Encoded
from nmt.decoding.careful import CutLines, UnknownPieces, limited
from nmt.errors import DataError
from nmt.model.build import build_model
from nmt.model.rnn.encoder import RNNEncoder
from nmt.model.seq2seq import Seq2Seq


def encoded(ids: list[int]) -> Encoded:
    text = "abcdefghijklmnopqrstuvwxyz"[: len(ids)]
    return Encoded(text, ids, list(text), [(at, at + 1) for at in range(len(ids))])


def test_the_forget_gates_of_lstms_begin_open_and_no_other_gate_does(make_config: Callable[..., Config]) -> None:
    config = make_config(
        model={"encoder": {"layers": 2, "hidden_size": 8, "cell": "lstm"}, "decoder": {"cell": "lstm"}}
    )
    model = build_model(config, 50, 50)
    biases = {name: bias for name, bias in model.named_parameters() if "bias_ih" in name}
    assert len(biases) >= 5
    for name, bias in biases.items():
        input_gate, forget_gate, candidate, output_gate = bias.detach().chunk(4)
        assert (forget_gate == 1.0).all(), name
        for other in (input_gate, candidate, output_gate):
            assert (other.abs() < 1.0).all(), name


@pytest.mark.parametrize(("layers", "expected"), [(1, 0.0), (2, 0.3), (3, 0.3)])
def test_a_recurrent_encoder_drops_between_its_layers_only(layers: int, expected: float) -> None:
    encoder = RNNEncoder(cell="gru", input_size=6, hidden_size=5, layers=layers, bidirectional=True, dropout=0.3)
    assert encoder.rnn.dropout == expected
    embedded, mask, lengths = torch.randn(2, 4, 6), torch.ones(2, 4, dtype=torch.bool), torch.tensor([4, 4])
    one, two = (encoder.train()(embedded, mask, lengths).values for _ in range(2))
    assert torch.equal(one, two) == (layers == 1)
    one, two = (encoder.eval()(embedded, mask, lengths).values for _ in range(2))
    assert torch.equal(one, two)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_sentences_of_one_length_need_no_packing(cell: Any) -> None:
    encoder = RNNEncoder(cell=cell, input_size=6, hidden_size=5, layers=2, bidirectional=True, dropout=0.0).eval()
    embedded, mask = torch.randn(3, 4, 6), torch.ones(3, 4, dtype=torch.bool)
    packed, plain = encoder(embedded, mask, torch.tensor([4, 4, 4])), encoder.unpadded(embedded, mask)
    for name in ("values", "hidden", "cell"):
        torch.testing.assert_close(getattr(plain, name), getattr(packed, name))


@pytest.mark.parametrize("kind", ["self_attention", "perceiver"])
def test_a_stack_is_normalised_at_its_end_only_if_its_blocks_are_not(
    make_model: Callable[..., Seq2Seq], kind: str
) -> None:
    section = {"type": kind, "layers": 2, "heads": 2, "feed_forward": 20} | (
        {"latents": 3} if kind == "perceiver" else {}
    )
    pre, post = (make_model(encoder=section | {"norm": norm}) for norm in ("pre", "post"))
    assert isinstance(pre.encoder.norm, nn.LayerNorm)
    assert isinstance(post.encoder.norm, nn.Identity)


def test_a_hidden_token_gets_no_weight_and_the_others_share_it(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model()
    memory = model.encode(batch_of([([5, 6, 7, 8], []), ([9, 10], [])]))
    hidden = torch.tensor([[False, True, False, True], [True, False, False, False]])
    without = memory.without(hidden)
    _, weights, _ = model.step(torch.tensor([2, 2]), model.start(without), without)
    assert (weights[hidden] == 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    with pytest.raises(DataError, match="all words of the source are hidden"):
        memory.without(torch.tensor([[True] * 4, [False] * 4]))


def test_no_word_of_a_perceiver_can_be_hidden(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model(encoder={"type": "perceiver", "layers": 1, "heads": 2, "feed_forward": 20, "latents": 3})
    memory = model.encode(batch_of([([5, 6, 7], [])]))
    with pytest.raises(DataError, match="latents belong to no single word"):
        memory.without(torch.tensor([[True, False, False]]))


def test_a_source_is_cut_at_the_limit_and_refused_above_the_positions(caplog: pytest.LogCaptureFixture) -> None:
    source = encoded([5] * 6)
    cut = CutLines()
    assert limited(source, 1, 6, 6, cut) is source
    assert limited(source, 1, 6, None, cut) is source
    assert cut.count == 0
    shorter = limited(source, 1, 5, 5, cut)
    assert (len(shorter.ids), shorter.text, cut.count) == (5, "abcde", 1)
    with pytest.raises(DataError, match="line 1 has 6 pieces, but the model has positions for 5"):
        limited(source, 1, 6, 5, cut)
    with caplog.at_level(logging.WARNING, logger="nmt"):
        for line in range(2, 9):
            limited(source, line, 5, None, cut)
        cut.sum_up()
    assert [record.getMessage()[:6] for record in caplog.records[:5]] == [f"line {line}" for line in range(1, 6)]
    assert caplog.records[5].getMessage() == "and 3 more lines were cut (decoding.max_src_length)"
    assert cut.count == 0


def test_a_text_of_which_much_is_unknown_gets_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    unknown = UnknownPieces()
    with caplog.at_level(logging.WARNING, logger="nmt"):
        unknown.look_at([encoded([5] * 7 + [UNK] * 3)], 1)  # 30 % are not yet too many
        assert not caplog.records
        unknown.look_at([encoded([5] * 6), encoded([UNK] * 4)], 8)
        unknown.look_at([encoded([UNK] * 4)], 20)
    [record] = caplog.records
    assert record.getMessage().startswith(
        "the model does not know 40 % of the text's pieces; line 9 has 'a', 'b', 'c', 'd'."
    )
