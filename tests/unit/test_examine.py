"""The doctor finds what is wrong, and nothing in good text."""

import random

import pytest

from nmt.data.examine import Finding, examine, overlap, sides_are_swapped, slip
from tests.conftest import SENTENCES

GOOD = SENTENCES * 3


def lines_of(pairs: list[tuple[str, str]]) -> dict[str, list[int]]:
    return {kind: finding.lines for kind, finding in examine(pairs).findings.items()}


def test_good_text_has_no_findings_and_its_words_are_counted() -> None:
    found = examine(SENTENCES)
    assert found.findings == {}
    assert (found.pairs, found.words) == (8, (40, 40))
    assert sum(found.lengths) == 8
    shown = dict(found.histogram())
    assert shown == {"longer side up to 5 words": 6, "longer side up to 10 words": 2}
    assert found.is_tokenised == (False, False)
    assert slip(examine(GOOD * 20)) is None


def test_each_kind_of_trouble_is_found_at_its_line() -> None:
    pairs = [
        *SENTENCES,
        ("", "le chat"),
        ("", " "),
        ("a\u2028b", "a b"),
        ("a\x00b", "c"),
        ("caf\ufffd", "café"),
        ("New York", "New York"),
        ("yes", "un deux trois quatre cinq six sept huit neuf dix onze douze"),
        SENTENCES[2],
        ("I see <unk> .", "je vois"),
    ]
    assert lines_of(pairs) == {
        "one side empty": [9],
        "both sides empty": [10],
        "line ends of other kinds inside a line (U+0085, U+2028, CR, ...)": [11],
        "control characters": [12],
        "replacement characters (text that was decoded wrongly once)": [13],
        "source and target the same": [14],
        "lengths that do not fit each other": [15],
        "pairs that occurred before": [16],
        "markup such as <unk>, <s>, </s>": [17],
    }


def test_text_that_is_tokenised_already_is_noticed_side_by_side() -> None:
    pairs = [("I do n't know .", "je ne sais pas."), ("well , yes", "bien, oui"), ("a cat", "un chat")]
    assert examine(pairs).is_tokenised == (True, False)
    assert examine([("他 说 ， 我 去 。", "私は学生です。"), ("a", "私 は 学生 です 。")]).is_tokenised == (
        False,
        False,
    )
    assert examine([("他 说 ， 我 去 。", "私 は 学生 です 。")]).is_tokenised == (True, True)


def test_exchanged_sides_of_another_split_are_noticed() -> None:
    train, other = examine(SENTENCES), SENTENCES[:4]
    assert not sides_are_swapped(train, examine(other))
    assert sides_are_swapped(train, examine([(tgt, src) for src, tgt in other]))


@pytest.mark.parametrize("shift", [1, -1])
def test_a_line_that_is_missing_on_one_side_is_found(shift: int) -> None:
    numbers = random.Random(3)
    lengths = [numbers.randint(1, 30) for _ in range(1500)]
    pairs = [("a " * length, "un " * length) for length in lengths]
    assert slip(examine(pairs)) is None
    src, tgt = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if shift > 0:
        tgt.insert(600, "un chat")
    else:
        del tgt[600]
    assert slip(examine(zip(src, tgt, strict=False))) == (501, shift)


def test_overlap_between_splits_is_counted() -> None:
    shared = overlap(examine(SENTENCES), [("new", "neuf"), (SENTENCES[0][0] + " ", SENTENCES[0][1]), SENTENCES[3]])
    assert (shared.count, shared.lines) == (2, [2, 3])


def test_characters_that_normalisation_changes_are_told() -> None:
    kind = "characters that tokenizer.normalization changes, unless identity"
    found = examine([("full （width）", "a"), ("plain é", "漢字"), ("a", "ｂ")])
    assert found.findings[kind] == Finding(2, [1, 3])
    assert found.changed == 1
    found = examine([("x \u00a0 y", "میز"), ("a", "می\u200cخواهم"), ("שלום\u200f", "a")])
    assert found.findings[kind] == Finding(2, [2, 3])  # spaces of other kinds are not lost


def test_equally_long_lines_have_no_correlation(recwarn: pytest.WarningsRecorder) -> None:
    assert slip(examine([("abcdefghijklm", "abcdefghij")] * 300)) is None
    assert not recwarn.list
