"""Word confidence: the probability of each word of a translation."""

import unicodedata
from collections.abc import Sequence

import numpy as np

from nmt.alignment.matrix import Level, piece_shares
from nmt.alignment.words import spans_at
from nmt.data.tokenizer import Encoded
from nmt.evaluation.calibration import correct_words


def word_log_probs(target: Encoded, token_log_probs: Sequence[float], level: Level = "words") -> list[float]:
    """Return the log-probability of each word, the sum over its pieces.

    The log-probability of a piece that covers two words is divided by the number of its characters in each.

    Args:
        target: the translation as pieces.
        token_log_probs: the log-probabilities of its pieces and of EOS, which belongs to no word.
        level: `words`, `tokens` or `pieces`.
    """
    pieces = list(token_log_probs[: len(target.ids)])
    if level == "pieces":
        return pieces
    spans = spans_at(level, target.text) if target.offsets else []
    if not spans:
        return []
    values, shares = np.array(pieces), piece_shares(target.offsets, spans)  # [P], [P, words]
    impossible = np.isneginf(values)  # handled separately, since 0 times -inf is not a number
    sums = np.where(impossible, 0.0, values) @ shares
    return [float(value) for value in np.where(shares[impossible].any(axis=0), -np.inf, sums)]


def judged_words(
    targets: Sequence[Encoded], token_log_probs: Sequence[Sequence[float]], refs: Sequence[str]
) -> tuple[list[float], list[bool]]:
    """Return the log-probability of every translated word, and whether the reference has it (see `correct_words`)."""
    log_probs: list[float] = []
    correct: list[bool] = []
    for target, of_tokens, ref in zip(targets, token_log_probs, refs, strict=True):
        log_probs += word_log_probs(target, of_tokens)
        # Most tokenizers normalise what the model learns to write, but not the reference.
        hyp_words, ref_words = (
            [unicodedata.normalize("NFKC", text[start:end]) for start, end in spans_at("words", text)]
            for text in (target.text, ref)
        )
        correct += correct_words(hyp_words, ref_words)
    return log_probs, correct
