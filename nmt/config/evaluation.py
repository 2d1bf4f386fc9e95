"""Settings for scoring translations: the metrics and their options."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from nmt.config.choice import Choice
from nmt.config.section import Positive, Problem, Section

BleuTokenizer = Literal[
    "auto", "13a", "none", "intl", "char", "zh", "ja-mecab", "ko-mecab", "flores101", "flores200", "spm"
]


class MetricConfig(Section):
    """The settings of a metric; an installed package can add its own.

    To do so, the package registers a subclass, with its own `name` and options, in the entry-point group ``nmt.metric``
    and overrides `score`; docs/extending.md has an example.
    """

    name: str

    def score(self, hyps: Sequence[str], refs: Sequence[str]) -> tuple[float, str]:
        """Return the score of a corpus and its signature, which says how to reproduce the score."""
        raise NotImplementedError


class BuiltinMetricConfig(MetricConfig):
    """BLEU, chrF and TER, computed by sacrebleu."""

    name: Literal["bleu", "chrf", "ter"]


class CometMetricConfig(MetricConfig):
    """COMET, which compares meanings with a large language model; it is computed only if it is named in `metrics`.

    The score comes from the program comet-score (``pipx install unbabel-comet``), which downloads the model on first
    use. It is 100 times COMET's own score. `model` must be one of Unbabel's: a checkpoint can contain code, and a model
    folder from somebody else must not choose which code is run.
    """

    name: Literal["comet"]
    model: Annotated[str, Field(pattern=r"^Unbabel/[A-Za-z0-9][\w.-]*$")] = "Unbabel/wmt22-comet-da"
    batch_size: Positive = 16


METRICS = Choice(
    group="nmt.metric",
    key="name",
    base=MetricConfig,
    builtin={**dict.fromkeys(("bleu", "chrf", "ter"), BuiltinMetricConfig), "comet": CometMetricConfig},
    default="bleu",
)


def _builtin_metrics() -> list[MetricConfig]:
    return [BuiltinMetricConfig(name="bleu"), BuiltinMetricConfig(name="chrf"), BuiltinMetricConfig(name="ter")]


class EvaluationConfig(Section):
    """How translations are scored.

    `bleu_tokenize` is sacrebleu's tokenizer for BLEU. `none` is for text that is already tokenised. `auto` uses zh
    (Chinese) or char (Japanese, Thai, ...) for targets written without spaces, and 13a for all others. `ja-mecab` and
    `ko-mecab` need ``pip install 'sacrebleu[ja]'`` or ``[ko]``; `flores101`, `flores200` and `spm` are downloaded on
    first use. TER splits Chinese and Japanese characters if the tokenizer is zh, char or ja-mecab, but no other script
    without spaces, such as Thai. `lowercase` ignores case.
    """

    bleu_tokenize: BleuTokenizer = "auto"
    lowercase: bool = False
    metrics: Annotated[list[Annotated[SerializeAsAny[MetricConfig], METRICS.validator()]], Field(min_length=1)] = Field(
        default_factory=_builtin_metrics
    )

    def problems(self) -> Iterator[Problem]:
        """Yield metrics that are named twice."""
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            yield Problem(f"metrics: a name is given twice: {', '.join(names)}", ("metrics",))
