"""Parts of models that a whole model's invariants do not show: first values, dropout, norms, limits."""

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nmt.config import Config, DecodingConfig
from nmt.data.batching import batch_of
from nmt.data.tokenizer import EOS, UNK, Encoded, Tokenizer
from nmt.decoding.safeguards import CutLines, UnknownPieces, limited
from nmt.decoding.search import _cut
from nmt.decoding.translator import Translator
from nmt.errors import ConfigError, DataError
from nmt.model import allocate
from nmt.model.build import build_model
from nmt.model.link_network import LinkNetwork
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


def test_a_text_of_unknown_pieces_is_unknown_to_a_hundred_per_cent(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="nmt"):
        UnknownPieces().look_at([encoded([UNK] * 4)], 1)
    assert "does not know 100 % of" in caplog.records[0].getMessage()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_recurrent_matrices_of_each_gate_begin_orthogonal(make_config: Callable[..., Config], cell: str) -> None:
    config = make_config(model={"encoder": {"hidden_size": 8, "cell": cell}, "decoder": {"cell": cell}})
    found = 0
    for name, parameter in build_model(config, 50, 50).named_parameters():
        if "weight_hh" in name:
            width = parameter.shape[1]
            for gate in parameter.detach().split(width):
                torch.testing.assert_close(gate @ gate.T, torch.eye(width), atol=1e-5, rtol=0)
                found += 1
    assert found == 3 * (3 if cell == "gru" else 4)  # two directions and the decoder


@pytest.mark.parametrize(
    ("error", "reason"),
    [(MemoryError(), "(MemoryError)"), (RuntimeError("too large\nwhere it happened"), "(too large)")],
)
def test_sizes_that_cannot_be_are_refused_with_the_first_line_of_the_reason(
    monkeypatch: pytest.MonkeyPatch, make_config: Callable[..., Config], error: Exception, reason: str
) -> None:
    def fail(*_: object) -> Seq2Seq:
        raise error

    monkeypatch.setattr(allocate, "build_model", fail)
    with pytest.raises(ConfigError, match=re.escape(reason)):
        allocate.allocate_model(make_config(), 50, 50)


def test_a_fixed_vector_has_contexts_and_weights_without_width(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model(attention={"score": "none"})
    memory = model.encode(batch_of([([5, 6, 7], []), ([8], [])]))
    log_probs, weights, _ = model.step(torch.tensor([2, 2]), model.start(memory), memory)
    assert weights.shape == (2, 0)
    assert log_probs.shape == (2, 120)


def test_most_cells_are_no_links_before_training() -> None:
    network = LinkNetwork(9, 9, 16).eval()
    for layer in network.first:
        nn.init.zeros_(layer.weight)
        nn.init.ones_(layer.bias)
    masks = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    first, _ = network(torch.tensor([[1, 2, 3]]), masks[0], torch.tensor([[4, 5]]), masks[1])
    # Queries and keys of ones: an energy of 16 products, times 4 / sqrt(16), and the logit of a rare link.
    torch.testing.assert_close(first, torch.full((1, 2, 3), 16.0 - 2.5))


def test_only_the_likeliest_pieces_can_be_drawn() -> None:
    log_probs = torch.tensor([[0.1, 0.4, 0.2, 0.05, 0.25], [0.5, 0.3, 0.1, 0.06, 0.04]]).log()
    kept = {
        (k, p): [set(row.isfinite().nonzero()[:, 0].tolist()) for row in _cut(log_probs, k, p)]
        for k, p in ((0, 1.0), (1, 1.0), (3, 1.0), (9, 1.0), (0, 0.5), (0, 0.8), (2, 0.99))
    }
    every = set(range(5))
    assert kept[0, 1.0] == kept[9, 1.0] == [every, every]
    assert kept[1, 1.0] == [{1}, {0}]
    assert kept[3, 1.0] == [{1, 4, 2}, {0, 1, 2}]
    assert kept[0, 0.5] == [{1, 4}, {0}]
    assert kept[0, 0.8] == [{1, 4, 2}, {0, 1, 2}]
    assert kept[2, 0.99] == [{1, 4}, {0, 1}]


@pytest.mark.parametrize(("bias", "expected"), [(-1e9, (2.0, 7)), (1e9, (0.5, 0))])
@pytest.mark.parametrize("beam", [1, 3])
def test_a_translation_has_the_bounds_that_its_source_gives(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer, bias: float, expected: tuple[float, int], beam: int
) -> None:
    model = make_model(len(tokenizer.tgt_pieces))
    with torch.no_grad():
        model.output.bias[EOS] = bias
    settings = DecodingConfig(beam_size=beam, max_length_ratio=2.0, max_length_extra=7, min_length_ratio=0.5)
    translator = Translator(model, tokenizer, settings, torch.device("cpu"))
    lines = ["a cat sleeps", "two big dogs eat the black cat"]
    ratio, extra = expected
    for line, found in zip(lines, translator.translate(lines), strict=True):
        assert len(found.tgt.ids) + 1 >= int(ratio * len(tokenizer.encode_src(line).ids)) + extra
        assert len(found.tgt.ids) <= 2 * len(tokenizer.encode_src(line).ids) + 7


def test_the_unknown_piece_is_copied_from_the_source_only_where_that_is_asked(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    model = make_model(len(tokenizer.tgt_pieces))
    with torch.no_grad():
        model.output.bias[UNK] = 1e9
    texts = {}
    for unk in ("keep", "forbid", "replace"):
        settings = DecodingConfig(beam_size=1, unk=unk, max_length_ratio=0.0, max_length_extra=3)
        [found] = Translator(model, tokenizer, settings, torch.device("cpu")).translate(["cat"])
        assert (UNK in found.tgt.ids) == (unk != "forbid")
        texts[unk] = found.tgt.text
    assert "\u2047" in texts["keep"]
    assert "\u2047" not in texts["replace"]
    assert "cat" in texts["replace"]


def test_samples_differ_by_line_and_number_and_are_the_same_again(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    model = make_model(len(tokenizer.tgt_pieces))
    settings = DecodingConfig.model_validate({"sampling": {"enabled": True, "seed": 3}, "max_length_ratio": 1.0})
    translator = Translator(model, tokenizer, settings, torch.device("cpu"))
    [first, second] = translator.translate(["I love you", "I love you"], n_best=3)
    [again] = translator.translate(["I love you"], first_line=2, n_best=3)
    of_first, of_second, of_again = ([one.tgt.text for one in (best, *best.others)] for best in (first, second, again))
    assert of_second == of_again
    assert of_first != of_second
    assert len(set(of_first)) == 3
    scores = [one.score for one in (first, *first.others)]
    assert scores == sorted(scores, reverse=True)


def test_the_parts_of_an_empty_line_cost_nothing_and_say_nothing(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    translator = Translator(make_model(len(tokenizer.tgt_pieces)), tokenizer, DecodingConfig(), torch.device("cpu"))
    empty, full = translator.translate(["", "I love you"])
    assert (empty.tgt.text, empty.log_prob, empty.token_log_probs, empty.proven) == ("", 0.0, [0.0], False)
    assert full.log_prob < 0
    nothing, something = translator.force([("", ""), ("", "je")])
    assert nothing.log_prob == 0.0
    assert something.log_prob == -torch.inf


def test_a_given_translation_may_be_as_long_as_the_limit_and_no_longer(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    target = "le chat noir"
    length = len(tokenizer.encode_tgt(target).ids)
    model = make_model(len(tokenizer.tgt_pieces))
    for limit in (length, length - 1):
        translator = Translator(model, tokenizer, DecodingConfig(max_tgt_length=limit), torch.device("cpu"))
        if limit == length:
            assert len(translator.force([("a cat", target)])[0].tgt.ids) == length
        else:
            with pytest.raises(DataError, match=f"line 4 of the target has {length} pieces"):
                translator.force([("a cat", target)], first_line=4)
