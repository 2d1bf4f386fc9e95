"""Re-ranking: of several translations, the one from which a model of the other direction translates back best."""

import math
from collections.abc import Sequence
from typing import Protocol

from nmt.decoding.translation import Translation


class Scorer(Protocol):
    """What re-ranking needs of the backward model."""

    def fits(self, src: str, tgt: str) -> bool:
        """Whether a pair of texts is short enough to be scored."""
        ...

    def force(self, pairs: Sequence[tuple[str, str]]) -> list[Translation]:
        """Score pairs of texts."""
        ...


def by_backward(found: Sequence[Sequence[Translation]], backward: Scorer, weight: float) -> list[list[Translation]]:
    """Return the translations of each line, the one with the largest sum of both models' scores first.

    Args:
        found: candidates of each line; those of a line that the backward model cannot score keep their order.
        backward: a model of the other direction.
        weight: of its score, that of the source given the translation (Li et al. 2016, equation 12, with scores
            normalised for length in the place of log-probabilities).
    """
    pairs = [[(one.text, one.src.text) for one in candidates if one.text.strip()] for candidates in found]
    pairs = [each if all(backward.fits(*pair) for pair in each) else [] for each in pairs]
    scores = iter([one.score for one in backward.force([pair for each in pairs for pair in each])])
    ordered = []
    for candidates, own in zip(found, pairs, strict=True):
        if not own:
            ordered.append(list(candidates))
            continue
        # An empty translation says nothing of the source.
        totals = [one.score + weight * next(scores) if one.text.strip() else -math.inf for one in candidates]
        ordered.append([candidates[at] for at in sorted(range(len(totals)), key=lambda at: -totals[at])])
    return ordered
