"""The counts of linked words."""

from pathlib import Path

import numpy as np

from nmt.alignment.lexicon import Lexicon
from nmt.alignment.matrix import AlignmentMatrix


def test_linked_words_are_counted_with_their_shares_and_first_line(tmp_path: Path) -> None:
    lexicon = Lexicon()
    for src, tgt, links in (
        (["The", "house"], ["das", "Haus"], [(0, 0), (1, 1)]),
        (["the", "big", "house"], ["ein", "Haus"], [(0, 0), (2, 1)]),
        (["the", "homes"], ["die", "Haus"], [(1, 1)]),
    ):
        weights = np.full((len(tgt), len(src)), 1 / len(src), dtype=np.float32)
        lexicon.add(AlignmentMatrix(weights, src, tgt, "words", "dropped", "attention"), links)
    lexicon.write(tmp_path / "words.tsv")
    assert (tmp_path / "words.tsv").read_text(encoding="utf-8").splitlines() == [
        "source\ttarget\tcount\tof_source\tof_target\tline",
        "house\thaus\t2\t1.0000\t0.6667\t1",
        "homes\thaus\t1\t1.0000\t0.3333\t3",
        "the\tdas\t1\t0.5000\t1.0000\t1",
        "the\tein\t1\t0.5000\t1.0000\t2",
    ]


def test_a_turkish_word_is_the_same_with_a_dotted_capital() -> None:
    lexicon = Lexicon()
    for src in ("İyi", "iyi", "i\u0307yi"):
        lexicon.add(
            AlignmentMatrix(np.ones((1, 1), np.float32), [src], ["good"], "words", "dropped", "attention"), [(0, 0)]
        )
    assert lexicon.counts == {("iyi", "good"): 3}
