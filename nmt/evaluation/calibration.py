"""Calibration, which maps a model's probability of a word to the share of such words that are correct."""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmt.arrays import Float64Array


@dataclass(frozen=True)
class Calibration:
    """A function from the model's probability p of a word to the share of such words that are correct.

    The function is sigmoid(logit(p) / temperature + offset): temperature scaling (Guo et al. 2017, section 4.2) with
    the offset of Platt (1999). Without the offset, it could not correct a model that is overconfident at every p.
    """

    temperature: float = 1.0
    offset: float = 0.0

    def confidences(self, log_probs: Sequence[float]) -> list[float]:
        """Return the confidences, 0 to 1, of words with these log-probabilities."""
        if self == Calibration():
            return [math.exp(min(0.0, value)) for value in log_probs]
        return [float(value) for value in _sigmoid(_logits(log_probs) / self.temperature + self.offset)]


def _logits(log_probs: Sequence[float]) -> Float64Array:
    values = np.clip(np.array(log_probs, dtype=np.float64), -30.0, -1e-6)
    return values - np.log(-np.expm1(values))


def _sigmoid(values: Float64Array) -> Float64Array:
    return 1.0 / (1.0 + np.exp(-np.clip(values, -60.0, 60.0)))


def fit_calibration(log_probs: Sequence[float], correct: Sequence[bool]) -> Calibration:
    """Return the most likely calibration given the words: a logistic regression, fitted by Newton's method.

    A weak prior, a normal distribution around the uncalibrated model, keeps the result finite if the words are few or
    separable.

    Args:
        log_probs: the log-probabilities of words, in nats.
        correct: for each word, whether it is correct.
    """
    inputs = np.stack([_logits(log_probs), np.ones(len(log_probs))], axis=1)
    hits, own_view = np.array(correct, dtype=np.float64), np.array([1.0, 0.0])

    def cost(line: Float64Array) -> float:
        values = inputs @ line
        return float((np.logaddexp(0.0, values) - hits * values).sum() + ((line - own_view) ** 2).sum() / 2)

    line = own_view
    for _ in range(100):
        found = _sigmoid(inputs @ line)
        slope = inputs.T @ (found - hits) + (line - own_view)
        bend = (inputs * (found * (1 - found))[:, None]).T @ inputs + np.eye(2)
        move = np.linalg.solve(bend, slope)
        while cost(line - move) > cost(line) and np.abs(move).max() > 1e-9:
            move = move / 2
        line = line - move
        if np.abs(move).max() <= 1e-9:
            break
    # If more probable words are correct less often, no temperature helps, and the probabilities stay as they are.
    return Calibration(1.0 / float(line[0]), float(line[1])) if line[0] > 1e-3 else Calibration()


def correct_words(hyp: Sequence[str], ref: Sequence[str]) -> list[bool]:
    """Return for each word of a translation whether it is in a block that matches the reference (longest first)."""
    matcher = difflib.SequenceMatcher(None, hyp, ref, autojunk=False)
    correct = [False] * len(hyp)
    for block in matcher.get_matching_blocks():
        correct[block.a : block.a + block.size] = [True] * block.size
    return correct


def calibration_error(confidence: Sequence[float], correct: Sequence[bool], bins: int = 10) -> float:
    """Return the expected calibration error: the mean, over words, of |share correct - mean confidence| of their bin.

    Args:
        confidence: the confidence of each word, 0 to 1.
        correct: for each word, whether it is correct.
        bins: the number of bins, of equal width (Guo et al. 2017, equation 3).
    """
    if not len(confidence):
        return 0.0
    values, hits = np.array(confidence, dtype=np.float64), np.array(correct, dtype=np.float64)
    bucket = np.minimum((values * bins).astype(int), bins - 1)
    gaps = [abs(hits[bucket == b].mean() - values[bucket == b].mean()) * (bucket == b).sum() for b in np.unique(bucket)]
    return float(sum(gaps) / len(values))
