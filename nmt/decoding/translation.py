"""A line and its translation, with its words, confidences and alignment."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nmt.alignment.matrix import AlignmentMatrix, Level, WordLinks, piece_matrix, word_matrix
from nmt.alignment.words import spans_at
from nmt.arrays import Float32Array
from nmt.data.tokenizer import Encoded
from nmt.decoding.confidence import word_log_probs
from nmt.decoding.phrases import PhraseConstraint
from nmt.decoding.word_aligner import WordAligner
from nmt.errors import AlignmentError
from nmt.evaluation.calibration import Calibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class Translation:
    """A line and its translation. Two translations are equal only if they are the same object.

    Attributes:
        src: the source text as pieces.
        tgt: the target text as pieces.
        log_prob: the log-probability of the target and EOS, in nats.
        score: `log_prob` over the length penalty, plus the coverage penalty.
        token_log_probs: the log-probability of each target piece and of EOS, in nats.
        proven: whether search has shown that no translation scores higher; False if it cannot tell.
        weights: attention ``[target pieces + 1, source pieces]``; the last row predicted EOS. Width 0 for a model
            without attention.
        read_from: a description of `weights`, for display.
        at_input: whether the row of a target piece in `attention` is that of the step after it, which reads the piece.
        aligner: the word aligner that `alignment` uses; None to use the attention.
        links: the aligner's links for this pair, if they have been computed already (see `Translator.with_links`).
        phrases: the phrases that the translation must or must not have, each with its place in the text.
        gap: the most by which another translation could score higher; infinite if search cannot tell.
        others: the next best translations of the same line, best first, if they were requested.
    """

    src: Encoded
    tgt: Encoded
    log_prob: float
    score: float
    token_log_probs: list[float]
    proven: bool
    weights: Float32Array
    read_from: str = "attention"
    at_input: bool = False
    aligner: WordAligner | None = None
    links: WordLinks | None = None
    phrases: tuple[PhraseConstraint, ...] = ()
    gap: float = math.inf
    others: tuple["Translation", ...] = ()

    def __repr__(self) -> str:
        """Return the text and the score."""
        return f"Translation(text={self.text!r}, score={self.score:.4f})"

    def plot(self, level: Level = "words") -> "Figure":
        """Return a matplotlib figure of the alignment.

        Raises:
            AlignmentError: if the model has neither attention nor a word aligner.
        """
        matrix = self.alignment(level)
        if matrix is None:
            raise AlignmentError("this model has neither attention nor a word aligner, so there is nothing to plot")
        return matrix.plot()

    def _repr_svg_(self) -> str | None:
        """Return the alignment as the picture that a notebook shows; None if there is no alignment or it is empty."""
        matrix = self.alignment()
        return None if matrix is None or not matrix.weights.size else matrix._repr_svg_()

    @property
    def text(self) -> str:
        """The target text."""
        return self.tgt.text

    def words(self, level: Level = "words") -> list[str]:
        """Return the target's words, its white-space separated tokens, or its pieces."""
        if level == "pieces":
            return self.tgt.pieces
        return [self.text[start:end] for start, end in spans_at(level, self.text)] if self.tgt.offsets else []

    def confidence(self, level: Level = "words", calibration: Calibration | None = None) -> list[float]:
        """Return the confidence in each target word, 0 to 1: the model's probability, calibrated by `calibration`."""
        return (calibration or Calibration()).confidences(word_log_probs(self.tgt, self.token_log_probs, level))

    def alignment(self, level: Level = "words", keep_eos: bool = False) -> AlignmentMatrix | None:
        """Return the alignment matrix, from the word aligner or the attention; None if the model has neither.

        `decoding.alignment_from` chooses between them, and the matrix's `read_from` says which one was used.

        Args:
            level: `words`, `tokens` (what white space separates) or `pieces`.
            keep_eos: whether the matrix has a row for EOS.
        """
        if self.aligner is None:
            return self.attention(level, keep_eos)
        links = self.links or self.aligner.word_links([(self.src.text, self.tgt.text)])[0]
        sides = []
        for side in (self.src, self.tgt):
            spans = list(side.offsets) if level == "pieces" else spans_at(level, side.text) if side.offsets else []
            names = side.pieces if level == "pieces" else [side.text[start:end] for start, end in spans]
            sides.append((names, spans))
        return links.matrix(sides[0], sides[1], level, keep_eos)

    def attention(self, level: Level = "words", keep_eos: bool = False) -> AlignmentMatrix | None:
        """Return the matrix of the model's attention; None for a model without attention.

        Args:
            level: `words`, `tokens` (what white space separates) or `pieces`.
            keep_eos: whether the row that predicted EOS stays.
        """
        if self.src.ids and self.weights.shape[1] == 0:
            return None
        weights = self.weights
        if self.at_input:  # the last row, of EOS, stays: there is no step after it
            weights = np.concatenate([weights[1:], weights[-1:]])
        matrix = (
            piece_matrix(weights, self.src.pieces, self.tgt.pieces, keep_eos)
            if level == "pieces"
            else word_matrix(weights, self.src.text, self.src.offsets, self.tgt.text, self.tgt.offsets, keep_eos, level)
        )
        return replace(matrix, read_from=self.read_from)
