"""Greedy search and sampling with any model that can `start` and `step`; every hypothesis keeps its attention."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from nmt.arrays import Float32Array
from nmt.data.tokenizer import BOS, EOS
from nmt.decoding.rules import Rules, Scoring


class SearchMemory(Protocol):
    """What search needs from an encoded batch: its source mask ``[B, S]``, and `select` to choose sentences."""

    @property
    def src_mask(self) -> Tensor: ...
    def select(self, rows: Tensor) -> Self: ...


class SearchState(Protocol):
    """What search needs from a decoder state of N rows: `select` to reorder, repeat and drop rows."""

    def select(self, rows: Tensor) -> Self: ...


class SearchModel(Protocol):
    """A model that can be searched: an RNN, a Transformer, an ensemble."""

    def start(self, memory: Any) -> Any:
        """Return the state of the B sentences of `memory` before the first token."""

    def step(self, tokens: Tensor, state: Any, memory: Any) -> tuple[Tensor, Tensor, Any]:
        """Read ``tokens [N]``, N a multiple of B.

        Returns:
            The log-probabilities ``[N, V]`` of the next token, the weights ``[N, S]``, and the new state.
        """


@dataclass(frozen=True)
class Hypothesis:
    """One translation found.

    Attributes:
        ids: target pieces, without BOS and EOS.
        log_prob: the log-probability of the pieces and EOS together, in nats; higher is better.
        score: its score by `Scoring`, with the repetition penalty; higher is better.
        token_log_probs: the log-probability of each piece and of EOS, in nats.
        proven: whether search has shown that no other translation allowed by the rules scores higher; False if it
            cannot tell.
        gap: the most by which another translation could score higher, 0 if this one is proven. It is known only for the
            best hypothesis of a beam; for all others it is infinite.
        weights: attention ``[len(ids) + 1, S]`` over the sentence's own S source pieces; the last row predicted EOS.
            ``[len(ids) + 1, 0]`` for a model without attention.
        missing: how many required phrases it lacks.
    """

    ids: list[int]
    log_prob: float
    score: float
    token_log_probs: list[float]
    proven: bool
    weights: Float32Array
    missing: int = 0
    gap: float = math.inf


def greedy(model: SearchModel, memory: SearchMemory, rules: Rules, scoring: Scoring) -> list[Hypothesis]:
    """Take the likeliest token at each step; finished sentences leave the batch.

    Args:
        model: the model to search.
        memory: B encoded sentences.
        rules: the rules for the B sentences.
        scoring: how the result is scored; it does not influence which hypothesis is found.

    Returns:
        One hypothesis per sentence.
    """
    return _step_by_step(model, memory, rules, scoring, lambda log_probs, sentences: log_probs.argmax(dim=-1))


def sample(
    model: SearchModel,
    memory: SearchMemory,
    rules: Rules,
    scoring: Scoring,
    generators: Sequence[torch.Generator],
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
) -> list[Hypothesis]:
    """Sample one token at each step.

    Args:
        model: the model to sample from.
        memory: B encoded sentences.
        rules: the rules for the B sentences.
        scoring: how the result is scored. Log-probabilities are the model's own, without `temperature`, `top_k` and
            `top_p`.
        generators: one (on the CPU) for each sentence, so that the samples of one do not depend on the others.
        temperature: log-probabilities are divided by it.
        top_k: sample only from the k likeliest tokens; 0: from all.
        top_p: sample only from the likeliest tokens that together have this probability (Holtzman et al. 2020); 1: from
            all.

    Returns:
        One hypothesis per sentence.
    """

    def draw(log_probs: Tensor, sentences: list[int]) -> Tensor:
        kept = _cut(log_probs / temperature, top_k, top_p)
        # With Gumbel noise added, the position of the maximum is a sample. The noise is -log of an exponential
        # variable: -log(-log u) would cut off the tail, since a float32 u below 1 is at most 1 - 6e-8.
        waits = torch.stack([torch.empty(kept.shape[-1]).exponential_(generator=generators[i]) for i in sentences])
        noise = -waits.log()
        return (kept + noise.to(kept.device)).argmax(dim=-1)

    return _step_by_step(model, memory, rules, scoring, draw)


def _cut(log_probs: Tensor, top_k: int, top_p: float) -> Tensor:
    """Return the log-probabilities with -inf for all tokens that may not be sampled.

    Only the k likeliest tokens are kept, and of these only the fewest likeliest that together reach probability p.
    """
    if top_k:
        least = log_probs.topk(min(top_k, log_probs.shape[-1])).values[:, -1:]
        log_probs = log_probs.masked_fill(log_probs < least, -torch.inf)
    if top_p < 1.0:
        ordered, order = log_probs.softmax(dim=-1).sort(dim=-1, descending=True)
        enough_before = ordered.cumsum(dim=-1) - ordered >= top_p
        log_probs = log_probs.masked_fill(enough_before.gather(-1, order.argsort(dim=-1)), -torch.inf)
    return log_probs


def _step_by_step(
    model: SearchModel,
    memory: SearchMemory,
    rules: Rules,
    scoring: Scoring,
    choose: Callable[[Tensor, list[int]], Tensor],
) -> list[Hypothesis]:
    """Generate one token at a time and return one hypothesis per sentence.

    `choose` returns the next tokens ``[N]``, given the log-probabilities ``[N, V]`` that the rules leave and the number
    of each row's sentence.
    """
    device, count = memory.src_mask.device, memory.src_mask.shape[0]
    state = model.start(memory)
    lengths = memory.src_mask.sum(1).tolist()
    sentences = list(range(count))
    tokens = torch.full((count,), BOS, device=device)
    ids_so_far = torch.empty(count, 0, dtype=torch.long, device=device)
    log_probs_so_far = torch.empty(count, 0, device=device)
    totals = torch.zeros(count, device=device)  # with the penalty for repetition
    weights_so_far: list[Tensor] = []
    found: list[Hypothesis | None] = [None] * count
    while sentences:
        log_probs, weights, state = model.step(tokens, state, memory)
        own = log_probs.clone() if rules.repetition_penalty != 1.0 else None  # the model's, without the penalty
        log_probs = rules.apply(log_probs, ids_so_far)
        tokens = choose(log_probs, sentences)
        chosen = log_probs.gather(1, tokens[:, None])
        totals = totals + chosen[:, 0]
        chosen = chosen if own is None else own.gather(1, tokens[:, None])
        log_probs_so_far = torch.cat([log_probs_so_far, chosen], dim=1)
        weights_so_far.append(weights)
        ended = tokens == EOS
        if ended.any():
            for row in ended.nonzero()[:, 0].tolist():
                sentence = sentences[row]
                attention = torch.stack([step[row, : lengths[sentence]] for step in weights_so_far])
                total = None if own is None else float(totals[row])
                found[sentence] = finished(ids_so_far[row], log_probs_so_far[row], attention, scoring, total=total)
            keep = (~ended).nonzero()[:, 0]
            if len(keep) == 0:
                break
            sentences = [sentences[row] for row in keep.tolist()]
            state, memory, rules = state.select(keep), memory.select(keep), rules.select(keep)
            tokens, log_probs_so_far, ids_so_far = tokens[keep], log_probs_so_far[keep], ids_so_far[keep]
            totals = totals[keep]
            weights_so_far = [step[keep] for step in weights_so_far]
        ids_so_far = torch.cat([ids_so_far, tokens[:, None]], dim=1)
    return [hypothesis for hypothesis in found if hypothesis is not None]


def finished(
    ids: Tensor, log_probs: Tensor, weights: Tensor, scoring: Scoring, missing: int = 0, total: float | None = None
) -> Hypothesis:
    """Return a finished hypothesis.

    Args:
        ids: its pieces ``[t]``.
        log_probs: the model's log-probabilities ``[t + 1]``.
        weights: the attention ``[t + 1, S]``.
        scoring: how it is scored.
        missing: how many required phrases it lacks.
        total: the log-probability to score, with the repetition penalty; None for the sum of `log_probs`.
    """
    token_log_probs = log_probs.tolist()
    value = math.fsum(token_log_probs)  # float32 would round at every addition
    return Hypothesis(
        ids.tolist(),
        value,
        scoring.score(value if total is None else total, weights),
        token_log_probs,
        False,
        weights.float().cpu().numpy(),
        missing,
    )
