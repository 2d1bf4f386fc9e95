"""BLEU, chrF and TER through sacrebleu, each with its signature; perplexity from log-likelihoods."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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
    _refuse_unequal(hyps, refs)
    scores = {}
    for name in metrics:
        metric = _metric(name, tokenize, lowercase)
        try:
            result = metric.corpus_score(list(hyps), [list(refs)], n_bootstrap=bootstrap)
            margin = float(result._ci) if bootstrap > 1 else None
        except TypeError:  # with a handful of sentences, resamples without a match make sacrebleu 2.6 mix number types
            result, margin = metric.corpus_score(list(hyps), [list(refs)]), None
        scores[name] = Score(result.name, float(result.score), str(metric.get_signature()), margin)
    return scores


@dataclass(frozen=True)
class LengthScore:
    """BLEU of the sentences of `shortest` to `longest` source words."""

    shortest: int
    longest: int
    bleu: float


def scores_by_length(
    srcs: Sequence[str],
    hyps: Sequence[str],
    refs: Sequence[str],
    tokenize: str = "13a",
    lowercase: bool = False,
    groups: int = 4,
) -> list[LengthScore]:
    """BLEU of equally large groups of sentences, from the shortest sources (by white-space words) to the longest."""
    _refuse_unequal(hyps, refs)
    lengths = [len(src.split()) for src in srcs]
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    scores = []
    for group in range(groups):
        chosen = order[group * len(order) // groups : (group + 1) * len(order) // groups]
        if chosen:
            some_hyps, some_refs = ([lines[index] for index in chosen] for lines in (hyps, refs))
            bleu = corpus_scores(some_hyps, some_refs, tokenize, lowercase, ("bleu",))["bleu"]
            scores.append(LengthScore(lengths[chosen[0]], lengths[chosen[-1]], bleu.value))
    return scores


def draw_lengths(curves: Mapping[str, Sequence[LengthScore]], path: Path) -> None:
    """BLEU over source length as a picture, a line for each system (Bahdanau et al. 2015, figure 2).

    Args:
        curves: `scores_by_length` of each system on the same sources.
        path: of the picture.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, max(4.0, 0.22 * len(curves))), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for index, (name, groups) in enumerate(curves.items()):
        axis.plot(
            range(len(groups)),
            [group.bleu for group in groups],
            marker="osv^Dx"[index // 20 % 6],
            color=colormaps["tab20"](index % 20),
            label=name,
        )
    first = next(iter(curves.values()))
    axis.set_xticks(range(len(first)), [f"{group.shortest}-{group.longest}" for group in first])
    axis.set(xlabel="source words (equally many sentences each)", ylabel="BLEU")
    axis.legend(fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=110)


def sentence_scores(
    hyps: Sequence[str], refs: Sequence[str], tokenize: str = "13a", lowercase: bool = False
) -> list[dict[str, float]]:
    """`bleu` (smoothed, effective order) and `chrf` of each sentence by itself."""
    _refuse_unequal(hyps, refs)
    from sacrebleu.metrics import BLEU, CHRF

    bleu = BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=True, force=True)
    chrf = CHRF(lowercase=lowercase)
    return [
        {"bleu": float(bleu.sentence_score(hyp, [ref]).score), "chrf": float(chrf.sentence_score(hyp, [ref]).score)}
        for hyp, ref in zip(hyps, refs, strict=True)
    ]


@dataclass(frozen=True)
class Compared:
    """A system's score beside a baseline's, by paired bootstrap resampling (Koehn 2004).

    Attributes:
        name: of the system.
        metric: `bleu`, `chrf` or `ter`.
        value: its score.
        margin: half the 95 % interval.
        p_value: of the difference to the baseline; None for the baseline.
        signature: sacrebleu's.
    """

    name: str
    metric: str
    value: float
    margin: float
    p_value: float | None
    signature: str


def compare_systems(
    systems: Sequence[tuple[str, Sequence[str]]],
    refs: Sequence[str],
    tokenize: str = "13a",
    lowercase: bool = False,
    samples: int = 1000,
) -> list[Compared]:
    """Score systems against the first one through sacrebleu's own significance test.

    Args:
        systems: names, all different, and translations; the first is the baseline.
        refs: references.
        tokenize: as in `corpus_scores`.
        lowercase: as in `corpus_scores`.
        samples: bootstrap resamplings.

    Raises:
        DataError: if a system has another number of translations than there are references.
    """
    from sacrebleu.significance import PairedTest

    for name, hyps in systems:
        _refuse_unequal(hyps, refs, f"{name}: ")
    metrics = {name: _metric(name, tokenize, lowercase) for name in ("bleu", "chrf", "ter")}
    named = [(name, list(hyps)) for name, hyps in systems]
    signatures, table = PairedTest(named, metrics, [list(refs)], test_type="bs", n_samples=samples)()
    return [
        Compared(
            name,
            metric,
            float(result.score),
            float(result.ci),
            None if result.p_value is None else 1.0 if hyps == named[0][1] else float(result.p_value),
            str(signatures[column]),
        )
        # sacrebleu names its columns as it likes, in the order of the metrics
        for metric, column in zip(metrics, (key for key in table if key != "System"), strict=True)
        # and it calls a system that says the very same significantly different
        for (name, hyps), result in zip(named, table[column], strict=True)
    ]


def _metric(name: str, tokenize: str, lowercase: bool) -> Any:
    from sacrebleu.metrics import BLEU, CHRF, TER

    if name == "bleu":
        # force silences the advice about tokenised input, which is intended
        return BLEU(tokenize=tokenize, lowercase=lowercase, force=True)
    return CHRF(lowercase=lowercase) if name == "chrf" else TER(case_sensitive=not lowercase)


def _refuse_unequal(hyps: Sequence[str], refs: Sequence[str], who: str = "") -> None:
    """Sacrebleu would cut to the shorter list."""
    if len(hyps) != len(refs):
        raise DataError(f"{who}{len(hyps)} translations but {len(refs)} references; they must be one to one")
