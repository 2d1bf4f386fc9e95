"""How sure is the model of each word, and does it know how sure it may be?"""

import difflib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nmt.alignment.matrix import Level, piece_shares
from nmt.data.tokenizer import Encoded
from nmt.words import spans_at

Floats = NDArray[np.float64]


def word_log_probs(target: Encoded, token_log_probs: Sequence[float], level: Level = "words") -> list[float]:
    """Log-probability of each word: the sum of its pieces'; a piece in two words is shared by its characters.

    Args:
        target: the translation as pieces.
        token_log_probs: of each piece, and of EOS, which belongs to no word.
        level: `words`, `tokens` or `pieces`.
    """
    pieces = list(token_log_probs[: len(target.ids)])
    if level == "pieces":
        return pieces
    spans = spans_at(level, target.text) if target.offsets else []
    return [float(value) for value in np.array(pieces) @ piece_shares(target.offsets, spans)] if spans else []


def confidences(log_probs: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Probabilities from log-probabilities over a temperature; 1 is the model's own view, less than 1 is humbler."""
    return [math.exp(min(0.0, value) / temperature) for value in log_probs]


def correct_words(hyp: Sequence[str], ref: Sequence[str]) -> list[bool]:
    """Which words of a translation the reference has, too, in the same order (the longest matching blocks)."""
    matcher = difflib.SequenceMatcher(None, hyp, ref, autojunk=False)
    correct = [False] * len(hyp)
    for block in matcher.get_matching_blocks():
        correct[block.a : block.a + block.size] = [True] * block.size
    return correct


def fit_temperature(log_probs: Sequence[float], correct: Sequence[bool]) -> float:
    """The temperature under which the words' being correct is likeliest (Platt; Guo et al. 2017, section 4.2).

    Found by golden-section search over the logarithm of the temperature, in which there is one minimum.
    """
    values, hits = np.array(log_probs, dtype=np.float64), np.array(correct, dtype=bool)

    def cost(log_temperature: float) -> float:
        scaled = np.minimum(values, -1e-9) / math.exp(log_temperature)
        return float(-(scaled[hits].sum() + np.log(-np.expm1(scaled[~hits])).sum()))

    low, high, ratio = math.log(0.02), math.log(50.0), (math.sqrt(5) - 1) / 2
    for _ in range(80):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if cost(left) < cost(right) else (left, high)
    return math.exp((low + high) / 2)


def calibration_error(confidence: Sequence[float], correct: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error: the mean, over words, of |share correct - mean confidence| of their bin.

    Args:
        confidence: of each word, 0 to 1.
        correct: whether it is.
        bins: of equal width (Guo et al. 2017, equation 3).
    """
    if not len(confidence):
        return 0.0
    values, hits = np.array(confidence, dtype=np.float64), np.array(correct, dtype=np.float64)
    place = np.minimum((values * bins).astype(int), bins - 1)
    gaps = [abs(hits[place == b].mean() - values[place == b].mean()) * (place == b).sum() for b in np.unique(place)]
    return float(sum(gaps) / len(values))
