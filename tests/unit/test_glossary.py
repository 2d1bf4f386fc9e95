"""Glossaries: which terms a text has, and what its translation must and must not have."""

import logging
from pathlib import Path

import pytest

from nmt.config import TokenizerConfig
from nmt.data.tokenizer import Tokenizer
from nmt.data.tokenizer_training import train_tokenizer
from nmt.decoding.glossary import Glossary
from nmt.decoding.request import Request, constraint_pieces
from nmt.errors import DataError

WIDE = TokenizerConfig(vocab_size=60, character_coverage=1.0)


@pytest.fixture(scope="module")
def german() -> Tokenizer:
    texts = ["Hund Hunde Köter Vieh Würstchen Mensch Hase Katze isst dog man cat abcdefghijklmnopqrstuvwxyz"]
    return train_tokenizer(WIDE, lambda: [(text, text) for text in texts])


def glossary(path: Path, text: str, tokenizer: Tokenizer) -> Glossary:
    path.write_text(text, encoding="utf-8")
    return Glossary.read(path, tokenizer)


def test_a_glossary_asks_for_the_longest_terms_of_a_text(tmp_path: Path, german: Tokenizer) -> None:
    path = tmp_path / "terms.tsv"
    terms = glossary(path, "dog\tHund|Hunde\tKöter|Vieh\nhot dog\tWürstchen\n\nman\t\tMensch\n", german)
    one = terms.applied_to(Request("Dog and man eat.", require=("isst",)))
    assert (one.require, one.forbid) == (("isst", "Hund|Hunde"), ("Köter", "Vieh", "Mensch"))
    assert terms.applied_to(Request("a hot dog")).require == ("Würstchen",)
    for both in ("A hot dog and a dog.", "A dog and a hot dog.", "A hot  ｄｏｇ. Dog!"):
        assert terms.applied_to(Request(both)).require == ("Würstchen", "Hund|Hunde")
    assert terms.applied_to(Request("doggy style")) == Request("doggy style")
    # What is asked for already is not asked for again, and not forbidden.
    assert terms.applied_to(Request("a dog", require=("Hunde",))).require == ("Hunde",)
    assert terms.applied_to(Request("a dog", require=("Köter",))).forbid == ("Vieh",)
    assert terms.applied_to(Request("a dog", require=("zwei Köter",))).forbid == ("Vieh",)
    for text, message in {
        "dog\n": "line 1: 'dog' is not a term",
        "\n": "there are no terms",
        "a\tb\tc\td\n": "line 1",
    }.items():
        with pytest.raises(DataError, match=message):
            glossary(path, text, german)


def test_a_term_that_is_there_twice_has_both_translations(tmp_path: Path, german: Tokenizer) -> None:
    terms = glossary(tmp_path / "t", "dog\tHase\ndog\tKatze\tHund|Hase\n", german)
    assert terms.applied_to(Request("a dog")).require == ("Hase|Katze",)
    assert terms.applied_to(Request("a dog")).forbid == ("Hund",)


def test_terms_do_not_forbid_what_other_terms_require(tmp_path: Path, german: Tokenizer) -> None:
    terms = glossary(tmp_path / "t", "cat\tKatze\tHund|Mensch\ndog\tHund\n", german)
    asked = terms.applied_to(Request("a cat sees a dog"))
    assert (asked.require, asked.forbid) == (("Katze", "Hund"), ("Mensch",))
    constraint_pieces(asked, 1, german, 50, None)


def test_only_phrases_that_cannot_be_written_are_left_out(
    tmp_path: Path, german: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="nmt"):
        terms = glossary(tmp_path / "t", "dog\tHund|日本\ncat\tKatze\t日本|Vieh\nman\t\t日本\n", german)
    assert [(term.source, term.require, term.forbid) for term in terms.terms] == [
        ("dog", ("Hund",), ()),
        ("cat", ("Katze",), ("Vieh",)),
    ]
    assert len(caplog.records) == 1
    assert "line 1: the required phrase contains '日本'" in caplog.text
    assert "this translation is left out" in caplog.text
    with pytest.raises(DataError, match="the model can write none of the 2 terms of this glossary"):
        glossary(tmp_path / "t", "dog\t日本\n\ncat\t\t日本\n", german)


def test_the_request_forbids_before_the_glossary_requires(tmp_path: Path, german: Tokenizer) -> None:
    terms = glossary(tmp_path / "t", "dog\tHund|Hunde\n", german)
    for forbidden, left in (("Hund", ("Hunde",)), ("Hund|Hunde", ()), ("Katze", ("Hund|Hunde",))):
        asked = terms.applied_to(Request("a dog", forbid=(forbidden,)))
        assert (asked.require, asked.forbid) == (left, (forbidden,))
        constraint_pieces(asked, 1, german, 50, None)


def test_a_term_that_cannot_be_written_is_left_out_with_its_line(
    tmp_path: Path, german: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="nmt"):
        terms = glossary(tmp_path / "t", "dog\t日本\ncat\tKatze\nman\tHund\tHund\n", german)
    assert [term.source for term in terms.terms] == ["cat"]
    assert "line 1: the required phrase contains '日本', which is not in the model's vocabulary" in caplog.text
    assert "line 3: 'Hund' is required, but it contains a forbidden phrase; take one of them out" in caplog.text


@pytest.mark.parametrize("lines", [["turkey\tKatze", "Turkey\tMensch"], ["Turkey\tMensch", "turkey\tKatze"]])
def test_terms_that_differ_in_a_capital_letter_are_told_apart(
    tmp_path: Path, german: Tokenizer, lines: list[str]
) -> None:
    terms = glossary(tmp_path / "t", "\n".join(lines), german)
    assert terms.applied_to(Request("Turkey")).require == ("Mensch",)
    assert terms.applied_to(Request("a turkey")).require == ("Katze",)
    assert set(terms.applied_to(Request("a turkey in Turkey")).require) == {"Mensch", "Katze"}


@pytest.mark.parametrize(
    ("term", "text", "is_there"),
    [
        ("inek", "İnek süt verir.", True),
        ("inek", "Inek", True),
        ("שלום", "אמר שלום\u200f, כן", True),
        ("ទៅ", "ខ្ញុំ\u200bទៅ", True),
        ("👩", "👨\u200d👩\u200d👧 ok", False),
        ("👩", "the 👩 sleeps", True),
    ],
)
def test_terms_are_found_in_other_scripts(
    tmp_path: Path, german: Tokenizer, term: str, text: str, is_there: bool
) -> None:
    found = glossary(tmp_path / "t", f"{term}\tKatze", german).applied_to(Request(text)).require
    assert found == (("Katze",) if is_there else ())


def test_a_term_may_have_more_pieces_than_characters(tmp_path: Path) -> None:
    texts = ["le chat dort", "un chien noir"]
    tokenizer = train_tokenizer(
        TokenizerConfig(vocab_size=290, byte_fallback=True), lambda: [(text, text) for text in texts]
    )
    assert glossary(tmp_path / "t", "cat\tкошка\n", tokenizer).applied_to(Request("a cat")).require == ("кошка",)
