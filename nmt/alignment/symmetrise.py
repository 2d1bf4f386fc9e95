"""Extracting links from matrices, and merging the links of both directions (Och & Ney 2003; Koehn et al. 2003)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np

from nmt.alignment.links import Link
from nmt.alignment.matrix import AlignmentMatrix

Extraction = Literal["auto", "argmax", "src-argmax", "threshold"]
Symmetrisation = Literal["intersection", "union", "grow-diag", "grow-diag-final-and"]
_NEIGHBOURS = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))


@dataclass(frozen=True)
class LinkExtraction:
    """How links are extracted from an alignment matrix.

    Attributes:
        method: `argmax` links each target word to the source word of its largest weight. `src-argmax` links each source
            word to the target word of its largest weight. `threshold` links all pairs with a weight of at least
            `threshold`. `auto` is `argmax` for the weights of an attention, and the likely links of a word aligner.
        threshold: the smallest weight of a link for the method `threshold`, 0 to 1.
        null_below: a word whose largest weight is below this has no link.

    `threshold` and `null_below` are compared with link probabilities if a word aligner made the matrix, and with
    weights if an attention did.
    """

    method: Extraction = "auto"
    threshold: float = 0.5
    null_below: float = 0.0

    def links(self, matrix: AlignmentMatrix) -> list[Link]:
        """Return the links (source, target) of a matrix, from 0, in the order of target words; an EOS row has none."""
        words = len(matrix.tgt_tokens) - (matrix.eos == "row")
        probabilities = matrix.link_probabilities
        weights = (matrix.weights if probabilities is None else probabilities)[:words]
        if not weights.size:
            return []
        if self.method == "auto":
            largest = weights.max(axis=1)
            return [(src, tgt) for src, tgt in matrix.links() if largest[tgt] >= self.null_below]
        chosen = np.zeros(weights.shape, dtype=bool)
        match self.method:
            case "argmax":
                chosen[np.arange(words), weights.argmax(axis=1)] = True
                chosen &= (weights >= self.null_below) & (weights > 0)
            case "src-argmax":
                chosen[weights.argmax(axis=0), np.arange(weights.shape[1])] = True
                chosen &= (weights >= self.null_below) & (weights > 0)
            case "threshold":
                chosen = (weights >= self.threshold) & (weights.max(axis=1, keepdims=True) >= self.null_below)
            case _:
                assert_never(self.method)
        return [(int(src), int(tgt)) for tgt, src in np.argwhere(chosen)]


def symmetrise(forward: Iterable[Link], backward: Iterable[Link], method: Symmetrisation) -> list[Link]:
    """Return one set of links that merges the links of two directions.

    Args:
        forward: (source, target) links of the model that translates source to target.
        backward: links of the model that translates target to source, also given as (source, target).
        method: `intersection` and `union` are the set operations. `grow-diag` starts with the intersection. It then
            adds links of the union that are next to a chosen link and have a word without a link, until there are no
            more. `grow-diag-final-and` finally adds links of either direction whose words both have no link (Koehn et
            al. 2003, section 4.5; 2005).

    Returns:
        The links in order of target, then source.
    """
    ahead, back = set(forward), set(backward)
    if method == "union":
        return _ordered(ahead | back)
    links = ahead & back
    if method != "intersection":
        _grow(links, ahead | back)
    if method == "grow-diag-final-and":
        for direction in (ahead, back):
            for src, tgt in _ordered(direction - links):
                if all(src != other for other, _ in links) and all(tgt != other for _, other in links):
                    links.add((src, tgt))
    return _ordered(links)


def _grow(links: set[Link], union: set[Link]) -> None:
    """Add to `links`, in place, neighbours from `union` with a word that has no link yet, until there are no more."""
    queue = _ordered(links)
    while queue:
        grown = []
        for src, tgt in queue:
            for down, right in _NEIGHBOURS:
                candidate = (src + down, tgt + right)
                if candidate not in union or candidate in links:
                    continue
                if all(candidate[0] != other for other, _ in links) or all(candidate[1] != other for _, other in links):
                    links.add(candidate)
                    grown.append(candidate)
        queue = grown


def _ordered(links: Iterable[Link]) -> list[Link]:
    return sorted(links, key=lambda link: (link[1], link[0]))
