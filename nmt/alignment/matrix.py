"""The alignment matrix: attention over pieces, or merged into words, with rows that sum to 1."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nmt.alignment.links import Link, likely_links
from nmt.alignment.words import spans_at
from nmt.arrays import Float32Array
from nmt.errors import AlignmentError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Span = tuple[int, int]
Level = Literal["words", "tokens", "pieces"]
EOS_TOKEN = "</s>"
_ROUNDING = 5e-7  # the largest error of a weight that was written with six digits


@dataclass(frozen=True, eq=False)
class AlignmentMatrix:
    """How much weight each target token gives to each source token.

    Attributes:
        weights: ``[T, S]``, rows = target, columns = source, each row sums to 1.
        src_tokens: S tokens.
        tgt_tokens: T tokens.
        level: whether the tokens are `words`, white-space separated `tokens`, or `pieces`.
        eos: `row` if the last row is that of the step that predicted EOS, `dropped` if that row was left out. The
            source has no EOS, so there is never such a column.
        read_from: a description of where the weights come from: the attention, or the word aligner.
        null: ``[T]`` the probability that a target token has no counterpart, 0 to 1; None if the weights come from an
            attention, which always attends to something.
    """

    weights: Float32Array
    src_tokens: list[str]
    tgt_tokens: list[str]
    level: Level
    eos: Literal["row", "dropped"]
    read_from: str = "attention"
    null: Float32Array | None = None

    def __post_init__(self) -> None:
        shape = (len(self.tgt_tokens), len(self.src_tokens))
        if self.weights.shape != shape:
            raise AlignmentError(
                f"a matrix of shape {self.weights.shape} does not fit {shape[0]} target and {shape[1]} source tokens"
            )
        sums = self.weights.sum(axis=1)
        # Written so that NaN, for which every comparison is false, is refused, too.
        tolerance = 1e-3 + _ROUNDING * shape[1]
        if self.weights.size and not (self.weights.min() >= 0 and np.abs(sums - 1).max() <= tolerance):
            raise AlignmentError(
                f"the rows of an alignment matrix must sum to 1, but these sum to {sums.min():.4f} .. {sums.max():.4f}"
            )

        if self.null is not None and not (self.null.shape == shape[:1] and ((self.null >= 0) & (self.null <= 1)).all()):
            raise AlignmentError(f"null must be {shape[0]} probabilities, one for each target token")

    def __repr__(self) -> str:
        """Return the shape and where the weights come from."""
        shape = f"{len(self.tgt_tokens)} x {len(self.src_tokens)} {self.level}"
        return f"AlignmentMatrix({shape}, read_from={self.read_from!r})"

    def __str__(self) -> str:
        """Return the matrix drawn as text."""
        from nmt.alignment.heatmap import terminal_heatmap

        return terminal_heatmap(self)

    def __eq__(self, other: object) -> bool:
        """Return True if tokens, weights and everything else are the same."""
        if not isinstance(other, AlignmentMatrix):
            return NotImplemented
        names = [field.name for field in fields(self)]
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]

    def plot(self) -> "Figure":
        """Return a matplotlib figure of the matrix."""
        from nmt.alignment.heatmap import draw_heatmaps

        return draw_heatmaps([self])

    def _repr_svg_(self) -> str:
        """Return the picture that a notebook shows."""
        buffer = io.StringIO()
        self.plot().savefig(buffer, format="svg")
        return buffer.getvalue()

    def to_pandas(self) -> Any:
        """Return the weights as a pandas DataFrame: a row for each target token, a column for each source token."""
        import pandas

        return pandas.DataFrame(self.weights, index=self.tgt_tokens, columns=self.src_tokens)

    @property
    def link_probabilities(self) -> Float32Array | None:
        """The probability of each link, ``[T, S]``; None if the weights come from an attention.

        Each row is the row of weights, scaled so that its largest value is 1 - null.
        """
        if self.null is None or not self.weights.size:
            return None
        likeliest: Float32Array = self.weights / self.weights.max(axis=1, keepdims=True)
        return likeliest * (1 - self.null[:, None])

    @property
    def link_weights(self) -> Float32Array:
        """How sure each link is, ``[T, S]``: the probability of the link, or the weight of an attention."""
        likely = self.link_probabilities
        return self.weights if likely is None else likely

    def links(self) -> list[Link]:
        """Return the links (source, target) from 0, in the order of target tokens; an EOS row has none.

        If the weights come from an attention, each target token is linked to the source token of its largest weight. If
        they come from a word aligner, the likely links are taken (see `nmt.alignment.links.likely_links`).
        """
        if not self.src_tokens:
            return []
        words = len(self.tgt_tokens) - (self.eos == "row")
        if (probabilities := self.link_probabilities) is not None:
            return likely_links(probabilities[:words])
        return [(int(self.weights[row].argmax()), row) for row in range(words)]


def piece_matrix(
    weights: Float32Array, src_pieces: Sequence[str], tgt_pieces: Sequence[str], keep_eos: bool = False
) -> AlignmentMatrix:
    """Return the matrix on pieces.

    Args:
        weights: ``[len(tgt_pieces) + 1, len(src_pieces)]``; the last row is that of the step that predicted EOS.
        src_pieces: source pieces.
        tgt_pieces: target pieces without EOS.
        keep_eos: whether the last row is kept.
    """
    if keep_eos:
        return AlignmentMatrix(weights, list(src_pieces), [*tgt_pieces, EOS_TOKEN], "pieces", "row")
    return AlignmentMatrix(weights[: len(tgt_pieces)], list(src_pieces), list(tgt_pieces), "pieces", "dropped")


def word_matrix(
    weights: Float32Array,
    src_text: str,
    src_offsets: Sequence[Span],
    tgt_text: str,
    tgt_offsets: Sequence[Span],
    keep_eos: bool = False,
    level: Literal["words", "tokens"] = "words",
) -> AlignmentMatrix:
    """Return the matrix on words: the weights of a source word's pieces are summed, a target word's rows averaged.

    A piece that overlaps several words is divided among them in proportion to its characters in each.

    Args:
        weights: ``[len(tgt_offsets) + 1, len(src_offsets)]``; the last row is that of the step that predicted EOS.
        src_text: the source.
        src_offsets: character spans of the source pieces.
        tgt_text: the target.
        tgt_offsets: character spans of the target pieces.
        keep_eos: whether the EOS row is kept.
        level: `words`, split at punctuation too, or `tokens`, split at white space only.
    """
    src_spans = spans_at(level, src_text) if src_offsets else []
    tgt_spans = spans_at(level, tgt_text) if tgt_offsets else []
    src_words, tgt_words = (
        [text[a:b] for a, b in spans] for text, spans in ((src_text, src_spans), (tgt_text, tgt_spans))
    )
    to_src = piece_shares(src_offsets, src_spans)
    of_tgt = piece_shares(tgt_offsets, tgt_spans)
    # A target word whose characters the tokenizer leaves out takes the row of the piece before it.
    for word in np.flatnonzero(of_tgt.sum(axis=0) == 0):
        before = [piece for piece, (start, _) in enumerate(tgt_offsets) if start <= tgt_spans[word][0]]
        of_tgt[before[-1] if before else 0, word] = 1.0
    rows = (of_tgt / of_tgt.sum(axis=0)).T @ weights[: len(tgt_offsets)]
    if keep_eos:
        rows = np.concatenate([rows, weights[len(tgt_offsets) :]])
        tgt_words.append(EOS_TOKEN)
    merged = (rows @ to_src).astype(np.float32)
    return AlignmentMatrix(merged, src_words, tgt_words, level, "row" if keep_eos else "dropped")


@dataclass(frozen=True)
class WordLinks:
    """The link probabilities of a word aligner for one sentence pair.

    Attributes:
        probabilities: ``[T, S]`` the probability that two words are translations of each other, 0 to 1.
        src_spans: character spans of the S source words.
        tgt_spans: character spans of the T target words.
        read_from: a description of the aligner.
    """

    probabilities: Float32Array
    src_spans: Sequence[Span]
    tgt_spans: Sequence[Span]
    read_from: str = "aligner"

    def matrix(
        self,
        src: tuple[Sequence[str], Sequence[Span]],
        tgt: tuple[Sequence[str], Sequence[Span]],
        level: Level,
        keep_eos: bool = False,
    ) -> AlignmentMatrix:
        """Return the matrix on other tokens of the same texts.

        The probability of a link between two tokens is the largest among the words that they overlap.

        Args:
            src: the source tokens and their character spans.
            tgt: the target tokens and their character spans.
            level: what these tokens are.
            keep_eos: whether to append a row for EOS, which has no link.
        """
        found = _spread_over(self.probabilities, self.tgt_spans, tgt[1])  # [target tokens, S]
        found = _spread_over(found.T, self.src_spans, src[1]).T  # [target tokens, source tokens]
        tokens = list(tgt[0])
        if keep_eos:
            found = np.concatenate([found, np.zeros((1, found.shape[1]), dtype=np.float32)])
            tokens.append(EOS_TOKEN)
        sums = found.sum(axis=1, keepdims=True)
        weights = np.where(sums > 0, found / np.where(sums > 0, sums, 1), 1 / max(1, found.shape[1]))
        null = 1 - found.max(axis=1, initial=0.0)
        return AlignmentMatrix(
            weights.astype(np.float32),
            list(src[0]),
            tokens,
            level,
            "row" if keep_eos else "dropped",
            self.read_from,
            null.clip(0, 1).astype(np.float32),
        )


def _spread_over(rows: Float32Array, spans: Sequence[Span], tokens: Sequence[Span]) -> Float32Array:
    """Return a row for each token: the elementwise maximum of the rows whose spans the token overlaps."""
    if list(spans) == list(tokens):
        return rows
    overlaps = piece_shares(tokens, spans) > 0  # [tokens, rows]
    spread = np.zeros((len(tokens), rows.shape[1]), dtype=np.float32)
    for row, overlapped in zip(spread, overlaps, strict=True):
        rows[overlapped].max(axis=0, initial=0, out=row)
    return spread


def piece_shares(offsets: Sequence[Span], spans: Sequence[Span]) -> Float32Array:
    """Return how much of each piece belongs to each word, ``[pieces, words]``; rows sum to 1 if there is a word.

    A piece without characters of a word (a space, or a byte of an unfinished character) belongs to the word at or after
    its position, or to the last word if there is none.
    """
    if not offsets or not spans:
        return np.zeros((len(offsets), len(spans)), dtype=np.float32)
    starts, ends = np.array(offsets).T[:, :, None]  # [pieces, 1] each
    word_starts, word_ends = np.array(spans).T  # [words] each
    overlaps = (np.minimum(ends, word_ends) - np.maximum(starts, word_starts)).clip(min=0)  # [pieces, words]
    outside = np.flatnonzero(overlaps.sum(axis=1) == 0)
    following = np.searchsorted(word_ends, starts[outside, 0], side="right")  # the first word that ends after the start
    overlaps[outside, np.minimum(following, len(spans) - 1)] = 1
    shares: Float32Array = (overlaps / overlaps.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
