"""Phrases that a translation must or must not have."""

import gc
import itertools
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from nmt.config import DecodingConfig, TokenizerConfig
from nmt.data.tokenizer import SPACE, Encoded, Tokenizer
from nmt.data.tokenizer_training import train_tokenizer
from nmt.decoding.beam import beam_search
from nmt.decoding.constrained import RequiredPhrases, constrained_beam_search
from nmt.decoding.phrases import (
    PhraseConstraint,
    Vocabulary,
    count_phrase,
    ends_inside_a_character,
    find_phrase,
    phrase_constraints,
    takes_no_space,
)
from nmt.decoding.request import JsonLine, Request, constraint_pieces
from nmt.decoding.rules import Rules, Scoring
from nmt.decoding.translator import Translator
from nmt.errors import DataError
from nmt.model.seq2seq import Seq2Seq
from tests.toy_model import LIMIT, ToyModel, toy_memory

TOY_PIECES = ["<p>", "▁u", "<s>", "</s>", "▁a", "▁b", "▁c"]


class ToyTokenizer(Tokenizer):
    """Words of one letter; each is a piece."""

    joint, src_size, tgt_size = True, 7, 7
    fingerprint = ""

    def encode_src(self, text: str) -> Encoded:
        ids = [TOY_PIECES.index(SPACE + word) for word in text.split()]
        return Encoded(text, ids, [TOY_PIECES[i] for i in ids], [(2 * i - (i > 0), 2 * i + 1) for i in range(len(ids))])

    encode_tgt = encode_src

    def decode_src(self, ids: Sequence[int]) -> Encoded:
        return self.encode_src(" ".join(TOY_PIECES[i].removeprefix(SPACE) for i in ids))

    decode_tgt = decode_src

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    def _tgt_piece(self, piece: int) -> str:
        return TOY_PIECES[piece]


TOY = ToyTokenizer()
VOCABULARY = Vocabulary(TOY.tgt_pieces)


def has(ids: Sequence[int], phrase: str) -> bool:
    return find_phrase(VOCABULARY.text(ids), phrase) is not None


@pytest.mark.parametrize("phrases", [[["a"]], [["b", "c"]], [["a b"]], [["a"], ["c"]], [["a"], ["a"]], [["a a b"]]])
@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_translations_with_the_phrases(
    phrases: list[list[str]], alpha: float
) -> None:
    for seed in range(6):
        model = ToyModel(seed)
        required = [RequiredPhrases(phrases, TOY, VOCABULARY) for _ in range(2)]
        found = constrained_beam_search(
            model, toy_memory([0, 1]), 4**LIMIT, Rules.of([LIMIT, LIMIT]), Scoring(alpha), required
        )
        for name, hypotheses in enumerate(found):
            allowed = [
                (score, ids)
                for score, _, ids in model.every_sequence(name, alpha, LIMIT)
                if all(one.satisfied for one in phrase_constraints(VOCABULARY.text(ids), phrases, []))
            ]
            assert hypotheses[0].ids == allowed[0][1]
            assert hypotheses[0].score == pytest.approx(allowed[0][0], abs=1e-5)
            assert hypotheses[0].missing == 0
            assert hypotheses[0].proven


@pytest.mark.parametrize("beam", [1, 2, 5])
def test_every_phrase_is_there_with_any_beam(beam: int) -> None:
    phrases = [["c b"], ["a"], ["c"]]
    for seed in range(20):
        required = [RequiredPhrases(phrases[: 1 + name], TOY, VOCABULARY) for name in range(3)]
        found = constrained_beam_search(
            ToyModel(seed), toy_memory([0, 1, 2]), beam, Rules.of([8, 9, 10]), Scoring(1.0), required
        )
        for name, hypotheses in enumerate(found):
            assert all(has(hypotheses[0].ids, each[0]) for each in phrases[: 1 + name])
            alone = constrained_beam_search(
                ToyModel(seed), toy_memory([name]), beam, Rules.of([8 + name]), Scoring(1.0), [required[name]]
            )
            assert alone[0][0].ids == hypotheses[0].ids


def test_without_room_for_all_phrases_the_translation_with_most_of_them_is_found() -> None:
    required = [RequiredPhrases([["a b c"], ["b"]], TOY, VOCABULARY)]
    found = constrained_beam_search(ToyModel(1), toy_memory([0]), 3, Rules.of([3]), Scoring(), required)[0][0]
    assert found.missing == 1
    assert has(found.ids, "b")


def test_a_forbidden_phrase_is_never_generated_and_nothing_else_changes() -> None:
    changed = 0
    for seed in range(20):
        model, memory = ToyModel(seed), toy_memory([0, 1])
        rules = Rules.of([LIMIT, LIMIT], forbid=[["a b", "c"], []], vocabulary=VOCABULARY)
        found = beam_search(model, memory, 4**LIMIT, rules, Scoring(1.0))
        free = beam_search(model, memory, 4**LIMIT, Rules.of([LIMIT, LIMIT]), Scoring(1.0))
        every = [ids for _, _, ids in model.every_sequence(0, 1.0, LIMIT)]
        allowed = [ids for ids in every if not has(ids, "a b") and not has(ids, "c")]
        assert found[0][0].ids == allowed[0]
        assert found[1][0].ids == free[1][0].ids
        changed += found[0][0].ids != free[0][0].ids
    assert changed


def test_phrases_are_whole_words() -> None:
    assert find_phrase("das Haus.", "Haus") == (4, 8)
    assert find_phrase("die Haustür ist im Haus", "Haus") == (19, 23)
    assert find_phrase("die Häuser", "Haus") is None
    assert find_phrase("j'aime", "aime") == (2, 6)
    assert find_phrase("わたしは猫です", "猫") == (4, 5)
    assert count_phrase("a b a b a", "a b") == 2
    assert takes_no_space("l'", "homme")
    assert takes_no_space("わたしは", "猫")
    assert takes_no_space("これは、", "カメラ")
    assert takes_no_space("新しい", "カメラ")
    assert takes_no_space("他说：「", "iPhone")
    assert not takes_no_space("un", "homme")
    assert not takes_no_space("un.", "homme")


def test_alternatives_and_repeated_phrases_are_told_apart() -> None:
    asked = phrase_constraints(
        "ein Haus, zwei Häuser", [["Haus", "Häuser"], ["Haus", "Häuser"], ["drei"]], ["zwei", "vier"]
    )
    assert [(one.span, one.satisfied) for one in asked] == [
        ((4, 8), True),
        ((15, 21), True),
        (None, False),
        ((10, 14), False),
        (None, True),
    ]
    assert asked[0] == PhraseConstraint("Haus|Häuser", True, (4, 8))


def test_every_way_to_spell_a_forbidden_phrase_is_found() -> None:
    pieces = ["▁Haus", "▁Ha", "us", "▁", "H", "aus", "tür", "▁Haustür", ".", "us.", "▁l'Haus", "s", "▁Haus."]
    vocabulary = Vocabulary(pieces)

    def forbidden(text: str) -> set[str]:
        return {pieces[piece] for piece in vocabulary.completing(text, "Haus")}

    everywhere = {"▁l'Haus", "▁Haus", "▁Haus."}
    assert forbidden("") >= {"▁Haus", "▁Haus.", "▁l'Haus"}
    assert forbidden("das") == everywhere
    assert forbidden("das Ha") == everywhere | {"us", "us."}
    assert forbidden("das H") == everywhere | {"aus"}
    assert forbidden("dasHa") == everywhere
    for spelled in itertools.product(range(len(pieces)), repeat=3):
        for done in range(1, 3):
            text, longer = vocabulary.text(spelled[:done]), vocabulary.text(spelled[: done + 1])
            is_completed = count_phrase(longer, "Haus") > count_phrase(text, "Haus")
            if is_completed:
                assert pieces[spelled[done]] in forbidden(text), (text, longer)


BYTES = ["<p>", "<unk>", "<s>", "</s>", "▁a", "▁", "<0xE6>", "<0x97>", "<0xA5>", "<0x41>", "b"]


def test_the_bytes_of_a_character_spell_it() -> None:
    vocabulary = Vocabulary(BYTES)
    assert vocabulary.text([4, 5, 6, 7, 8, 9]) == " a 日A"
    assert not ends_inside_a_character(" a")
    half = vocabulary.text([4, 6, 7])
    assert ends_inside_a_character(half)
    assert vocabulary.joined(half, 8) == " a日"
    assert vocabulary.completing(" a", "日") == set()
    assert vocabulary.completing(half, "日") == {8}
    assert vocabulary.completing(half, "日本") == set()
    assert vocabulary.completing(vocabulary.text([4, 5]), "A") == {9}
    assert vocabulary.completing(vocabulary.text([4]), "A") == set()  # it would be one word with what is before
    assert vocabulary.completing(vocabulary.text([4, 6, 7, 8]), "日b") == {10}


def test_phrases_in_bytes_are_required_and_forbidden() -> None:
    texts = ["le chat dort", "un chien noir"]
    config = TokenizerConfig(vocab_size=290, byte_fallback=True)
    tokenizer = train_tokenizer(config, lambda: [(text, text) for text in texts])
    vocabulary = Vocabulary(tokenizer.tgt_pieces)
    required = RequiredPhrases([["日"], ["日本 chat"]], tokenizer, vocabulary)
    progress = required.start()
    for piece in tokenizer.encode_tgt("le 日").ids:
        assert progress.missing == 2
        progress = required.after(progress, piece)
    assert progress.met == (True, False)
    while progress.missing:  # the last pieces have begun the other phrase
        left, _ = max(progress.begun, key=lambda begun: begun[1])
        assert left[0] in required.next_pieces(progress)
        progress = required.after(progress, left[0])
    assert progress.text == " le 日本 chat"
    *before, last = tokenizer.encode_tgt("le 日").ids
    assert vocabulary.completing(vocabulary.text(before), "日") == {last}


def test_requests_that_the_model_cannot_write_are_refused(tokenizer: Tokenizer) -> None:
    def pieces(request: Request, longest: int = 50) -> object:
        return constraint_pieces(request, 3, tokenizer, longest, None)

    with pytest.raises(
        DataError, match="line 3: the required phrase contains '漢', which is not in the model's vocabulary"
    ):
        pieces(Request("a cat", require=("漢",)))
    with pytest.raises(DataError, match="line 3: a required phrase is empty"):
        pieces(Request("a cat", require=("| ",)))
    with pytest.raises(DataError, match="line 3: a forbidden phrase is empty"):
        pieces(Request("a cat", forbid=(" ",)))
    with pytest.raises(DataError, match="line 3: a forbidden phrase is empty, as the tokenizer normalises it"):
        pieces(Request("a cat", forbid=("\u200b",)))
    with pytest.raises(DataError, match=r"line 3: the required phrases have \d+ pieces, more than"):
        pieces(Request("a cat", require=("un chat noir", "elle")), 3)


def test_a_translator_keeps_to_what_is_asked(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    for seed in range(3):
        torch.manual_seed(seed)
        settings = DecodingConfig(beam_size=2, max_length_ratio=1.0, batch_size=2)
        translator = Translator(make_model(), tokenizer, settings, torch.device("cpu"))
        free = translator.translate(["a cat", "she sings"])
        asked = [
            Request("a cat", require=("chat noir", "je|tu")),
            "she sings",
            Request("I love you", require=("aime",), prefix="elle "),
            Request("a cat", forbid=tuple(dict.fromkeys(free[0].words()))),
        ]
        found = translator.translate(asked)
        assert all(phrase.satisfied for one in found for phrase in one.phrases)
        assert [len(one.phrases) for one in found[:3]] == [2, 0, 1]
        assert find_phrase(found[0].text, "chat noir") == found[0].phrases[0].span
        assert found[1].text == free[1].text
        assert found[2].text.startswith("elle ")
        for request, one in zip(asked, found, strict=True):
            assert translator.translate([request])[0].text == one.text
        sampling = settings.model_copy(update={"sampling": settings.sampling.model_copy(update={"enabled": True})})
        with pytest.raises(DataError, match="required phrases need search"):
            Translator(translator.model, tokenizer, sampling, torch.device("cpu")).translate(asked)


def test_what_is_required_and_forbidden_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="line 2: 'chat noir' is required, but it contains a forbidden phrase"):
        constraint_pieces(Request("a cat", require=("chat noir",), forbid=("noir",)), 2, tokenizer, 50, None)
    found = constraint_pieces(Request("a cat", require=("chat|chien",), forbid=("chat|elle",)), 2, tokenizer, 50, None)
    assert (found.require, found.forbid) == ([["chien"]], ["chat", "elle"])


def test_nothing_is_satisfied_in_an_empty_line(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    translator = Translator(make_model(), tokenizer, DecodingConfig(), torch.device("cpu"))
    [empty] = translator.translate([Request("", require=("chat",), forbid=("elle",))])
    assert [(one.phrase, one.satisfied) for one in empty.phrases] == [("chat", False), ("elle", True)]


def test_a_json_lines_own_prefix_counts_even_if_it_is_empty() -> None:
    assert JsonLine.read('{"src": "a"}', 1, "le ").prefix == "le "
    assert JsonLine.read('{"src": "a", "prefix": ""}', 1, "le ").prefix == ""
    assert JsonLine.read('{"src": "a", "prefix": "la "}', 1, "le ").prefix == "la "


def test_a_json_line_is_a_request() -> None:
    given = '{"src": "a dog", "id": 7, "prefix": "Ein", "require": ["Hund"], "forbid": ["Katze"]}'
    assert JsonLine.read(given, 1) == Request("a dog", "Ein", ("Hund",), ("Katze",), id=7)
    for text in ("", "a dog", "[]", '{"text": "a dog"}', '{"src": "a dog", "must": []}', '{"src": 3}'):
        with pytest.raises(DataError, match=r"line 9: .*a line of --jsonl is a JSON object with src"):
            JsonLine.read(text, 9)


def test_a_vocabulary_is_freed_with_its_model() -> None:
    vocabulary = Vocabulary(["▁a", "b"])
    vocabulary._beginning("a"), vocabulary._containing("b")
    freed = weakref.ref(vocabulary)
    del vocabulary
    gc.collect()
    assert freed() is None
