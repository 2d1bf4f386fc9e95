"""Greedy and beam search over anything that can `start` and `step`; every hypothesis keeps its attention."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmt.data.tokenizer import BOS, EOS, PAD


class SearchMemory(Protocol):
    """What search needs of an encoded batch: its source mask ``[B, S]`` and a choice of sentences."""

    @property
    def src_mask(self) -> Tensor: ...
    def select(self, rows: Tensor) -> Self: ...


class SearchState(Protocol):
    """What search needs of a decoder state of N rows: reordering, repeating and dropping them."""

    def select(self, rows: Tensor) -> Self: ...


class SearchModel(Protocol):
    """A model that can be searched: an RNN, a Transformer, an ensemble."""

    def start(self, memory: Any) -> Any:
        """The state of the B sentences of `memory` before the first token."""

    def step(self, tokens: Tensor, state: Any, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Read ``tokens [N]``, N a multiple of B: log-probabilities ``[N, V]``, weights ``[N, S]``, the new state."""


@dataclass(frozen=True)
class Hypothesis:
    """One translation found.

    Attributes:
        ids: target pieces, without BOS and EOS.
        log_prob: of the pieces and EOS together, in nats; higher is better.
        score: `log_prob` over the length penalty; higher is better.
        weights: attention ``[len(ids) + 1, S]`` over the sentence's own S source pieces; the last row predicted EOS.
            ``[len(ids) + 1, 0]`` for a model without attention.
    """

    ids: list[int]
    log_prob: float
    score: float
    weights: NDArray[np.float32]


def length_penalty(length: int, alpha: float) -> float:
    """((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14); `length` counts EOS."""
    return float(((5.0 + length) / 6.0) ** alpha)


def greedy(
    model: SearchModel, memory: SearchMemory, min_length: int, max_lengths: Sequence[int], alpha: float = 0.0
) -> list[Hypothesis]:
    """The likeliest token, step by step; finished sentences leave the batch.

    Args:
        model: what is searched.
        memory: B encoded sentences.
        min_length: least number of pieces before EOS.
        max_lengths: for each sentence the most pieces, EOS counted; the last place can only be EOS.
        alpha: of the length penalty in `score`; it has no influence on what is found.

    Returns:
        One hypothesis per sentence.
    """
    device = memory.src_mask.device
    state = model.start(memory)
    count = memory.src_mask.shape[0]
    lengths = memory.src_mask.sum(1).tolist()
    limits = torch.tensor(max_lengths, device=device)
    sentences = list(range(count))
    tokens = torch.full((count,), BOS, device=device)
    log_prob = torch.zeros(count, device=device)
    ids_so_far = torch.empty(count, 0, dtype=torch.long, device=device)
    weights_so_far: list[Tensor] = []
    found: list[Hypothesis | None] = [None] * count
    for length in range(1, max(max_lengths, default=0) + 1):
        log_probs, weights, state = model.step(tokens, state, memory)
        best, tokens = _allowed(log_probs, length, min_length, limits).max(dim=-1)
        log_prob = log_prob + best
        weights_so_far.append(weights)
        ended = tokens == EOS
        if ended.any():
            for row in ended.nonzero()[:, 0].tolist():
                sentence = sentences[row]
                attention = torch.stack([step[row, : lengths[sentence]] for step in weights_so_far])
                found[sentence] = _hypothesis(ids_so_far[row], log_prob[row], alpha, attention)
            keep = (~ended).nonzero()[:, 0]
            if len(keep) == 0:
                break
            sentences = [sentences[row] for row in keep.tolist()]
            state, memory, limits = state.select(keep), memory.select(keep), limits[keep]
            tokens, log_prob, ids_so_far = tokens[keep], log_prob[keep], ids_so_far[keep]
            weights_so_far = [step[keep] for step in weights_so_far]
        ids_so_far = torch.cat([ids_so_far, tokens[:, None]], dim=1)
    return [hypothesis for hypothesis in found if hypothesis is not None]


def beam_search(
    model: SearchModel,
    memory: SearchMemory,
    beam_size: int,
    min_length: int,
    max_lengths: Sequence[int],
    alpha: float,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Beam search in which a finished hypothesis keeps its place in the beam, so the beam narrows as hypotheses end.

    A sentence is done when its beam is full of finished hypotheses, or when no unfinished one can beat the `n_best`-th
    best finished one any more. An unfinished one of log-probability p can only lose probability, and its penalty can
    at most become that of the sentence's limit L; p <= 0, so no continuation of it scores above p / penalty(L).

    Args:
        model: what is searched.
        memory: B encoded sentences; encoded once and shared by the beams.
        beam_size: K. 1 is greedy search; at least as many as there are sequences is exhaustive.
        min_length: least number of pieces before EOS.
        max_lengths: for each sentence the most pieces, EOS counted; the last place can only be EOS.
        alpha: of the length penalty.
        n_best: how many hypotheses a sentence is searched for, at most `beam_size`.

    Returns:
        For each sentence its finished hypotheses, best score first, `n_best` at most.
    """
    beams = _Beams(model, memory, beam_size, max_lengths, alpha, n_best)
    for length in range(1, max(max_lengths, default=0) + 1):
        if not beams.advance(length, min_length):
            break
    return [sorted(found, key=lambda hypothesis: -hypothesis.score)[:n_best] for found in beams.found]


class _Beams:
    """The unfinished sentences of a batch, K rows each, and everything found so far."""

    def __init__(
        self,
        model: SearchModel,
        memory: SearchMemory,
        beam_size: int,
        max_lengths: Sequence[int],
        alpha: float,
        n_best: int,
    ):
        self.model, self.memory, self.size, self.alpha, self.n_best = model, memory, beam_size, alpha, n_best
        device, count = memory.src_mask.device, memory.src_mask.shape[0]
        self.state = model.start(memory).select(torch.arange(count, device=device).repeat_interleave(beam_size))
        self.sentences = list(range(count))
        self.src_lengths = memory.src_mask.sum(1).tolist()
        self.max_lengths = list(max_lengths)
        self.limits = torch.tensor(self.max_lengths, device=device)
        self.tokens = torch.full((count, beam_size), BOS, device=device)
        # One row of each sentence starts; the others, impossible as yet, are filled by its continuations.
        self.log_prob = torch.full((count, beam_size), -torch.inf, device=device)
        self.log_prob[:, 0] = 0.0
        self.room = torch.full((count,), beam_size, device=device)
        self.ids = torch.empty(count, beam_size, 0, dtype=torch.long, device=device)
        self.weights: Tensor | None = None  # [B, K, t, S]
        self.found: list[list[Hypothesis]] = [[] for _ in range(count)]

    def advance(self, length: int, min_length: int) -> bool:
        """One step for all sentences; False when all are done."""
        count, size = self.tokens.shape
        log_probs, weights, state = self.model.step(self.tokens.flatten(), self.state, self.memory)
        limits = self.limits.repeat_interleave(size)
        log_probs = _allowed(log_probs, length, min_length, limits)
        row_best, row_ids = log_probs.topk(min(size, log_probs.shape[-1]))  # no row can give the beam more than K
        width = row_best.shape[-1]
        totals = (self.log_prob[:, :, None] + row_best.view(count, size, width)).flatten(1)
        best, where = totals.topk(size)
        parents = where // width  # [B, K] which row each came from
        tokens = row_ids.view(count, size * width).gather(1, where)
        chosen = (torch.arange(size, device=best.device) < self.room[:, None]) & (best > -torch.inf)
        rows = (parents + torch.arange(count, device=best.device)[:, None] * size).flatten()
        self._remember(weights[rows].view(count, size, -1), rows)
        ended = chosen & (tokens == EOS)
        for sentence, row in ended.nonzero().tolist():
            original = self.sentences[sentence]
            assert self.weights is not None
            attention = self.weights[sentence, row, :, : self.src_lengths[original]]
            self.found[original].append(
                _hypothesis(self.ids[sentence, row], best[sentence, row], self.alpha, attention)
            )
        self.room = self.room - ended.sum(1)
        self.log_prob = best.masked_fill(ended | ~chosen, -torch.inf)
        self.tokens = tokens
        self.ids = torch.cat([self.ids, tokens[:, :, None]], dim=-1)
        return self._drop_done(state, rows)

    def _remember(self, weights: Tensor, rows: Tensor) -> None:
        """Put the history in the order of the new beam and append this step's weights ``[B, K, S]``."""
        count, size = self.tokens.shape
        self.ids = self.ids.flatten(0, 1)[rows].view(count, size, self.ids.shape[-1])
        step = weights[:, :, None]
        if self.weights is None:
            self.weights = step
        else:
            before = self.weights.flatten(0, 1)[rows].view(count, size, *self.weights.shape[2:])
            self.weights = torch.cat([before, step], dim=2)

    def _drop_done(self, state: Any, rows: Tensor) -> bool:
        """Let the sentences that are done leave, and reorder the state for the rest; False when none is left."""
        assert self.weights is not None
        hopes = self.log_prob.max(dim=1).values.tolist()
        keep = [i for i, hope in enumerate(hopes) if not self._is_done(self.sentences[i], hope)]
        if len(keep) == len(hopes):
            self.state = state.select(rows)
            return True
        if not keep:
            return False
        kept = torch.tensor(keep, device=rows.device)
        self.state = state.select(rows.view(len(hopes), self.size)[kept].flatten())
        self.memory = self.memory.select(kept)
        self.sentences = [self.sentences[i] for i in keep]
        self.limits, self.room, self.tokens = self.limits[kept], self.room[kept], self.tokens[kept]
        self.log_prob, self.ids, self.weights = self.log_prob[kept], self.ids[kept], self.weights[kept]
        return True

    def _is_done(self, sentence: int, hope: float) -> bool:
        """Whether nothing unfinished, the best of log-probability `hope`, can still enter the n best."""
        if hope == -torch.inf:
            return True
        scores = sorted((hypothesis.score for hypothesis in self.found[sentence]), reverse=True)
        bound = hope / length_penalty(self.max_lengths[sentence], self.alpha)
        return len(scores) >= self.n_best and scores[self.n_best - 1] >= bound


def _allowed(log_probs: Tensor, length: int, min_length: int, limits: Tensor) -> Tensor:
    """Forbid padding and BOS, EOS while too short, all but EOS at a sentence's limit; `length` counts this token."""
    log_probs = log_probs.clone()
    log_probs[:, [PAD, BOS]] = -torch.inf
    at_limit = limits <= length
    if length <= min_length:
        log_probs[~at_limit, EOS] = -torch.inf
    if at_limit.any():
        only_eos = torch.full_like(log_probs, -torch.inf)
        only_eos[:, EOS] = log_probs[:, EOS]
        log_probs = torch.where(at_limit[:, None], only_eos, log_probs)
    return log_probs


def _hypothesis(ids: Tensor, log_prob: Tensor, alpha: float, weights: Tensor) -> Hypothesis:
    value = float(log_prob)
    return Hypothesis(ids.tolist(), value, value / length_penalty(len(ids) + 1, alpha), weights.float().cpu().numpy())
