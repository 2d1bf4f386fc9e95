from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nmt.config import Config
from nmt.data.dataset import PIECE_COLUMNS, piece_rows
from nmt.data.guide import (
    GUIDANCE_COLUMNS,
    GuidanceCounts,
    TargetAlignments,
    check_links,
    guidance_rows,
    project_links,
    words_of_pieces,
)
from nmt.data.prepare import load_corpora
from nmt.data.sampled import sampled_epochs
from nmt.data.tokenizer import Encoded, Tokenizer
from nmt.errors import AlignmentError, ConfigError
from nmt.model.build import build_model
from nmt.training.loss import guided_loss
from nmt.training.trainer import Trainer


def test_links_on_words_become_weights_on_pieces() -> None:
    # source words: two pieces, one piece; target words: one piece, two pieces
    words = np.eye(2, dtype=np.float32)
    weights = project_links({(0, 1), (1, 1), (1, 0)}, words[[0, 0, 1]], words[[0, 1, 1]])
    third = 1 / 3
    np.testing.assert_allclose(weights, [[0, 0, 1], [third, third, third], [third, third, third]], atol=1e-6)
    assert not project_links(set(), words, words[[0]]).any()


def test_a_piece_has_the_links_of_all_its_words() -> None:
    # Each character is a word, and two of them are a piece. The first word of each piece has a link.
    encoded = Encoded("我们 喜欢 中国", [5, 6, 7], list("abc"), [(0, 2), (2, 5), (5, 8)])
    src_words, tgt_words = words_of_pieces(encoded), np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(src_words, np.eye(3).repeat(2, axis=1))
    np.testing.assert_array_equal(project_links({(0, 0), (2, 1), (4, 2)}, src_words, tgt_words), np.eye(3))


def test_pieces_know_their_words() -> None:
    encoded = Encoded("je t'aime !", [5, 6, 7, 8, 9], list("abcde"), [(0, 2), (2, 5), (5, 7), (7, 9), (9, 11)])
    assert [np.flatnonzero(row).tolist() for row in words_of_pieces(encoded)] == [[0], [1], [2], [2], [3]]


def test_the_loss_by_hand() -> None:
    weights = torch.tensor([[[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]])
    guide = torch.tensor([[[0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]])
    expected = -0.5 * (np.log(0.5) + np.log(0.25))
    assert float(guided_loss(weights, guide, "cross_entropy")) == pytest.approx(expected)
    assert float(guided_loss(weights, guide, "squared")) == pytest.approx((0.25**2 + 0.25**2) / 2)


def test_bad_links_are_named_with_their_lines() -> None:
    pairs = [("a cat", "un chat"), ("I", "je"), ("we", "nous")]
    check_links("f", ["0-0 1-1", "0-0", ""], pairs)
    with pytest.raises(AlignmentError, match=r"f, line 2: link 1-0, but the pair has 1 source and 1 target words"):
        check_links("f", ["0-0", "1-0", "0-0"], pairs)
    with pytest.raises(AlignmentError, match=r"f, line 3: 'x' is not a link"):
        check_links("f", ["", "", "x"], pairs)
    for lines in ([""], [""] * 5):
        with pytest.raises(AlignmentError, match=rf"f has {len(lines)} lines, but there are 3 training pairs"):
            check_links("f", lines, pairs)


SAMPLED = {"vocab_size": 120, "sampling": {"enabled": True, "alpha": 0.4}}


def guided_config(make_config: Callable[..., Config], tmp_path: Path, **sections: Any) -> Config:
    (tmp_path / "links").write_text("0-0 1-1\n\n0-0 1-1 1-2\n0-0\n\n\n0-0 1-1\n1-1\n", encoding="utf-8")
    guided = {"enabled": True, "links": "links"}
    return make_config(training={"guided_alignment": guided}, **sections)


@pytest.mark.parametrize("tokenizer_section", [{"vocab_size": 120}, SAMPLED])
def test_every_epochs_pieces_are_guided_to_the_linked_words(
    make_config: Callable[..., Config], tmp_path: Path, tokenizer_section: dict[str, Any]
) -> None:
    config = guided_config(make_config, tmp_path, tokenizer=tokenizer_section)
    corpora = load_corpora(config)
    for corpus in map(sampled_epochs(config, corpora), (0, 1)):
        batch = corpus.batch(range(len(corpus)))
        assert batch.guide is not None
        sums = batch.guide.sum(-1)
        assert ((sums - 1).abs() < 1e-6).logical_or(sums == 0).all()
        row = 0  # "a cat sleeps" / "un chat dort": un looks at a, chat at cat, dort has no link
        pieces = corpora.tokenizer.tgt.decode(batch.tgt_out[row].tolist(), return_type="offset_mapping")
        words = words_of_pieces(Encoded(pieces["text"], [], [], pieces["offsets"])).argmax(axis=1)
        src = corpora.tokenizer.src.decode(batch.src_ids[row].tolist(), return_type="offset_mapping")
        src_words = words_of_pieces(Encoded(src["text"], [], [], src["offsets"])).argmax(axis=1)
        for t in range(int(batch.tgt_mask[row].sum()) - 1):
            on_word = [float(batch.guide[row, t, : len(src_words)][src_words == word].sum()) for word in range(3)]
            expected = [[1, 0, 0], [0, 1, 0], [0, 0, 0]][int(words[t])]
            assert on_word == pytest.approx(expected)
        assert not batch.guide[1].any()


def test_the_links_of_a_corpus_are_between_words(make_config: Callable[..., Config]) -> None:
    guided = {"enabled": True, "level": "tokens"}
    with pytest.raises(ConfigError, match="level is tokens, but the links of a corpus are between words"):
        load_corpora(make_config(data={"train": "builtin:phrasebook"}, training={"guided_alignment": guided}))


def test_a_run_does_not_resume_with_other_links(make_config: Callable[..., Config], tmp_path: Path) -> None:
    known = load_corpora(guided_config(make_config, tmp_path)).fingerprints
    config = guided_config(make_config, tmp_path)
    assert load_corpora(config).changed_since(known) is None
    (tmp_path / "links").write_text("0-1 1-0\n" + "\n" * 7, encoding="utf-8")
    assert load_corpora(config).changed_since(known) == "the word links"
    assert load_corpora(config).changed_since({"data": known["data"]}) is None  # a checkpoint of an earlier version


def test_a_corpus_without_links_says_where_to_name_them(make_config: Callable[..., Config]) -> None:
    config = make_config(training={"guided_alignment": {"enabled": True, "links": "corpus"}})
    with pytest.raises(ConfigError, match=r"links is corpus, but the training corpus comes without links"):
        load_corpora(config)


def test_the_guide_reads_the_rows_it_is_given(tokenizer: Tokenizer, tmp_path: Path) -> None:
    from nmt.data.cache import cached_table

    rows = [
        {"links": links, "src": src, "tgt": "un chat"}
        for links, src in (("", "a cat"), ("0-0", "a cat"), ("0-0", "a\u200bcat"))
    ]
    table = cached_table(tmp_path / "l.arrow", {"links": "string", "src": "string", "tgt": "string"}, rows)
    pieces = cached_table(tmp_path / "p.arrow", PIECE_COLUMNS, piece_rows(table, tokenizer))
    guidance = cached_table(tmp_path / "g.arrow", GUIDANCE_COLUMNS, guidance_rows(table, table, pieces, tokenizer))
    src, tgt = (np.array(encoded.ids) for encoded in (tokenizer.encode_src("a cat"), tokenizer.encode_tgt("un chat")))
    alignments = TargetAlignments(table, guidance, tokenizer)
    assert alignments.counts == GuidanceCounts(guided=1, no_links=1, words_changed=1)
    guide = alignments.batch([1, 0, 2], [src] * 3, [tgt] * 3, (len(tgt) + 1, len(src)))
    assert guide[0, 0].sum() == pytest.approx(1.0)
    assert not guide[0, -1].any()  # EOS
    later = TargetAlignments(table, guidance, tokenizer, step="input").batch([1], [src], [tgt], guide.shape[1:])
    np.testing.assert_array_equal(later[0, 1:], guide[0, :-1])  # each row one step later, where the word is the input
    assert not later[0, 0].any()  # BOS
    assert not guide[1].any()
    assert not guide[2].any()  # its pieces spell other words than its text, so its links have no place


def test_a_guided_model_looks_where_it_is_told(make_config: Callable[..., Config], tmp_path: Path) -> None:
    def distance(weight: float) -> float:
        (tmp_path / "links").write_text("0-0 1-1\n\n0-0 1-1 1-2\n0-0\n\n\n0-0 1-1\n1-1\n", encoding="utf-8")
        guided = {"enabled": True, "links": "links", "weight": weight}
        config = make_config(training={"epochs": 40, "optimizer": {"lr": 0.01}, "guided_alignment": guided})
        corpora = load_corpora(config)
        torch.manual_seed(1)
        model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size)
        device, guided_by = torch.device("cpu"), config.guided_loss
        trainer = Trainer(config.training, 1, model, device, torch.float32, lambda epoch: corpora.train, guided_by)
        list(trainer.updates())
        batch = corpora.train.batch(range(len(corpora.train)))
        _, weights = model.eval()(batch)
        assert batch.guide is not None
        return float(guided_loss(weights.detach(), batch.guide, "squared") / batch.guide.sum())

    assert distance(1.0) < 0.3 * distance(1e-6)


@pytest.mark.parametrize("gap", [1.0, 20.0, 60.0])
def test_cross_entropy_pulls_hardest_where_attention_is_most_wrong(gap: float) -> None:
    energies = torch.tensor([[[0.0, gap]]], requires_grad=True)
    guided_loss(energies.softmax(dim=-1), torch.tensor([[[1.0, 0.0]]]), "cross_entropy").backward()  # type: ignore[no-untyped-call]
    assert energies.grad is not None
    wrong = float(torch.tensor(gap).sigmoid())
    assert energies.grad.flatten().tolist() == pytest.approx([-wrong, wrong], abs=1e-3)
