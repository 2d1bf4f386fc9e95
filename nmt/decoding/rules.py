"""Rules for what search may generate, and the score of what it has generated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nmt.data.tokenizer import BOS, EOS, PAD, UNK
from nmt.decoding.phrases import Vocabulary

NEW_WORD = -2  # in a prefix: the next piece begins a word


@dataclass(frozen=True)
class Rules:
    """Rules for B sentences.

    Attributes:
        max_lengths: ``[B]`` the maximum number of pieces including EOS; the last of them can only be EOS.
        min_lengths: ``[B]`` the minimum number of pieces before EOS.
        prefixes: ``[B, P]`` pieces that the hypothesis must begin with, -1 where it is free, NEW_WORD where the next
            piece must begin a word.
        forbid_unk: True if the unknown piece is never generated.
        no_repeat_ngram: n, if no sequence of n pieces is generated twice; 0 to allow repetition.
        begins_word: ``[V]`` True if a piece begins a word; needed for NEW_WORD only.
        forbid: for each sentence the phrases that may not be generated; empty if no sentence has any.
        vocabulary: the target pieces; needed for `forbid` only.
        repetition_penalty: the factor for the log-probability of each piece that the row has already generated; 1 for
            no penalty.
        first_limit: the smallest of `max_lengths` when the search began; no row reaches its limit at a smaller length.
    """

    max_lengths: Tensor
    min_lengths: Tensor
    prefixes: Tensor
    forbid_unk: bool = False
    no_repeat_ngram: int = 0
    begins_word: Tensor | None = None
    forbid: Sequence[Sequence[str]] = ()
    vocabulary: Vocabulary | None = None
    repetition_penalty: float = 1.0
    first_limit: int = 0

    @classmethod
    def of(
        cls,
        max_lengths: Sequence[int],
        min_lengths: Sequence[int] | int = 0,
        prefixes: Sequence[Sequence[int]] | None = None,
        forbid_unk: bool = False,
        no_repeat_ngram: int = 0,
        device: torch.device | None = None,
        begins_word: Sequence[bool] | None = None,
        forbid: Sequence[Sequence[str]] = (),
        vocabulary: Vocabulary | None = None,
        repetition_penalty: float = 1.0,
    ) -> "Rules":
        """Return rules from plain numbers; a limit is raised if the sentence's prefix and EOS would exceed it."""
        prefixes = prefixes or [[] for _ in max_lengths]
        least = [min_lengths] * len(max_lengths) if isinstance(min_lengths, int) else min_lengths
        width = max(map(len, prefixes), default=0)
        limits = [max(limit, len(prefix) + 1) for limit, prefix in zip(max_lengths, prefixes, strict=True)]
        rows = [[*prefix, *[-1] * (width - len(prefix))] for prefix in prefixes]
        return cls(
            torch.tensor(limits, device=device),
            torch.tensor(least, device=device),
            torch.tensor(rows, dtype=torch.long, device=device).view(len(limits), width),
            forbid_unk,
            no_repeat_ngram,
            None if begins_word is None else torch.tensor(begins_word, device=device),
            forbid if any(forbid) else (),
            vocabulary,
            repetition_penalty,
            min(limits, default=0),
        )

    def select(self, rows: Tensor) -> "Rules":
        """Return the rules of the sentences `rows`."""
        return replace(
            self,
            max_lengths=self.max_lengths[rows],
            min_lengths=self.min_lengths[rows],
            prefixes=self.prefixes[rows],
            forbid=[self.forbid[row] for row in rows.tolist()] if self.forbid else (),
        )

    def apply(self, log_probs: Tensor, ids: Tensor) -> Tensor:
        """Return the log-probabilities, with -inf for each piece that may not come next.

        Args:
            log_probs: ``[N, V]``, which may be changed in place; the K rows of each of the B sentences are adjacent.
            ids: ``[N, t]`` the pieces that each row has generated so far.
        """
        inside_prefix = ids.shape[1] < self.prefixes.shape[1]
        if self.repetition_penalty != 1.0:  # Keskar et al. 2019, equation 13, on log-probabilities, which are negative
            log_probs.scatter_(1, ids, log_probs.gather(1, ids) * self.repetition_penalty)
        # A prefix may hold pieces that the rules forbid, so their log-probabilities are kept.
        raw = log_probs.clone() if inside_prefix or self.no_repeat_ngram or self.forbid else log_probs
        beams = len(log_probs) // len(self.max_lengths)
        length = ids.shape[1] + 1  # counting the piece to come
        for piece in (PAD, BOS, UNK) if self.forbid_unk else (PAD, BOS):
            log_probs[:, piece] = -torch.inf
        if self.no_repeat_ngram:
            _forbid_repeats(log_probs, ids.tolist(), self.no_repeat_ngram)
        if self.forbid:
            self._forbid_phrases(log_probs, ids.tolist(), beams)
        at_limit = (self.max_lengths <= length).repeat_interleave(beams)
        too_short = (self.min_lengths >= length).repeat_interleave(beams)
        log_probs[:, EOS].masked_fill_(too_short & ~at_limit, -torch.inf)
        if self.no_repeat_ngram or self.forbid:  # if nothing else is allowed, EOS is, even if the row is too short
            stuck = (log_probs == -torch.inf).all(dim=-1)
            log_probs[stuck, EOS] = raw[stuck, EOS]
        if length >= self.first_limit and at_limit.any():
            end = log_probs[at_limit, EOS]
            log_probs[at_limit] = -torch.inf
            log_probs[at_limit, EOS] = end
        if inside_prefix:
            wanted = self.prefixes[:, ids.shape[1]].repeat_interleave(beams)
            forced = torch.full_like(log_probs, -torch.inf)
            at = wanted.clamp(min=0)[:, None]
            log_probs = torch.where((wanted >= 0)[:, None], forced.scatter(1, at, raw.gather(1, at)), log_probs)
            if self.begins_word is not None:
                inside = ~self.begins_word
                inside[EOS] = False
                log_probs = log_probs.masked_fill((wanted == NEW_WORD)[:, None] & inside, -torch.inf)
        return log_probs

    def _forbid_phrases(self, log_probs: Tensor, generated: list[list[int]], beams: int) -> None:
        """Forbid, in place, the pieces that would complete a forbidden phrase."""
        assert self.vocabulary is not None
        for row, ids in enumerate(generated):
            text = self.vocabulary.text(ids) if self.forbid[row // beams] else ""
            for phrase in self.forbid[row // beams]:
                log_probs[row, list(self.vocabulary.completing(text, phrase))] = -torch.inf


@dataclass(frozen=True)
class Scoring:
    """The score of a finished hypothesis: its log-probability over the length penalty, plus the coverage penalty.

    Attributes:
        alpha: the exponent of the length penalty ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14); `length`
            counts EOS.
        coverage: beta of the coverage penalty beta * sum over source pieces of log(min(1, their weights)), the same
            equation; it is never above 0.
    """

    alpha: float = 0.0
    coverage: float = 0.0

    def score(self, log_prob: float, weights: Tensor) -> float:
        """Return the score of a hypothesis with attention ``[length, S]``."""
        value = log_prob / length_penalty(weights.shape[0], self.alpha)
        if self.coverage == 0.0 or weights.shape[1] == 0:
            return value
        looked = weights.float().sum(dim=0).clamp(min=1e-6, max=1.0)
        return value + self.coverage * float(looked.log().sum())

    def bound(self, log_prob: float, limit: int) -> float:
        """Return an upper bound of the score of all continuations of a hypothesis.

        A continuation has no higher log-probability than the hypothesis, its length penalty is at most that of the
        limit, and the coverage penalty is not above 0.

        Args:
            log_prob: the log-probability of the hypothesis.
            limit: the most pieces that a continuation may have in all.
        """
        return log_prob / length_penalty(limit, self.alpha)


def length_penalty(length: int, alpha: float) -> float:
    """Return ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14); `length` counts EOS."""
    return math.pow((5.0 + length) / 6.0, alpha)


def _forbid_repeats(log_probs: Tensor, generated: list[list[int]], size: int) -> None:
    """Forbid, in place, every piece that would complete a run of `size` pieces that was generated before."""
    for row, ids in enumerate(generated):
        last = ids[len(ids) - size + 1 :]
        repeats = [ids[i + size - 1] for i in range(len(ids) - size + 1) if ids[i : i + size - 1] == last]
        if repeats:
            log_probs[row, repeats] = -torch.inf
