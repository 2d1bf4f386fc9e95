"""BLEU, chrF and TER through sacrebleu, each with its signature; perplexity from log-likelihoods."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nmt.arrays import Float64Array
from nmt.config import LOWER_IS_BETTER, BuiltinMetricConfig, CometMetricConfig, Metric, MetricConfig
from nmt.errors import ConfigError, DataError
from nmt.evaluation.comet import comet_score

Reference = str | Sequence[str]  # the reference of a sentence, or several references that are equally good


@dataclass(frozen=True)
class Score:
    """A corpus metric, 0 to 100 (TER may exceed it), with sacrebleu's signature.

    `margin` is half the 95 % confidence interval from bootstrap resampling. It is None without resampling, for a single
    sentence, and for the metrics of other packages.
    """

    name: str
    value: float
    signature: str
    margin: float | None = None


def perplexity(loss: float) -> float:
    """Return exp(loss); `loss` is the unsmoothed negative log-likelihood per target piece (with EOS), in nats."""
    return math.exp(min(700.0, loss))


def ranking_key(metric: Metric, value: float, loss: float) -> tuple[float, float]:
    """Return a sort key for a validation, which is higher for a better one.

    Validations are compared by the metric and, if that is equal, by the loss, where lower is better.
    """
    return (-value if metric in LOWER_IS_BETTER else value), -loss


def corpus_scores(
    hyps: Sequence[str],
    refs: Sequence[Reference],
    tokenize: str = "13a",
    lowercase: bool = False,
    metrics: Sequence[str | MetricConfig] = ("bleu", "chrf", "ter"),
    bootstrap: int = 1,
    srcs: Sequence[str] | None = None,
) -> dict[str, Score]:
    """Score translations against their references, and return the scores by the names of the metrics.

    Args:
        hyps: the translations.
        refs: the references of each translation; if there are several, metrics of other packages see only the first.
        tokenize: sacrebleu's tokenizer for BLEU; ``none`` for tokenised text, ``auto`` for `choose_tokenizer`.
        lowercase: whether `bleu`, `chrf` and `ter` ignore case.
        metrics: names, any of `bleu`, `chrf` and `ter`, or sections of the configuration.
        bootstrap: the number of resamplings for the confidence interval; 1 for none.
        srcs: the source texts, which COMET reads.

    Raises:
        ConfigError: if the tokenizer or COMET needs something that is not installed.
        DataError: if the numbers of references and translations differ (sacrebleu would cut to the shorter list).
    """
    _refuse_unequal(hyps, refs)
    tokenize = choose_tokenizer(tokenize, refs)
    scores: dict[str, Score] = {}
    for chosen in metrics:
        name = chosen if isinstance(chosen, str) else chosen.name
        if isinstance(chosen, CometMetricConfig):
            if srcs is None:
                raise ConfigError("COMET also reads the source text: give --src, or take comet out of the metrics")
            value, signature = comet_score(chosen, srcs, hyps, _streams(refs)[0])
            scores[name] = Score("COMET", value, signature)
        elif isinstance(chosen, MetricConfig) and not isinstance(chosen, BuiltinMetricConfig):
            value, signature = chosen.score(list(hyps), _streams(refs)[0])
            scores[name] = Score(name, float(value), signature)
        elif bootstrap > 1 and len(refs) > 1:
            scores[name] = _with_margin(_metric(name, tokenize, lowercase), hyps, refs, bootstrap)
        else:
            metric = _metric(name, tokenize, lowercase)
            result = metric.corpus_score(list(hyps), _streams(refs))
            scores[name] = Score(result.name, float(result.score), str(metric.get_signature()))
    return scores


def _with_margin(metric: Any, hyps: Sequence[str], refs: Sequence[Reference], bootstrap: int) -> Score:
    """Return the score with its confidence interval, which only sacrebleu's test for comparing systems computes."""
    from sacrebleu.significance import PairedTest

    test = PairedTest([("", list(hyps))], {"": metric}, _streams(refs), test_type="bs", n_samples=bootstrap)
    signatures, table = test()
    [(name, signature)] = signatures.items()
    [result] = table[name]
    return Score(name, float(result.score), str(signature), float(result.ci))


_ASIAN_TOKENIZERS = ("zh", "char", "ja-mecab")
_CHARACTER_SCRIPTS = ("HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")


def choose_tokenizer(name: str, refs: Sequence[Reference]) -> str:
    """Return sacrebleu's tokenizer for BLEU: `name` itself, or for ``auto`` the one that suits the references.

    13a splits at spaces and ASCII punctuation only, so a sentence in Chinese, Japanese or Thai would be one token, and
    BLEU would always be 0. References written mainly in Han characters get ``zh`` (each character is a token), those in
    Japanese kana, Thai, Lao, Khmer, Myanmar or Tibetan script get ``char``, all others ``13a``. References whose
    words are separated by spaces already (few characters stand between two spaces) get ``13a`` whatever their script.

    Args:
        name: `auto`, or the name of a tokenizer.
        refs: the references, of which the first thousand are examined.
    """
    if name != "auto":
        return name
    letters = han = unspaced = tokens = 0
    for ref in _streams(refs[:1000])[0]:
        tokens += len(ref.split())
        for character in ref:
            if not character.isalpha():
                continue
            letters += 1
            if "\u3400" <= character <= "\u9fff" or "\U00020000" <= character <= "\U0003ffff":
                han += 1
            elif ord(character) > 0x0E00 and unicodedata.name(character, "").startswith(_CHARACTER_SCRIPTS):
                unspaced += 1
    if 2 * (han + unspaced) <= letters or letters < 4 * tokens:
        return "13a"
    return "char" if 10 * unspaced > han else "zh"


def word_counts(texts: Sequence[str]) -> list[int]:
    """Return the number of words of each text, or of its characters if the texts are written without spaces."""
    has_spaces = choose_tokenizer("auto", texts) == "13a"
    return [len(text.split() if has_spaces else "".join(text.split())) for text in texts]


@dataclass(frozen=True)
class LengthScore:
    """BLEU of the sentences with `shortest` to `longest` source words; see `Score` for `margin`."""

    shortest: int
    longest: int
    bleu: float
    margin: float | None = None


def scores_by_length(
    srcs: Sequence[str],
    hyps: Sequence[str],
    refs: Sequence[Reference],
    tokenize: str = "13a",
    lowercase: bool = False,
    groups: int = 4,
    bootstrap: int = 1,
) -> list[LengthScore]:
    """Return the BLEU of groups of sentences, from the shortest sources (see `word_counts`) to the longest.

    The groups are about equally large. Sentences of the same length are always in the same group, so there may be fewer
    groups.

    Args:
        srcs: the sources.
        hyps: their translations.
        refs: their references.
        tokenize: as in `corpus_scores`.
        lowercase: as in `corpus_scores`.
        groups: the largest number of groups.
        bootstrap: as in `corpus_scores`.

    Raises:
        DataError: if the numbers of references and translations differ.
    """
    _refuse_unequal(hyps, refs)
    tokenize = choose_tokenizer(tokenize, refs)
    lengths = word_counts(srcs)
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    scores = []
    start = 0
    for group in range(1, groups + 1):
        end = max(start, group * len(order) // groups)
        while start < end < len(order) and lengths[order[end]] == lengths[order[end - 1]]:
            end += 1
        if chosen := order[start:end]:
            some_hyps, some_refs = [hyps[index] for index in chosen], [refs[index] for index in chosen]
            bleu = corpus_scores(some_hyps, some_refs, tokenize, lowercase, ("bleu",), bootstrap)["bleu"]
            scores.append(LengthScore(lengths[chosen[0]], lengths[chosen[-1]], bleu.value, bleu.margin))
        start = end
    return scores


def sentence_scores(
    hyps: Sequence[str], refs: Sequence[Reference], tokenize: str = "13a", lowercase: bool = False
) -> list[dict[str, float]]:
    """Return `bleu` (smoothed, with effective order) and `chrf` for each sentence."""
    _refuse_unequal(hyps, refs)
    from sacrebleu.metrics import CHRF

    bleu = _bleu(choose_tokenizer(tokenize, refs), lowercase, effective_order=True)
    chrf = CHRF(lowercase=lowercase)
    return [
        {"bleu": float(bleu.sentence_score(hyp, own).score), "chrf": float(chrf.sentence_score(hyp, own).score)}
        for hyp, *own in zip(hyps, *_streams(refs), strict=True)
    ]


def utilities(texts: Sequence[str], metric: Literal["bleu", "chrf"]) -> Float64Array:
    """Return ``[N, N]``: the score of each text, 0 to 100, with each text as its only reference.

    A text with itself as the reference has the score 100, also if it is empty.
    """
    from sacrebleu.metrics import CHRF

    scorer = CHRF() if metric == "chrf" else _bleu(choose_tokenizer("auto", texts), False, effective_order=True)
    scores = [
        [100.0 if hyp == ref else float(scorer.sentence_score(hyp, [ref]).score) for ref in texts] for hyp in texts
    ]
    return np.array(scores, dtype=np.float64).reshape(len(texts), len(texts))


@dataclass(frozen=True)
class SystemScore:
    """A system's score compared with a baseline's, by paired bootstrap resampling (Koehn 2004).

    Attributes:
        name: the system's name.
        metric: the metric, `bleu`, `chrf` or `ter`.
        value: the score of the system.
        margin: half the 95 % interval.
        p_value: the p-value of the difference from the baseline; None for the baseline.
        signature: sacrebleu's signature.
    """

    name: str
    metric: str
    value: float
    margin: float
    p_value: float | None
    signature: str


def compare_systems(
    systems: Sequence[tuple[str, Sequence[str]]],
    refs: Sequence[Reference],
    tokenize: str = "13a",
    lowercase: bool = False,
    samples: int = 1000,
    metrics: Sequence[str] = ("bleu", "chrf", "ter"),
) -> list[SystemScore]:
    """Score systems and compare each with the first one by sacrebleu's significance test.

    Args:
        systems: the names of the systems, all different, and their translations; the first is the baseline.
        refs: the references.
        tokenize: as in `corpus_scores`.
        lowercase: as in `corpus_scores`.
        samples: the number of bootstrap resamplings.
        metrics: the metrics, any of `bleu`, `chrf` and `ter`.

    Raises:
        DataError: if the numbers of a system's translations and of the references differ, or if there are fewer than
            two sentences to draw samples from.
    """
    from sacrebleu.significance import PairedTest

    if len(refs) < 2:
        raise DataError(f"systems are compared on samples of the sentences, so give at least two, not {len(refs)}")

    for name, hyps in systems:
        _refuse_unequal(hyps, refs, f"{name}: ")
    tokenize = choose_tokenizer(tokenize, refs)
    counted = {name: _metric(name, tokenize, lowercase) for name in metrics}
    named = [(name, list(hyps)) for name, hyps in systems]
    streams = _streams(refs)

    def p_value(metric: str, hyps: list[str], result: Any, baseline: Any) -> float | None:
        """Return 1 if the metric counts the same in each sentence as for the baseline, else what sacrebleu found.

        sacrebleu calls a system significantly different even if it differs, for example, in case only and the metric
        ignores case.
        """
        if result.p_value is None:
            return None
        count = counted[metric]._extract_corpus_statistics
        is_alike = result.score == baseline.score and count(hyps, streams) == count(named[0][1], streams)
        return 1.0 if is_alike else float(result.p_value)

    signatures, table = PairedTest(named, counted, streams, test_type="bs", n_samples=samples)()
    return [
        SystemScore(
            name,
            metric,
            float(result.score),
            float(result.ci),
            p_value(metric, hyps, result, table[column][0]),
            str(signatures[column]),
        )
        # sacrebleu gives its columns names of its own, but keeps the order of the metrics
        for metric, column in zip(metrics, (key for key in table if key != "System"), strict=True)
        for (name, hyps), result in zip(named, table[column], strict=True)
    ]


def _metric(name: str, tokenize: str, lowercase: bool) -> Any:
    from sacrebleu.metrics import CHRF, TER

    match name:
        case "bleu":
            return _bleu(tokenize, lowercase)
        case "chrf":
            return CHRF(lowercase=lowercase)
        case "ter":  # without these two, a sentence in Chinese or Japanese would be a single word
            asian = tokenize in _ASIAN_TOKENIZERS
            return TER(case_sensitive=not lowercase, normalized=asian, asian_support=asian)
        case _:
            raise ValueError(f"there is no metric '{name}'")


def _bleu(tokenize: str, lowercase: bool, effective_order: bool = False) -> Any:
    """Return sacrebleu's BLEU. Making some of its tokenizers imports packages or downloads files."""
    from sacrebleu.metrics import BLEU

    try:  # force silences the advice about tokenised input, which is intended
        return BLEU(tokenize=tokenize, lowercase=lowercase, effective_order=effective_order, force=True)
    except (ImportError, RuntimeError) as error:
        extra = tokenize.partition("-mecab")[0]
        raise ConfigError(
            f"evaluation.bleu_tokenize={tokenize} needs packages that are not installed: pip install "
            f"'sacrebleu[{extra}]'"
            if extra != tokenize
            else f"evaluation.bleu_tokenize={tokenize} cannot be used: {error}"
        ) from None
    except (OSError, SystemExit) as error:
        raise ConfigError(
            f"evaluation.bleu_tokenize={tokenize} needs a file that sacrebleu downloads once, and the download failed: "
            f"{error}"
        ) from None


def _streams(refs: Sequence[Reference]) -> list[list[str]]:
    """Return the first reference of every sentence, then the second of every sentence, and so on."""
    several = [[ref] if isinstance(ref, str) else ref for ref in refs]
    return [list(stream) for stream in zip(*several, strict=True)] or [[]]


def _refuse_unequal(hyps: Sequence[str], refs: Sequence[Reference], who: str = "") -> None:
    """Refuse lists of different lengths, which sacrebleu would cut to the shorter one."""
    if len(hyps) != len(refs):
        raise DataError(f"{who}{len(hyps)} translations but {len(refs)} references; there must be one for each")
