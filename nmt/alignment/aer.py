"""How well links agree with gold links: precision, recall, F1 and AER (Och & Ney 2003)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nmt.alignment.links import GoldLinks, Link
from nmt.errors import AlignmentError


@dataclass(frozen=True)
class AlignmentScore:
    """Agreement with gold links over a corpus, as figures from 0 to 1. For `aer`, lower is better."""

    precision: float
    recall: float
    f1: float
    aer: float


def score_links(found: Sequence[Iterable[Link]], gold: Sequence[GoldLinks]) -> AlignmentScore:
    """Compare links A with sure links S and possible links P (S is part of P), counted over all sentences.

    precision = |A∩P| / |A|, recall = |A∩S| / |S|, AER = 1 - (|A∩S| + |A∩P|) / (|A| + |S|) (Och & Ney 2003).

    Raises:
        AlignmentError: if `found` and `gold` have different numbers of sentences.
    """
    if len(found) != len(gold):
        raise AlignmentError(f"{len(found)} sentences are aligned, but there are gold links for {len(gold)}")
    links = sure = in_sure = in_possible = 0
    for sentence, reference in zip(found, gold, strict=True):
        chosen = set(sentence)
        links += len(chosen)
        sure += len(reference.sure)
        in_sure += len(chosen & reference.sure)
        in_possible += len(chosen & reference.possible)
    precision = in_possible / links if links else 1.0
    recall = in_sure / sure if sure else 1.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    aer = 1.0 - (in_sure + in_possible) / (links + sure) if links + sure else 0.0
    return AlignmentScore(precision, recall, f1, aer)
