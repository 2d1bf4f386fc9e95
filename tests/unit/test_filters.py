"""Which pairs are left out of the training data, and why."""

from typing import get_args

import pytest

from nmt.config import Filter
from nmt.data.filters import checker_and_pairs, judged, pair_hash, script_of, text_hash
from tests.conftest import SENTENCES

ODD: dict[Filter, tuple[str, str]] = {
    "duplicates": (SENTENCES[0][0] + " ", SENTENCES[0][1]),
    "identical": ("New York", "New York"),
    "lengths": ("yes", "un deux trois quatre cinq six sept huit neuf dix onze douze"),
    "markup": ("I see &quot;", "je vois"),
    "characters": ("a cat\x00", "un chat"),
    "script": ("good morning", "доброе утро"),
    "overlap": ("a new one", "une nouvelle"),
    "shared_sides": ("one more", "encore une"),
}
HELD_OUT = frozenset({pair_hash(*ODD["overlap"]), text_hash(" encore une")})


@pytest.mark.parametrize("name", get_args(Filter))
def test_each_filter_leaves_out_its_own_fault_and_no_other(name: Filter) -> None:
    pairs = [*SENTENCES, *ODD.values()]
    left_out = [line for line, _, reason in judged(pairs, [name], HELD_OUT) if reason is not None]
    assert left_out == [len(SENTENCES) + 1 + list(ODD).index(name)]
    assert all(reason is None for _, _, reason in judged(pairs, [], HELD_OUT))


def test_pairs_keep_their_numbers_and_what_came_with_them() -> None:
    pairs = [("a", "b", "0-0"), ("same", "same", "1-1"), ("c", "d", "2-2")]
    kept = [(line, pair) for line, pair, reason in judged(pairs, ["identical"]) if reason is None]
    assert kept == [(1, pairs[0]), (3, pairs[2])]


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("a cat", "LATIN"),
        ("où ça", "LATIN"),
        ("кошка", "CYRILLIC"),
        ("قطة", "ARABIC"),
        ("猫が寝る", "Chinese or Japanese"),
        ("カタカナ", "Chinese or Japanese"),
        ("ＡＢＣ", "LATIN"),
        ("고양이", "HANGUL"),
        ("แมวนอน", "THAI"),
        ("a кошка", "CYRILLIC"),
        ("ʻōʻō ʻaʻā", "LATIN"),
        ("12, 34!", None),
        ("ok", None),
        ("", None),
    ],
)
def test_the_script_of_a_text_is_that_of_most_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


def test_the_usual_script_is_that_of_most_lines() -> None:
    checker, _ = checker_and_pairs([("one two", "1"), ("раз", "2"), ("three", "3"), ("123", "4")])
    assert checker.scripts == ("LATIN", None)


def test_a_corpus_that_begins_in_another_script_keeps_its_usual_one() -> None:
    pairs = [(f"a cat {number}", "кошка") for number in range(1000)]
    pairs += [(f"a dog {number}", "ein Hund") for number in range(1500)]
    left_out = {line for line, _, reason in judged(pairs, ["script"]) if reason is not None}
    assert left_out == set(range(1001, 2001))  # the 1,001st line of the other script makes it the usual one
