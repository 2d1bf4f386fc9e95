"""The alignment matrix: attention over pieces, or merged into words, with rows that sum to 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nmt.alignment.words import spans_at
from nmt.errors import AlignmentError

Floats = NDArray[np.float32]
Span = tuple[int, int]
Level = Literal["words", "tokens", "pieces"]
EOS_TOKEN = "</s>"


@dataclass(frozen=True)
class AlignmentMatrix:
    """Which source token did each target token look at?

    Attributes:
        weights: ``[T, S]``, rows = target, columns = source, each row sums to 1.
        src_tokens: S tokens.
        tgt_tokens: T tokens.
        level: whether the tokens are `words`, white-space separated `tokens`, or `pieces`.
        eos: `row` if the last row is the one that predicted the end of the sentence, `dropped` if it was left out. The
            source has no end mark, so there is never such a column.
        read_from: which of the model's weights these are, for a person.
    """

    weights: Floats
    src_tokens: list[str]
    tgt_tokens: list[str]
    level: Level
    eos: Literal["row", "dropped"]
    read_from: str = "attention"

    def __post_init__(self) -> None:
        shape = (len(self.tgt_tokens), len(self.src_tokens))
        if self.weights.shape != shape:
            raise AlignmentError(
                f"a matrix of shape {self.weights.shape} does not fit {shape[0]} target and {shape[1]} source tokens"
            )
        sums = self.weights.sum(axis=1)
        if self.weights.size and (self.weights.min() < 0 or np.abs(sums - 1).max() > 1e-3):
            raise AlignmentError(
                f"the rows of an alignment matrix must sum to 1, these sum to {sums.min():.4f} .. {sums.max():.4f}"
            )

    def links(self) -> list[tuple[int, int]]:
        """Each target word (an EOS row aside) with its source word of largest weight: (source, target), from 0."""
        if not self.src_tokens:
            return []
        words = len(self.tgt_tokens) - (self.eos == "row")
        return [(int(self.weights[row].argmax()), row) for row in range(words)]


def piece_matrix(
    weights: Floats, src_pieces: Sequence[str], tgt_pieces: Sequence[str], keep_eos: bool = False
) -> AlignmentMatrix:
    """The matrix on pieces.

    Args:
        weights: ``[len(tgt_pieces) + 1, len(src_pieces)]``; the last row predicted EOS.
        src_pieces: source pieces.
        tgt_pieces: target pieces without EOS.
        keep_eos: whether that last row stays.
    """
    if keep_eos:
        return AlignmentMatrix(weights, list(src_pieces), [*tgt_pieces, EOS_TOKEN], "pieces", "row")
    return AlignmentMatrix(weights[: len(tgt_pieces)], list(src_pieces), list(tgt_pieces), "pieces", "dropped")


def word_matrix(
    weights: Floats,
    src_text: str,
    src_offsets: Sequence[Span],
    tgt_text: str,
    tgt_offsets: Sequence[Span],
    keep_eos: bool = False,
    level: Literal["words", "tokens"] = "words",
) -> AlignmentMatrix:
    """The matrix on words: a source word sums its pieces' weights, a target word averages its pieces' rows.

    A piece that belongs to two words is shared between them by its characters in each.

    Args:
        weights: ``[len(tgt_offsets) + 1, len(src_offsets)]``; the last row predicted EOS.
        src_text: the source.
        src_offsets: character spans of the source pieces.
        tgt_text: the target.
        tgt_offsets: character spans of the target pieces.
        keep_eos: whether the EOS row stays.
        level: `words`, split at punctuation too, or `tokens`, split at white space only.
    """
    src_spans = spans_at(level, src_text) if src_offsets else []
    tgt_spans = spans_at(level, tgt_text) if tgt_offsets else []
    src_words, tgt_words = (
        [text[a:b] for a, b in spans] for text, spans in ((src_text, src_spans), (tgt_text, tgt_spans))
    )
    to_src = piece_shares(src_offsets, src_spans)
    of_tgt = piece_shares(tgt_offsets, tgt_spans)
    # A word of characters that the tokenizer leaves out is read with the piece before it.
    for word in np.flatnonzero(of_tgt.sum(axis=0) == 0):
        before = [piece for piece, (start, _) in enumerate(tgt_offsets) if start <= tgt_spans[word][0]]
        of_tgt[before[-1] if before else 0, word] = 1.0
    rows = (of_tgt / of_tgt.sum(axis=0)).T @ weights[: len(tgt_offsets)]
    if keep_eos:
        rows = np.concatenate([rows, weights[len(tgt_offsets) :]])
        tgt_words.append(EOS_TOKEN)
    merged = (rows @ to_src).astype(np.float32)
    return AlignmentMatrix(merged, src_words, tgt_words, level, "row" if keep_eos else "dropped")


def piece_shares(offsets: Sequence[Span], spans: Sequence[Span]) -> Floats:
    """How much of each piece belongs to each word, ``[pieces, words]``; rows sum to 1 if there is a word.

    A piece without characters of its own (a space, or a byte of an unfinished character) belongs to the word that
    comes at or after it, or to the last word.
    """
    shares = np.zeros((len(offsets), len(spans)), dtype=np.float32)
    if not spans:
        return shares
    for piece, (start, end) in enumerate(offsets):
        overlaps = [max(0, min(end, word_end) - max(start, word_start)) for word_start, word_end in spans]
        total = sum(overlaps)
        if total > 0:
            shares[piece] = [overlap / total for overlap in overlaps]
        else:
            following = (word for word, (_, word_end) in enumerate(spans) if word_end > start)
            shares[piece, next(following, len(spans) - 1)] = 1.0
    return shares
