"""Re-ranking translations by how well a model of the other direction translates them back into the source."""

import math
from collections.abc import Sequence
from typing import Protocol

from nmt.decoding.phrases import missing_phrases
from nmt.decoding.translation import Translation


class Scorer(Protocol):
    """What re-ranking needs from the backward model."""

    def fits(self, src: str, tgt: str) -> bool:
        """Return whether a pair of texts is short enough to be scored."""
        ...

    def force(self, pairs: Sequence[tuple[str, str]]) -> list[Translation]:
        """Score pairs of texts."""
        ...


def by_backward(found: Sequence[Sequence[Translation]], backward: Scorer, weight: float) -> list[list[Translation]]:
    """Return the translations of each line, sorted by the weighted sum of both models' scores, largest first.

    Translations that lack fewer required phrases come before others, as in search.

    Args:
        found: the candidates of each line. If the backward model cannot score all of them, they keep their order.
        backward: a model of the other direction.
        weight: the weight of the backward model's score of the source given the translation (Li et al. 2016,
            equation 12, with length-normalised scores in place of log-probabilities).
    """
    pairs = [[(one.text, one.src.text) for one in candidates if one.text.strip()] for candidates in found]
    pairs = [each if all(backward.fits(*pair) for pair in each) else [] for each in pairs]
    scores = iter([one.score for one in backward.force([pair for each in pairs for pair in each])])
    ordered = []
    for candidates, own in zip(found, pairs, strict=True):
        if not own:
            ordered.append(list(candidates))
            continue
        # An empty translation tells nothing about the source, so it comes last.
        totals = [one.score + weight * next(scores) if one.text.strip() else -math.inf for one in candidates]
        keys = [(missing_phrases(one.phrases), -total) for one, total in zip(candidates, totals, strict=True)]
        ordered.append([candidates[at] for at in sorted(range(len(keys)), key=keys.__getitem__)])
    return ordered
