"""Beam search in groups that avoid each other's words (Vijayakumar et al. 2018, Diverse beam search)."""

import math

import torch
from torch import Tensor

from nmt.decoding.beam import Beams, SearchTask
from nmt.decoding.rules import Rules, Scoring
from nmt.decoding.search import Hypothesis, SearchMemory, SearchModel


def diverse_beam_search(
    model: SearchModel,
    memory: SearchMemory,
    beam_size: int,
    rules: Rules,
    scoring: Scoring,
    groups: int,
    strength: float,
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """Search with several beams that take turns at every step.

    A beam ranks its candidates by their log-probability minus a penalty. The penalty is `strength` times the number of
    hypotheses in earlier beams that have taken the same piece at this step (Hamming diversity; equations 4 and 5). The
    log-probabilities and scores of the hypotheses found are the model's own. Nothing is known about the candidates left
    out, so no hypothesis is proven.

    Args:
        model: the model to search.
        memory: B encoded sentences.
        beam_size: K, summed over all groups; a multiple of `groups`.
        rules: the rules for the B sentences.
        scoring: how finished hypotheses are ranked.
        groups: the number of beams.
        strength: lambda, in nats.
        n_best: how many hypotheses to return for each sentence, at most `beam_size`.

    Returns:
        For each sentence the finished hypotheses of all groups without duplicates, best score first, at most `n_best`.
        Each group searches for its own best hypotheses, so the result is not taken from the first group alone.
    """
    size = beam_size // groups
    most = min(size, n_best)
    taken = _Taken(len(memory.src_mask), strength)
    task = SearchTask(model, memory, rules, scoring, most)
    beams = [_GroupBeams(task, size, taken) for _ in range(groups)]
    running = beams
    while running:
        taken.pieces = None
        running = [group for group in running if group.advance()]
    found: list[list[Hypothesis]] = []
    for of_groups in zip(*(group.results() for group in beams), strict=True):
        different = {tuple(one.ids): one for hypotheses in reversed(of_groups) for one in hypotheses}
        found.append(sorted(different.values(), key=lambda one: -one.score)[:n_best])
    return found


class _Taken:
    """The number of hypotheses in earlier beams that have taken each piece at this step."""

    def __init__(self, sentences: int, strength: float):
        self.sentences, self.strength = sentences, strength
        self.pieces: Tensor | None = None  # [B, V]; None before the first beam


class _GroupBeams(Beams):
    """One of the beams."""

    def __init__(self, task: SearchTask, beam_size: int, taken: _Taken):
        super().__init__(task, beam_size)
        self.taken = taken

    def choose(self, log_probs: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        here = torch.tensor(self.sentences, device=log_probs.device)
        if self.taken.pieces is None:
            self.taken.pieces = log_probs.new_zeros(self.taken.sentences, log_probs.shape[-1])
        cost = self.taken.strength * self.taken.pieces[here]  # [B, V]
        before = self.tokens.shape[1]
        best, parents, tokens, pruned = super().choose(log_probs - cost.repeat_interleave(before, dim=0))
        best = best + cost.gather(1, tokens)  # totals are sums of the model's own log-probabilities
        is_filled = (torch.arange(best.shape[1], device=best.device) < self.slots[:, None]) & best.isfinite()
        self.taken.pieces.index_put_(
            (here[:, None].expand_as(tokens), tokens), is_filled.to(best.dtype), accumulate=True
        )
        return best, parents, tokens, torch.full_like(pruned, math.inf)
