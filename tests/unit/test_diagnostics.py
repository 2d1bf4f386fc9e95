import math

import numpy as np
import pytest

from nmt.alignment.diagnostics import diagnose
from nmt.alignment.matrix import AlignmentMatrix


def matrix(rows: list[list[float]], tokens: list[str], eos: bool = False) -> AlignmentMatrix:
    columns = [str(i) for i in range(len(rows[0]) if rows else 0)]
    shown = [*tokens, "</s>"] if eos else tokens
    weights = np.array(rows, dtype=np.float32).reshape(len(shown), len(columns))
    return AlignmentMatrix(weights, columns, shown, "words", "row" if eos else "dropped")


def test_numbers_by_hand() -> None:
    found = diagnose(
        matrix([[1.0, 0, 0, 0], [0, 0.5, 0.5, 0], [1.0, 0, 0, 0], [0, 0, 0, 1]], ["a", "b", "c"], eos=True)
    )
    assert found.entropy == pytest.approx(math.log(2) / 3, abs=1e-6)
    assert found.coverage == 0.75
    assert found.jumps == pytest.approx((0 + 2) / 2)  # from 0 to 1 as expected, from 1 back to 0 instead of on to 2
    assert not found.likely_omission
    assert not found.likely_repetition


def test_three_unread_words_in_a_row_are_a_likely_omission() -> None:
    spread = [[0.3, 0.02, 0.3, 0.02, 0.36]]
    together = [[0.47, 0.02, 0.02, 0.02, 0.47]]
    assert not diagnose(matrix(spread, ["a"])).likely_omission
    assert diagnose(matrix(together, ["a"])).likely_omission


@pytest.mark.parametrize(
    ("said", "repeats", "likely"),
    [
        ("a b c", 0, False),
        ("a a b", 1, False),
        ("a a a", 2, True),
        ("a b a b c", 1, True),
        ("a b c a", 0, False),
        ("very very good very very good", 1, True),
        ("Attends . . .", 0, False),
        ("a a a a", 3, True),
        ("a a a a a", 4, True),
        ("b a a a a a a a c", 6, True),
    ],
)
def test_what_is_said_twice(said: str, repeats: int, likely: bool) -> None:
    tokens = said.split()
    found = diagnose(matrix([[1.0]] * len(tokens), tokens))
    assert (found.repeats, found.likely_repetition) == (repeats, likely)


def test_an_empty_matrix_is_blameless() -> None:
    found = diagnose(AlignmentMatrix(np.zeros((0, 0), dtype=np.float32), [], [], "words", "dropped"))
    assert (found.coverage, found.repeats, found.likely_omission, found.likely_repetition) == (1.0, 0, False, False)
