from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from nmt.alignment import bitext
from nmt.alignment.aer import score_links
from nmt.alignment.bitext import BitextAligner
from nmt.alignment.links import likely_links, parse_pharaoh
from nmt.alignment.pieces import Pieces
from nmt.alignment.words import split_words
from nmt.data.builtin.phrasebook import phrasebook
from nmt.errors import AlignmentError


@pytest.fixture(scope="module")
def book() -> list[tuple[list[str], list[str], str]]:
    rows = [row for row, _ in zip(phrasebook("train"), range(600), strict=False)]
    return [(split_words(src), split_words(tgt), links) for src, tgt, links in rows]


@pytest.fixture(scope="module")
def aligner(book: list[tuple[list[str], list[str], str]]) -> BitextAligner:
    return BitextAligner.fit([(src, tgt) for src, tgt, _ in book])


def test_links_by_hand() -> None:
    # 0-0 is sure; 1-0 joins it (0.3, one of its words is free); 2-1 is likely enough for two free words; 3-1 is not
    # for one; 3-2 is too unlikely
    probabilities = np.array([[0.9, 0.3, 0.2, 0.0], [0.0, 0.0, 0.12, 0.11], [0.0, 0.0, 0.0, 0.09]], dtype=np.float32)
    assert likely_links(probabilities) == [(0, 0), (1, 0), (2, 1)]
    assert likely_links(np.zeros((2, 0), dtype=np.float32)) == []


def test_a_bitext_is_aligned_from_itself(aligner: BitextAligner, book: list[tuple[list[str], list[str], str]]) -> None:
    found = list(aligner.links([(src, tgt) for src, tgt, _ in book]))
    score = score_links(found, [parse_pharaoh(links) for _, _, links in book])
    assert score.aer < 0.1


def test_case_threads_and_company_do_not_matter(
    aligner: BitextAligner, book: list[tuple[list[str], list[str], str]]
) -> None:
    pairs = [(src, tgt) for src, tgt, _ in book[:20]]
    together = aligner.posteriors(pairs, threads=3)
    shouted = aligner.posteriors([([w.upper() for w in src], [w.upper() for w in tgt]) for src, tgt in pairs])
    alone = [aligner.posteriors([pair])[0] for pair in pairs]
    for one, two, three in zip(together, shouted, alone, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)
        np.testing.assert_allclose(one, three, atol=1e-5)


def test_pairs_that_are_empty_or_huge_have_no_links(aligner: BitextAligner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitext, "_LARGEST_PAIR", 50)
    found = aligner.posteriors([([], ["chat"]), (["a", "cat"], []), (["cat"] * 8, ["chat"] * 8), (["cat"], ["chat"])])
    assert [one.shape for one in found] == [(1, 0), (0, 2), (8, 8), (1, 1)]
    assert not found[2].any()
    assert found[3].any()
    monkeypatch.setattr(bitext, "_LONGEST_SIDE", 5)
    long, short = aligner.posteriors([(["cat"] * 6, ["chat"]), (["cat"] * 5, ["chat"])])
    assert (long.any(), short.any()) == (False, True)


def test_pairs_are_aligned_some_at_a_time(
    aligner: BitextAligner, book: list[tuple[list[str], list[str], str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, the matrices of long lines would need memory in proportion to the square of their length."""
    pairs = [(src, tgt) for src, tgt, _ in book[:20]]
    expected = aligner.posteriors(pairs)
    sizes: list[int] = []
    real = bitext._View.posteriors

    def posteriors(view: bitext._View, chunk: Sequence[bitext.TokenizedPair]) -> list[np.ndarray]:
        sizes.append(sum(len(src) * len(tgt) for src, tgt in chunk))
        return real(view, chunk)

    monkeypatch.setattr(bitext._View, "posteriors", posteriors)
    monkeypatch.setattr(bitext, "_CELLS_AT_ONCE", 300)
    for found, one in zip(aligner.posteriors(pairs), expected, strict=True):
        np.testing.assert_allclose(found, one, atol=1e-5)
    assert max(sizes) <= 300
    assert len(sizes) > len(aligner._views)


def test_it_is_saved_and_read(
    aligner: BitextAligner, book: list[tuple[list[str], list[str], str]], tmp_path: Path
) -> None:
    aligner.save(tmp_path)
    again = BitextAligner.load(tmp_path)
    pairs = [(src, tgt) for src, tgt, _ in book[:50]] + [(["zebra", "cat"], ["zèbre", "chat"])]
    for one, two in zip(aligner.posteriors(pairs), again.posteriors(pairs), strict=True):
        np.testing.assert_allclose(one, two, atol=2e-3)


@pytest.mark.parametrize("damage", ["missing", "cut", "no views", "text"])
def test_a_damaged_aligner_is_named(aligner: BitextAligner, tmp_path: Path, damage: str) -> None:
    aligner.save(tmp_path)
    names, arrays = tmp_path / "aligner.json", tmp_path / "aligner.safetensors"
    if damage == "missing":
        arrays.unlink()
    elif damage == "cut":
        arrays.write_bytes(arrays.read_bytes()[:-100])
    elif damage == "no views":
        names.write_text('{"level": "words", "views": []}')
    else:
        names.write_text("[1, 2")
    with pytest.raises(AlignmentError, match=str(tmp_path)):
        BitextAligner.load(tmp_path)


def test_pieces_are_those_of_whole_words() -> None:
    pieces = Pieces.train([["the", "cats"], ["the", "cat"]], None)
    [(ids, starts)] = pieces.encode([["cat", "dog", "the"]])
    assert ids.tolist() == [2, -1, 0]
    assert starts.tolist() == [0, 1, 2]
    cut = Pieces.train([["abab", "ab"], ["ba", "abba"]] * 5, ("bpe", 8))
    [(ids, starts)] = cut.encode([["abab", "ba"]])
    assert len(ids) > 2 or len(cut) > 2
    assert starts[0] == 0
    assert (ids >= 0).all()
    assert Pieces(cut.names, cut.model).encode([["abab", "ba"]])[0][0].tolist() == ids.tolist()
