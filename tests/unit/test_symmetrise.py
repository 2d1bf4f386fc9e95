import random

import numpy as np
import pytest

from nmt.alignment.matrix import AlignmentMatrix
from nmt.alignment.symmetrise import LinkExtraction, symmetrise

MATRIX = AlignmentMatrix(
    np.array([[0.7, 0.2, 0.1], [0.4, 0.35, 0.25], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=np.float32),
    ["a", "b", "c"],
    ["x", "y", "z", "</s>"],
    "words",
    "row",
)


def test_extraction_by_hand() -> None:
    assert LinkExtraction().links(MATRIX) == [(0, 0), (0, 1), (2, 2)]
    assert LinkExtraction(null_below=0.5).links(MATRIX) == [(0, 0), (2, 2)]
    assert LinkExtraction("src-argmax").links(MATRIX) == [(0, 0), (1, 1), (2, 2)]
    assert LinkExtraction("threshold", 0.35).links(MATRIX) == [(0, 0), (0, 1), (1, 1), (2, 2)]
    assert LinkExtraction("threshold", 0.2, null_below=0.5).links(MATRIX) == [(0, 0), (1, 0), (2, 2)]
    empty = AlignmentMatrix(np.zeros((0, 0), dtype=np.float32), [], [], "words", "dropped")
    assert LinkExtraction("src-argmax").links(empty) == []


def test_a_word_aligners_links_are_likely_and_never_impossible() -> None:
    likely = np.array([[0.9, 0.45, 0.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    sums = likely.sum(axis=1, keepdims=True)
    weights = np.where(sums > 0, likely / np.where(sums > 0, sums, 1), 1 / 3).astype(np.float32)
    matrix = AlignmentMatrix(
        weights, ["a", "b", "c"], ["x", "y"], "words", "dropped", "aligner", 1 - likely.max(axis=1)
    )
    assert LinkExtraction().links(matrix) == [(0, 0), (1, 0)]
    assert LinkExtraction(null_below=0.5).links(matrix) == [(0, 0), (1, 0)]  # x has a link of 0.9, so it keeps both
    assert LinkExtraction(null_below=0.95).links(matrix) == []
    assert LinkExtraction("argmax").links(matrix) == [(0, 0)]
    assert LinkExtraction("src-argmax").links(matrix) == [(0, 0), (1, 0)]


def test_symmetrisation_by_hand() -> None:
    forward = {(0, 0), (1, 1), (1, 2), (4, 4), (5, 0)}
    backward = {(0, 0), (1, 1), (2, 2), (6, 6), (0, 5)}
    assert symmetrise(forward, backward, "intersection") == [(0, 0), (1, 1)]
    assert set(symmetrise(forward, backward, "union")) == forward | backward
    # (1, 2) is beside (1, 1) and its target has none yet; then (2, 2) is beside that, and its source has none.
    # (4, 4) and (6, 6) are beside nothing, (5, 0) and (0, 5) neither.
    assert symmetrise(forward, backward, "grow-diag") == [(0, 0), (1, 1), (1, 2), (2, 2)]
    # Of the rest both words must be free: (5, 0) and (0, 5) have one that is not.
    assert symmetrise(forward, backward, "grow-diag-final-and") == [(0, 0), (1, 1), (1, 2), (2, 2), (4, 4), (6, 6)]


@pytest.mark.parametrize("method", ["intersection", "union", "grow-diag", "grow-diag-final-and"])
def test_symmetrised_links_lie_between_intersection_and_union(method: str) -> None:
    generator = random.Random(1)
    for _ in range(200):
        forward, backward = (
            {(generator.randrange(6), generator.randrange(6)) for _ in range(generator.randrange(8))} for _ in range(2)
        )
        links = set(symmetrise(forward, backward, method))  # type: ignore[arg-type]
        assert forward & backward <= links <= forward | backward
        turned = {(t, s) for s, t in symmetrise({(t, s) for s, t in forward}, {(t, s) for s, t in backward}, method)}  # type: ignore[arg-type]
        if method in ("intersection", "union"):
            assert turned == links
