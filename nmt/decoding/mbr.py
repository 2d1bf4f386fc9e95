"""Minimum Bayes risk decoding: choosing the translation that agrees most with the other candidates."""

from collections.abc import Sequence

import numpy as np

from nmt.config import DecodingConfig
from nmt.decoding.phrases import missing_phrases
from nmt.decoding.translation import Translation
from nmt.evaluation.metrics import utilities


def by_agreement(candidates: Sequence[Translation], settings: DecodingConfig) -> Sequence[Translation]:
    """Return the candidates without duplicates, highest expected utility first.

    Candidates that lack fewer required phrases come before others, as in search.

    The utility of a translation, given a candidate, is its score with that candidate as the reference. The expectation
    is over all candidates. Samples are weighted by how often they were drawn, and the candidates of a beam by their
    probabilities, scaled to sum to 1 (Kumar and Byrne 2004; Eikema and Aziz 2020).

    Args:
        candidates: at least one translation of one line, best score first.
        settings: if `mbr.candidates` is 0, the candidates are returned unchanged.
    """
    if not settings.mbr.candidates:
        return candidates
    if settings.sampling.enabled:
        shares = np.ones(len(candidates))
    else:
        log_probs = np.array([one.log_prob for one in candidates])
        shares = np.exp(log_probs - log_probs.max())
    different: dict[str, Translation] = {}
    weights: dict[str, float] = {}  # a text may have been found in several segmentations, or drawn several times
    for one, share in zip(candidates, shares, strict=True):
        different.setdefault(one.text, one)
        weights[one.text] = weights.get(one.text, 0.0) + float(share)
    expected = utilities(list(different), settings.mbr.metric) @ (np.array(list(weights.values())) / shares.sum())
    ranks = {text: (missing_phrases(one.phrases), -expected[at]) for at, (text, one) in enumerate(different.items())}
    return sorted(different.values(), key=lambda one: ranks[one.text])
