"""Teacher forcing instead of search: log-probabilities and weights of given translations, in batches."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nmt.arrays import Float32Array
from nmt.data.batching import batch_of, cut_batches
from nmt.data.tokenizer import Encoded
from nmt.decoding.ensemble import Ensemble
from nmt.decoding.request import Span, hidden_pieces
from nmt.decoding.rules import Scoring
from nmt.decoding.safeguards import in_halves
from nmt.decoding.search import Hypothesis
from nmt.model.seq2seq import Seq2Seq, evaluating

FORCED_TOKENS = 4096  # maximum number of padded tokens, on the longer side, in a batch of given pairs


class ForcedScore(NamedTuple):
    """A model's score of one given translation.

    Attributes:
        log_probs: the log-probability of each target piece and of EOS, in nats.
        score: the score that search would rank it by.
        weights: ``[T + 1, S]``, the weights of the attention or of the posterior attention.
    """

    log_probs: list[float]
    score: float
    weights: Float32Array


def score_pairs(
    model: Seq2Seq | Ensemble,
    device: torch.device,
    pairs: Sequence[tuple[Encoded, Encoded]],
    scoring: Scoring,
    posterior: bool = False,
) -> list[ForcedScore]:
    """Score pairs of source and target in one batch.

    Args:
        model: a model on `device`.
        device: where to compute.
        pairs: source and target pieces.
        scoring: the scoring of search; it always uses the attention, not the posterior attention.
        posterior: whether to return the weights of the posterior attention.
    """
    batch = batch_of([(source.ids, target.ids) for source, target in pairs]).to(device)
    with evaluating(model):
        log_probs, attention = model.forced(batch)
        weights = model.posterior(batch) if posterior else attention
    sizes = [len(source.ids) for source, _ in pairs], [len(target.ids) + 1 for _, target in pairs]
    rows = [row[:length] for row, length in zip(log_probs.tolist(), sizes[1], strict=True)]
    looked = _trim(attention, *sizes)
    scores = [scoring.score(math.fsum(row), torch.from_numpy(own)) for row, own in zip(rows, looked, strict=True)]
    shown = _trim(weights, *sizes) if posterior else looked
    return [ForcedScore(*each) for each in zip(rows, scores, shown, strict=True)]


def with_posteriors(
    model: Seq2Seq | Ensemble,
    device: torch.device,
    sources: Sequence[Encoded],
    found: Sequence[Sequence[Hypothesis]],
    hidden: Sequence[Sequence[Span]],
) -> list[list[Hypothesis]]:
    """Return the hypotheses of each source with the weights of the posterior attention, which search does not compute.

    Args:
        model: a model on `device`.
        device: where to compute.
        sources: N source sentences.
        found: the hypotheses of each source.
        hidden: spans of characters of each source text that the attention may not look at.
    """
    rows = [(source, one.ids, own) for source, few, own in zip(sources, found, hidden, strict=True) for one in few]

    def weights_of(part: Sequence[tuple[Encoded, list[int], Sequence[Span]]]) -> list[Float32Array]:
        batch = batch_of([(source.ids, ids) for source, ids, _ in part]).to(device)
        mask = hidden_pieces([source for source, _, _ in part], [own for _, _, own in part])
        with evaluating(model):
            weights = model.posterior(batch, mask.to(device) if mask.any() else None)
        return _trim(weights, [len(source.ids) for source, _, _ in part], [len(ids) + 1 for _, ids, _ in part])

    costs = np.array([max(len(source.ids), len(ids) + 1) for source, ids, _ in rows], dtype=np.int64)
    weights: dict[int, Float32Array] = {}
    for chosen in cut_batches(np.argsort(costs, kind="stable"), costs, FORCED_TOKENS, "tokens"):
        weights |= zip(chosen.tolist(), in_halves(weights_of, [rows[i] for i in chosen]), strict=True)
    numbers = iter(range(len(rows)))
    return [[replace(one, weights=weights[next(numbers)]) for one in few] for few in found]


def _trim(weights: Tensor, src_lengths: list[int], tgt_lengths: list[int]) -> list[Float32Array]:
    """Cut each sentence's own matrix out of the padded batch ``[B, T, S]``."""
    array = weights.float().cpu().numpy()
    return [
        array[i, :rows, :columns].copy() for i, (rows, columns) in enumerate(zip(tgt_lengths, src_lengths, strict=True))
    ]
