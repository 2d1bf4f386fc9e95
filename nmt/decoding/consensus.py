"""Minimum Bayes risk decoding: of several translations, the one that agrees most with the others."""

from collections.abc import Sequence

import numpy as np

from nmt.config import DecodingConfig
from nmt.decoding.translation import Translation
from nmt.evaluation.metrics import utilities


def by_agreement(candidates: Sequence[Translation], settings: DecodingConfig) -> Sequence[Translation]:
    """Return the different translations among the candidates, the one with the highest expected utility first.

    The utility of a translation, if a candidate were the truth, is its score against that candidate as the reference.
    The expectation is over the candidates: samples count as often as they were drawn, and those of a beam by their
    probabilities, scaled to sum to 1 (Kumar and Byrne 2004; Eikema and Aziz 2020).

    Args:
        candidates: of one line, at least one, best score first.
        settings: with `mbr.candidates` 0 the candidates are returned as they are.
    """
    if not settings.mbr.candidates:
        return candidates
    different = list({one.text: one for one in reversed(candidates)}.values())[::-1]
    if settings.sampling.enabled:
        texts = [one.text for one in candidates]
        weights = np.array([texts.count(one.text) for one in different], dtype=np.float64)
    else:
        log_probs = np.array([one.log_prob for one in different])
        weights = np.exp(log_probs - log_probs.max())
    expected = utilities([one.text for one in different], settings.mbr.metric) @ (weights / weights.sum())
    return [different[at] for at in np.argsort(-expected, kind="stable")]
