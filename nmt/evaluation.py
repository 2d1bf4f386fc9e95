"""BLEU, chrF and TER through sacrebleu, each with its signature; perplexity from log-likelihoods."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nmt.errors import DataError


@dataclass(frozen=True)
class Score:
    """A corpus metric, 0 to 100 (TER may exceed it), with sacrebleu's signature.

    `margin` is half the 95 % confidence interval from bootstrap resampling; None if it was not asked for, or
    there are too few sentences for one.
    """

    name: str
    value: float
    signature: str
    margin: float | None = None


def perplexity(nll: float, tokens: int) -> float:
    """exp(nll / tokens): `nll` in nats summed over `tokens` target pieces, EOS counted, without label smoothing."""
    return math.exp(min(700.0, nll / max(1, tokens)))


def corpus_scores(
    hyps: Sequence[str],
    refs: Sequence[str],
    tokenize: str = "13a",
    lowercase: bool = False,
    metrics: Sequence[str] = ("bleu", "chrf", "ter"),
    bootstrap: int = 1,
) -> dict[str, Score]:
    """Score translations against one reference each.

    Args:
        hyps: translations.
        refs: references, as many.
        tokenize: sacrebleu's tokenizer for BLEU; ``none`` for tokenised text.
        lowercase: whether case is ignored, by all metrics.
        metrics: which, of `bleu`, `chrf` and `ter`.
        bootstrap: number of resamplings for the confidence interval; 1 for none.

    Raises:
        DataError: if there are not as many references as translations (sacrebleu would cut to the shorter list).
    """
    from sacrebleu.metrics import BLEU, CHRF, TER

    if len(hyps) != len(refs):
        raise DataError(f"{len(hyps)} translations but {len(refs)} references; they must be one to one")
    makers: dict[str, Any] = {
        # effective_order matters for sentences only; force silences the advice about tokenised input, which is intended
        "bleu": lambda: BLEU(tokenize=tokenize, lowercase=lowercase, force=True),
        "chrf": lambda: CHRF(lowercase=lowercase),
        "ter": lambda: TER(case_sensitive=not lowercase),
    }
    scores = {}
    for name in metrics:
        metric = makers[name]()
        try:
            result = metric.corpus_score(list(hyps), [list(refs)], n_bootstrap=bootstrap)
            margin = float(result._ci) if bootstrap > 1 else None
        except TypeError:  # with a handful of sentences, resamples without a match make sacrebleu 2.6 mix number types
            result, margin = metric.corpus_score(list(hyps), [list(refs)]), None
        scores[name] = Score(result.name, float(result.score), str(metric.get_signature()), margin)
    return scores
