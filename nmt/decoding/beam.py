"""Beam search with any model that can `start` and `step`."""

import math
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nmt.data.tokenizer import BOS, EOS
from nmt.decoding.rules import Rules, Scoring
from nmt.decoding.search import Hypothesis, SearchMemory, SearchModel, finished

_BLOCK = 64  # pieces per block when `_best` looks for the largest values


def beam_search(
    model: SearchModel, memory: SearchMemory, beam_size: int, rules: Rules, scoring: Scoring, n_best: int = 1
) -> list[list[Hypothesis]]:
    """Search with a beam that narrows as hypotheses finish, since a finished hypothesis keeps its place in the beam.

    A sentence is done when its beam is full of finished hypotheses, or when no unfinished one can still beat the
    `n_best`-th best finished one (`Scoring.bound`). So no continuation of what the beam still holds at the end could
    have been better. If the score of the best hypothesis is also at least the bound of everything that the beam left
    out on the way, it is the best of all that the rules allow. Then it is marked as `proven`.

    Args:
        model: the model to search.
        memory: B encoded sentences; encoded once and shared by the beams.
        beam_size: K. With 1, this is greedy search; with K no smaller than the number of sequences, it is exhaustive.
        rules: the rules for the B sentences.
        scoring: how finished hypotheses are ranked.
        n_best: how many hypotheses to return for each sentence, at most `beam_size`.

    Returns:
        For each sentence its finished hypotheses, best score first, at most `n_best`.
    """
    beams = Beams(SearchTask(model, memory, rules, scoring, n_best), beam_size)
    while beams.advance():
        pass
    return beams.results()


class SearchTask(NamedTuple):
    """What to search, and how; see the arguments of `beam_search`."""

    model: SearchModel
    memory: SearchMemory
    rules: Rules
    scoring: Scoring
    n_best: int


class Beams:
    """The unfinished sentences of a batch, at most K rows each, and everything found so far."""

    def __init__(self, task: SearchTask, beam_size: int):
        self.model, self.memory, self.rules, self.scoring, self.n_best = task
        self.size = beam_size
        src_mask = self.memory.src_mask
        device, count = src_mask.device, src_mask.shape[0]
        self.state = self.model.start(self.memory)
        self.sentences = list(range(count))
        self.src_lengths = src_mask.sum(1).tolist()
        self.max_lengths: list[int] = self.rules.max_lengths.tolist()
        # Each sentence starts with one row, whose continuations form the first beam.
        self.tokens = torch.full((count, 1), BOS, device=device)
        self.log_prob = torch.zeros(count, 1, device=device)
        self.slots = torch.full((count,), beam_size, device=device)
        self.ids = torch.empty(count, 1, 0, dtype=torch.long, device=device)
        self.log_probs = torch.empty(count, 1, 0, device=device)  # of each token
        # The attention is large, so it is not reordered with the beam: a row knows which row of each step it continues.
        self.weights: list[Tensor] = []  # [N, S] of each step, as the model returned them
        self.origins = torch.empty(count, 1, 0, dtype=torch.long, device=device)  # [B, K, t] rows of `weights`
        self.found: list[list[Hypothesis]] = [[] for _ in range(count)]
        self.best_pruned = [-math.inf] * count  # the largest log-probability that the beam had no room for

    def advance(self) -> bool:
        """Take one step for all sentences; return False when all are done."""
        count, before = self.tokens.shape
        log_probs, weights, state = self.model.step(self.tokens.flatten(), self.state, self.memory)
        own = log_probs.clone() if self.rules.repetition_penalty != 1.0 else None  # the model's, without the penalty
        log_probs = self.rules.apply(log_probs, self.ids.flatten(0, 1))
        best, parents, tokens, pruned = self.choose(log_probs)
        size = best.shape[1]
        chosen = (torch.arange(size, device=best.device) < self.slots[:, None]) & (best > -torch.inf)
        rows = (parents + torch.arange(count, device=best.device)[:, None] * before).flatten()
        token_log_probs = (log_probs if own is None else own)[rows, tokens.flatten()].view(count, size)
        self._remember(weights, token_log_probs, rows)
        ended = chosen & (tokens == EOS)
        self.log_prob = best.masked_fill(ended | ~chosen, -torch.inf)
        # Read from the device only once per step: what was pruned, what is alive, and which rows have ended.
        looked = torch.cat([pruned[:, None], self.log_prob.amax(dim=1, keepdim=True), ended.to(pruned.dtype)], dim=1)
        best_pruned, best_alive, *ends = map(list, zip(*looked.tolist(), strict=True))
        self._note_pruned(best_pruned)
        self._note_ended([(at, row) for at, row in product(range(count), range(size)) if ends[row][at]], best)
        self.slots = self.slots - ended.sum(1)
        self.tokens = tokens
        self.ids = torch.cat([self.ids, tokens[:, :, None]], dim=-1)
        return self._drop_done(state, rows, best_alive)

    def candidates(self, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best continuations of each sentence, in order: totals, rows and pieces ``[B, <= K + 1]``.

        There is one more than the beam can hold, so that the best continuation without a place is among them.

        Args:
            log_probs: ``[N, V]`` of the pieces that may come next.
        """
        count, before = self.tokens.shape
        row_best, row_ids = _best(log_probs, min(self.size + 1, log_probs.shape[-1]))
        width = row_best.shape[-1]
        totals = (self.log_prob[:, :, None] + row_best.view(count, before, width)).flatten(1)
        best, where = totals.topk(min(self.size + 1, totals.shape[-1]))
        return best, where // width, row_ids.view(count, before * width).gather(1, where)

    def choose(self, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the continuations that the beam holds next.

        Returns:
            Their totals, the rows that they continue, and their pieces, ``[B, <= K]`` each. Last, the total ``[B]`` of
            the best continuation that the beam has no room for, -inf if there is none.
        """
        best, parents, tokens = self.candidates(log_probs)
        if best.shape[1] > self.size:
            pruned = best.gather(1, self.slots[:, None])[:, 0]
        else:
            pruned = torch.full_like(best[:, 0], -torch.inf)
        return best[:, : self.size], parents[:, : self.size], tokens[:, : self.size], pruned

    def _note_pruned(self, log_probs: list[float]) -> None:
        """Record, for each sentence, the log-probability of the best continuation that the beam has no room for."""
        for original, log_prob in zip(self.sentences, log_probs, strict=True):
            self.best_pruned[original] = max(self.best_pruned[original], log_prob)

    def _note_ended(self, ended: list[tuple[int, int]], totals: Tensor) -> None:
        """Add the hypotheses that have ended to those found, reading them from the device all at once.

        Args:
            ended: the sentence and the row of each hypothesis in the batch.
            totals: ``[B, K]`` the log-probabilities of all rows, with the penalty for repetition.
        """
        if not ended:
            return
        at = torch.tensor(ended, device=self.ids.device)
        ids, log_probs, origins, penalised = (
            each[at[:, 0], at[:, 1]] for each in (self.ids, self.log_probs, self.origins, totals[:, :, None])
        )
        of_steps = [step[rows] for step, rows in zip(self.weights, origins.unbind(1), strict=True)]
        weights = torch.stack(of_steps, dim=1)  # [ended, t, S]
        steps, length = weights.shape[1:]
        # float32 represents ids of up to 2^24 exactly, so everything can be copied as one tensor.
        parts = [each.to(log_probs.dtype) for each in (ids, log_probs, weights.flatten(1), penalised)]
        read = torch.cat(parts, dim=1).cpu()
        for (sentence, row), values in zip(ended, read, strict=True):
            original = self.sentences[sentence]
            of_ids, of_tokens, of_weights, total = values.split([steps - 1, steps, steps * length, 1])
            attention = of_weights.view(steps, length)[:, : self.src_lengths[original]].to(weights.dtype)
            ranked = float(total) if self.rules.repetition_penalty != 1.0 else None
            self.found[original].append(
                finished(of_ids.long(), of_tokens, attention, self.scoring, self.missing(sentence, row), ranked)
            )

    def missing(self, sentence: int, row: int) -> int:
        """Return how many required phrases a row lacks; none are required here."""
        return 0

    def results(self) -> list[list[Hypothesis]]:
        """Return the n best hypotheses of each sentence, the first one with its `proven` and `gap` filled in."""
        ranking = [sorted(found, key=lambda one: (one.missing, -one.score))[: self.n_best] for found in self.found]
        for sentence, hypotheses in enumerate(ranking):
            bound = self.scoring.bound(self.best_pruned[sentence], self.max_lengths[sentence])
            if hypotheses:
                gap = max(0.0, bound - hypotheses[0].score)
                hypotheses[0] = replace(hypotheses[0], proven=gap == 0.0, gap=gap)
        return ranking

    def _remember(self, weights: Tensor, log_probs: Tensor, rows: Tensor) -> None:
        """Reorder the history to match the new beam, and append this step's weights and log-probabilities."""
        count, size = log_probs.shape
        ids, before, origins = (
            each.flatten(0, 1)[rows].view(count, size, each.shape[-1])
            for each in (self.ids, self.log_probs, self.origins)
        )
        self.ids = ids
        self.log_probs = torch.cat([before.to(log_probs.dtype), log_probs[:, :, None]], dim=-1)
        self.origins = torch.cat([origins, rows.view(count, size, 1)], dim=-1)
        self.weights.append(weights)

    def _drop_done(self, state: Any, rows: Tensor, best_alive: list[float]) -> bool:
        """Remove the sentences that are done and reorder the state for the others; return False if none are left."""
        keep = [i for i, best in enumerate(best_alive) if not self._is_done(self.sentences[i], best)]
        if len(keep) == len(best_alive):
            self.state = state.select(rows)
            return True
        if not keep:
            return False
        kept = torch.tensor(keep, device=rows.device)
        self.state = state.select(rows.view(len(best_alive), -1)[kept].flatten())
        self.memory = self.memory.select(kept)
        self.sentences = [self.sentences[i] for i in keep]
        self.rules, self.slots, self.tokens = self.rules.select(kept), self.slots[kept], self.tokens[kept]
        self.log_prob, self.ids = self.log_prob[kept], self.ids[kept]
        self.log_probs, self.origins = self.log_probs[kept], self.origins[kept]
        return True

    def _is_done(self, sentence: int, best_alive: float) -> bool:
        """Return True if no live hypothesis of a sentence can still enter its n best.

        Args:
            sentence: the number of the sentence.
            best_alive: the largest log-probability of its live hypotheses.
        """
        if best_alive == -torch.inf:
            return True
        scores = sorted((one.score for one in self.found[sentence] if not one.missing), reverse=True)
        bound = self.scoring.bound(best_alive, self.max_lengths[sentence])
        return len(scores) >= self.n_best and scores[self.n_best - 1] >= bound


def _best(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the `count` largest values of each row of ``[N, V]``, in order, and their positions.

    They are in the `count` blocks with the largest maxima. Finding these blocks first takes a third of the time.
    """
    blocks = values.shape[1] // _BLOCK
    if blocks <= count:
        return values.topk(count)
    whole = values[:, : blocks * _BLOCK].unflatten(1, (blocks, _BLOCK))  # type: ignore[no-untyped-call]
    chosen = whole.amax(dim=2).topk(count).indices  # [N, count]
    positions = (chosen[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=values.device)).flatten(1)
    rest = torch.arange(blocks * _BLOCK, values.shape[1], device=values.device).expand(len(values), -1)
    positions = torch.cat([positions, rest], dim=1)
    best, where = values.gather(1, positions).topk(count)
    return best, positions.gather(1, where)
