from collections.abc import Sequence
from pathlib import Path

import pytest

from nmt.alignment.aer import score_links
from nmt.alignment.links import GoldFile, GoldLinks, format_pharaoh, parse_pharaoh, read_gold, transposed
from nmt.errors import AlignmentError


def test_scores_by_hand() -> None:
    # A = 4 links; S = 3; P = 5; A and S share 2, A and P share 3
    gold = [parse_pharaoh("0-0 1-1 1p2"), parse_pharaoh("0-1 2?0")]
    score = score_links([[(0, 0), (1, 2), (5, 5)], [(0, 1)]], gold)
    assert score.precision == pytest.approx(3 / 4)
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(2 * 0.75 * (2 / 3) / (0.75 + 2 / 3))
    assert score.aer == pytest.approx(1 - (2 + 3) / (4 + 3))


def test_perfect_and_hopeless() -> None:
    gold = [parse_pharaoh("0-0 1-1")]
    assert score_links([[(0, 0), (1, 1)]], gold).aer == 0.0
    assert score_links([[(1, 0), (0, 1)]], gold).aer == 1.0


def test_both_formats_and_bases_give_the_same_links() -> None:
    zero = read_gold(GoldFile(Path("g")), ["0-1 2p0", "", "1?1"], 3)
    one = read_gold(GoldFile(Path("g"), base=1), ["1-2 3p1", "", "2?2"], 3)
    naacl = read_gold(GoldFile(Path("g"), "naacl", 1), ["0001 1 2 S", "1 3 1 P", "", "3 2 2 P"], 3)
    assert zero == one == naacl
    assert zero[0].sure == {(0, 1)}
    assert zero[0].possible == {(0, 1), (2, 0)}
    assert read_gold(GoldFile(Path("g"), "naacl", 1), ["1 1 2"], 1)[0].sure == {(0, 1)}


@pytest.mark.parametrize(
    ("lines", "kind", "base", "message"),
    [
        (["0-0", "0_0"], "pharaoh", 0, "g, line 2: '0_0' is not a link"),
        (["0-0"], "pharaoh", 0, "g has 1 lines, but there are 2"),
        (["0-0", "1-1"], "pharaoh", 1, "counted from 1"),
        (["3 1 1"], "naacl", 1, "sentence 3 does not exist; there are 2"),
        (["1 1 1 X"], "naacl", 1, "does not have the form 'sentence src tgt"),
    ],
)
def test_what_is_wrong_is_named(lines: list[str], kind: str, base: int, message: str) -> None:
    with pytest.raises(AlignmentError) as caught:
        read_gold(GoldFile(Path("g"), kind, base), lines, 2)
    assert message in str(caught.value)


def test_unequal_corpora_are_refused() -> None:
    with pytest.raises(AlignmentError, match="1 sentences are aligned, but there are gold links for 2"):
        score_links([[]], [parse_pharaoh(""), parse_pharaoh("")])


def test_links_are_written_as_they_are_read() -> None:
    assert format_pharaoh([(0, 0), (2, 1)]) == "0-0 2-1"
    assert parse_pharaoh(format_pharaoh([(0, 0), (2, 1)])).sure == {(0, 0), (2, 1)}


def gold_lines(gold: Sequence[GoldLinks], kind: str, base: int) -> list[str]:
    """Return gold links as lines for `read_gold`, with ``ipj`` (or a final ``P``) for links that are only possible."""
    lines = []
    for number, sentence in enumerate(gold, start=1):
        links = [
            (tgt + base, src + base, (src, tgt) in sentence.sure) for src, tgt in sentence.possible | sentence.sure
        ]
        if kind == "pharaoh":
            lines.append(" ".join(f"{src}{'-' if sure else 'p'}{tgt}" for tgt, src, sure in sorted(links)))
        else:
            lines += [f"{number} {src} {tgt} {'S' if sure else 'P'}" for tgt, src, sure in sorted(links)]
    return lines


@pytest.mark.parametrize("kind", ["pharaoh", "naacl"])
@pytest.mark.parametrize("base", [0, 1])
def test_gold_that_is_written_is_read_back(kind: str, base: int) -> None:
    gold = [
        GoldLinks(frozenset({(0, 0), (2, 1)}), frozenset({(0, 0), (2, 1), (1, 1)})),
        GoldLinks(frozenset(), frozenset()),
    ]
    assert read_gold(GoldFile(Path("gold"), kind, base), gold_lines(gold, kind, base), 2) == gold


def test_transposed_links_keep_their_marks() -> None:
    assert transposed("0-1 2p3 4?5 odd") == "1-0 3p2 5?4 odd"
