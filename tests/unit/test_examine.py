"""The doctor finds what is wrong, and nothing in good text."""

from nmt.data.examine import Finding, examine, overlap
from tests.conftest import SENTENCES

GOOD = SENTENCES * 3


def lines_of(pairs: list[tuple[str, str]]) -> dict[str, list[int]]:
    return {kind: finding.lines for kind, finding in examine(pairs).findings.items()}


def test_good_text_has_no_findings_and_its_words_are_counted() -> None:
    found = examine(SENTENCES)
    assert found.findings == {}
    assert (found.pairs, found.words) == (8, (40, 40))
    assert sum(found.lengths) == 8
    assert dict(found.histogram())["up to 5 words"] == 6


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
    }


def test_overlap_between_splits_is_counted() -> None:
    shared = overlap(examine(SENTENCES), [("new", "neuf"), (SENTENCES[0][0] + " ", SENTENCES[0][1]), SENTENCES[3]])
    assert (shared.count, shared.lines) == (2, [2, 3])


def test_characters_that_normalisation_changes_are_told() -> None:
    kind = "characters that tokenizer.normalization changes, unless identity"
    found = examine([("full （width）", "a"), ("plain é", "漢字"), ("a", "ｂ")])
    assert found.findings[kind] == Finding(2, [1, 3])
