"""Words that could come next, in scripts with and without spaces."""

from collections.abc import Callable

import pytest
import torch

from nmt.alignment.words import word_spans
from nmt.config import DecodingConfig, TokenizerConfig
from nmt.data.tokenizer import SPACE
from nmt.data.tokenizer_training import train_tokenizer
from nmt.decoding.phrases import Vocabulary
from nmt.decoding.suggest import next_words
from nmt.decoding.translator import Translator
from nmt.model.seq2seq import Seq2Seq

PIECES = [
    "▁a",
    "a",
    "ai",
    "'",
    "'t",
    "▁'",
    "▁",
    ".",
    ".5",
    "5",
    "-on",
    "漢",
    "漢a",
    "▁漢",
    "の",
    "ッ",
    "ーア",
    "ี",
    "(",
    "see",
]


@pytest.mark.parametrize(
    "text", ["don", "l'", "aujourd'", " je t'", "3", "well-", "漢", "カ", "ท", "don't ", "(", "a.", "elle 漢"]
)
def test_a_word_ends_where_another_begins_with_the_next_piece(text: str) -> None:
    expected = []
    for piece in PIECES:
        following = piece.replace(SPACE, " ")
        begins = {start for start, _ in word_spans(text + following)}
        expected.append(len(text) in begins or following.startswith(" "))
    assert Vocabulary(PIECES).ends_before(text).tolist() == expected


def test_a_word_ends_before_a_zero_width_space() -> None:
    assert Vocabulary(["\u200b", "\u200bក", "a", "'t"]).ends_before("ទៅ").tolist() == [True] * 4
    assert Vocabulary(["\u200f", "\u200fa", "a", "'t"]).ends_before("don").tolist() == [True, False, False, False]


def test_words_without_spaces_follow_a_beginning(make_model: Callable[..., Seq2Seq]) -> None:
    texts = ["我爱你们", "你们爱我", "他爱她", "她不爱他", "我们"]
    config = TokenizerConfig(vocab_size=12, type="char")
    tokenizer = train_tokenizer(config, lambda: [(text, text) for text in texts])
    translator = Translator(make_model(tokenizer.tgt_size), tokenizer, DecodingConfig(), torch.device("cpu"))
    for prefix in ("", "我"):
        found = {each.word: each.probability for each in next_words(translator, "我爱你们", prefix, count=20)}
        assert {"爱", "你", "他", ""} <= set(found)
        assert all(len(word) <= 1 for word in found)
        assert sum(found.values()) <= 1.0
    # After one character, the next one or the end mark ends the word, and nothing else is possible but special pieces.
    scores = {tgt: translator.force([("我爱你们", tgt)])[0].token_log_probs for tgt in ("我爱", "我")}
    assert found["爱"] <= torch.tensor(scores["我爱"][-2]).exp().item() + 1e-6
    assert found[""] == pytest.approx(torch.tensor(scores["我"][-1]).exp().item(), rel=1e-4)
