import numpy as np
import pytest

from nmt.alignment.matrix import AlignmentMatrix, piece_matrix, piece_shares, word_matrix
from nmt.errors import AlignmentError

# source "a black cat" as a | bla | ck | cat; target "chat noir" as ch | at | noir, and the row that predicted the end
WEIGHTS = np.array(
    [[0.1, 0.1, 0.2, 0.6], [0.0, 0.2, 0.2, 0.6], [0.0, 0.5, 0.4, 0.1], [0.25, 0.25, 0.25, 0.25]], dtype=np.float32
)
SRC, SRC_OFFSETS = "a black cat", [(0, 1), (1, 5), (5, 7), (7, 11)]
TGT, TGT_OFFSETS = "chat noir", [(0, 2), (2, 4), (4, 9)]


def test_source_pieces_add_up_and_target_pieces_average() -> None:
    matrix = word_matrix(WEIGHTS, SRC, SRC_OFFSETS, TGT, TGT_OFFSETS)
    assert (matrix.src_tokens, matrix.tgt_tokens, matrix.level, matrix.eos) == (
        ["a", "black", "cat"],
        ["chat", "noir"],
        "words",
        "dropped",
    )
    np.testing.assert_allclose(matrix.weights, [[0.05, 0.35, 0.6], [0.0, 0.9, 0.1]], atol=1e-6)
    assert matrix.links() == [(2, 0), (1, 1)]


def test_the_end_can_be_kept_but_is_no_link() -> None:
    words = word_matrix(WEIGHTS, SRC, SRC_OFFSETS, TGT, TGT_OFFSETS, keep_eos=True)
    assert words.tgt_tokens[-1] == "</s>"
    np.testing.assert_allclose(words.weights[-1], [0.25, 0.5, 0.25])
    assert words.links() == [(2, 0), (1, 1)]
    pieces = piece_matrix(WEIGHTS, ["a", "bla", "ck", "cat"], ["ch", "at", "noir"], keep_eos=True)
    assert pieces.weights.shape == (4, 4)
    assert piece_matrix(WEIGHTS, ["a", "bla", "ck", "cat"], ["ch", "at", "noir"]).weights.shape == (3, 4)


def test_rows_sum_to_one_for_any_text() -> None:
    random = np.random.default_rng(0)
    for src, tgt in [("je t'aime.", "I love you."), ("a  b", "«x»  y"), ("漢字かな", "word"), ("x", "\u200bq r")]:
        src_offsets, tgt_offsets = ([(i, min(i + 2, len(text))) for i in range(0, len(text), 2)] for text in (src, tgt))
        weights = random.dirichlet(np.ones(len(src_offsets)), size=len(tgt_offsets) + 1).astype(np.float32)
        matrix = word_matrix(weights, src, src_offsets, tgt, tgt_offsets, keep_eos=True)
        np.testing.assert_allclose(matrix.weights.sum(1), 1.0, atol=1e-5)


def test_a_piece_over_two_words_is_shared_by_characters() -> None:
    shares = piece_shares([(0, 4), (4, 5), (5, 5)], [(0, 1), (1, 4), (5, 7)])
    np.testing.assert_allclose(shares, [[0.25, 0.75, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])


def test_a_target_word_without_pieces_reads_with_the_piece_before() -> None:
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]], dtype=np.float32)
    matrix = word_matrix(weights, "a b", [(0, 1), (1, 3)], "x \u200b y", [(0, 1), (3, 5)])
    assert len(matrix.tgt_tokens) == 3
    np.testing.assert_allclose(matrix.weights, [[1, 0], [1, 0], [0, 1]])


@pytest.mark.parametrize("weights", [np.ones((2, 2)), np.eye(3), np.array([[1.5, -0.5], [0.5, 0.5]])])
def test_what_is_no_alignment_is_refused(weights: np.ndarray) -> None:
    with pytest.raises(AlignmentError):
        AlignmentMatrix(weights.astype(np.float32), ["a", "b"], ["x", "y"], "words", "dropped")


def test_tokens_are_split_at_white_space_only() -> None:
    weights = np.array([[0.2, 0.8], [0.7, 0.3], [0.5, 0.5]], dtype=np.float32)
    matrix = word_matrix(weights, "do n't", [(0, 2), (2, 6)], "x ...", [(0, 1), (1, 5)], level="tokens")
    assert (matrix.src_tokens, matrix.tgt_tokens, matrix.level) == (["do", "n't"], ["x", "..."], "tokens")
    np.testing.assert_allclose(matrix.weights, weights[:2])


@pytest.mark.parametrize("text", ["\u200b", "\x01", "\ufeff"])
def test_a_text_without_pieces_has_no_words(text: str) -> None:
    some = np.ones((2, 0), dtype=np.float32)
    assert word_matrix(some, text, [], "y", [(0, 1)]).weights.shape == (1, 0)
    assert word_matrix(np.ones((1, 1), dtype=np.float32), "y", [(0, 1)], text, []).weights.shape == (0, 1)


def test_a_matrix_shows_itself_and_can_be_compared() -> None:
    weights = np.array([[0.9, 0.1], [0.2, 0.8]], dtype=np.float32)
    matrix = AlignmentMatrix(weights, ["a", "cat"], ["un", "chat"], "words", "dropped")
    assert repr(matrix) == "AlignmentMatrix(2 x 2 words, read_from='attention')"
    assert str(matrix).splitlines()[1].startswith("  un │ ███")
    assert matrix == AlignmentMatrix(weights.copy(), ["a", "cat"], ["un", "chat"], "words", "dropped")
    assert matrix != AlignmentMatrix(weights[::-1], ["a", "cat"], ["un", "chat"], "words", "dropped")
    assert matrix != AlignmentMatrix(weights, ["a", "cat"], ["un", "chat"], "words", "dropped", null=weights[0])
    assert matrix != "a matrix"
    assert "<svg" in matrix._repr_svg_()
    assert matrix.plot().axes[0].get_images()[0].get_array().shape == (2, 2)
    table = matrix.to_pandas()
    assert table.loc["chat", "cat"] == pytest.approx(0.8)
