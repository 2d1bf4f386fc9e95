"""Minimum Bayes risk decoding: choosing the translation that agrees most with the other candidates."""

from collections.abc import Sequence

import numpy as np

from nmt.config import DecodingConfig
from nmt.decoding.translation import Translation
from nmt.evaluation.metrics import utilities


def by_agreement(candidates: Sequence[Translation], settings: DecodingConfig) -> Sequence[Translation]:
    """Return the candidates without duplicates, highest expected utility first.

    The utility of a translation, given a candidate, is its score with that candidate as the reference. The expectation
    is over all candidates. Samples are weighted by how often they were drawn, and the candidates of a beam by their
    probabilities, scaled to sum to 1 (Kumar and Byrne 2004; Eikema and Aziz 2020).

    Args:
        candidates: at least one translation of one line, best score first.
        settings: if `mbr.candidates` is 0, the candidates are returned unchanged.
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
