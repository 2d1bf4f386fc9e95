"""Search and sampling of translations, and how they are scored."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from nmt.config.choice import Choice
from nmt.config.section import NonNegative, Positive, Problem, Section

BleuTokenizer = Literal[
    "auto", "13a", "none", "intl", "char", "zh", "ja-mecab", "ko-mecab", "flores101", "flores200", "spm"
]


class SamplingConfig(Section):
    """Translations sampled at random instead of searched for.

    `temperature` divides the log-probabilities; `top_k` (0: all) and `top_p` (1: all) keep the likeliest tokens only.
    The result depends on `seed` and on the line's number, not on the other lines.
    """

    enabled: bool = False
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    top_k: NonNegative = 0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    seed: NonNegative = 1


class MbrConfig(Section):
    """Minimum Bayes risk decoding: the translation that agrees most with others of the same line.

    With 0 `candidates` there is none of it.
    The candidates are found by beam search (`beam_size` is raised to their number), or drawn with `sampling`; each is
    scored against each by `metric`, and the one with the highest mean is given. Scores and n-best lists stay those of
    the model.
    """

    candidates: NonNegative = 0
    metric: Literal["chrf", "bleu"] = "chrf"

    def problems(self) -> Iterator[Problem]:
        """Yield what has no effect."""
        if self.candidates == 1:
            yield Problem("mbr.candidates is 1, and one candidate agrees with no other; set it to 0, or to some 20")
        if self.candidates == 0 and self.metric != "chrf":
            yield Problem("mbr.metric has no effect without mbr.candidates")


class DiversityConfig(Section):
    """Beam search in `groups` that avoid each other's pieces, for n-best lists that differ (Vijayakumar et al. 2018).

    The beam is shared out among them, so `beam_size` is a multiple of `groups`. `strength` is what a piece costs, in
    nats, for each hypothesis of the groups before that has it in the same place.
    """

    groups: Positive = 1
    strength: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.5

    def problems(self) -> Iterator[Problem]:
        """Yield what has no effect."""
        if self.groups == 1 and self.strength != 0.5:
            yield Problem("diversity.strength has no effect with one group; set diversity.groups, too")


class DecodingConfig(Section):
    """Search.

    - A hypothesis has at most `max_length_ratio` x source pieces + `max_length_extra` pieces, EOS counted.
    - `length_penalty` is alpha in ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14); `coverage_penalty` is beta
      of the same equation and ranks hypotheses lower that left source pieces without attention.
    - A source longer than `max_src_length` pieces is cut, with a warning; a given target (of `nmt score` and
      `nmt align`) longer than `max_tgt_length` pieces is refused.
    - `alignment_from`: matrices show the translator's own `attention`, the `posterior` of a recurrent decoder's
      attention, which also knows the target word, or the links of the word `aligner` that was trained on the same
      text; `auto` takes the aligner if the model has one, and else the attention (docs/alignment.md compares them).
    - `alignment_at`: the attention's weights of a target word are those of the step that `predicts` it, or of the next
      step, where it is the `input`; `auto` takes the step that was guided (docs/alignment.md compares them).
    - `no_repeat_ngram` n: no n pieces in a row are generated twice (0: no such rule).
    - `repetition_penalty` multiplies the log-probability of every piece that the translation has already, so that more
      than 1 makes it less likely (Keskar et al. 2019). The scores of a search are with it, those of `nmt score`
      without; log-probabilities are the model's own.
    - `backward_weight`: with a model of the other direction (`--backward`) the translations of a beam are ranked by
      their score plus so many times the score that this model gives the source for them (Li et al. 2016). Scores that
      are shown stay those of the model itself.
    - `unk`: unknown pieces are kept, forbidden, or replaced by the source word that they attend to.
    - `precision` of the weights: translations in `fp32` do not depend on the batch; `bf16` and `int8` are faster and
      differ now and then (docs/speed.md).
    """

    beam_size: Positive = 5
    length_penalty: Annotated[float, Field(ge=0.0, le=10.0)] = 1.0
    coverage_penalty: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.0
    min_length: NonNegative = 0
    min_length_ratio: Annotated[float, Field(ge=0.0)] = 0.0
    max_length_ratio: Annotated[float, Field(ge=0.0)] = 2.0
    max_length_extra: Positive = 10
    max_src_length: Positive = 500
    alignment_from: Literal["auto", "attention", "posterior", "aligner"] = "auto"
    max_tgt_length: Positive = 500
    alignment_at: Literal["auto", "predicts", "input"] = "auto"
    unk: Literal["keep", "forbid", "replace"] = "keep"
    no_repeat_ngram: NonNegative = 0
    repetition_penalty: Annotated[float, Field(ge=1.0, le=1000.0)] = 1.0
    diversity: DiversityConfig = DiversityConfig()
    sampling: SamplingConfig = SamplingConfig()
    mbr: MbrConfig = MbrConfig()
    backward_weight: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.2
    batch_size: Positive = 64
    precision: Literal["fp32", "bf16", "int8"] = "fp32"

    def problems(self) -> Iterator[Problem]:
        """Yield groups that the beam or another way of searching has no place for."""
        if self.diversity.groups > 1:
            if self.beam_size % self.diversity.groups:
                yield Problem(
                    f"diversity.groups is {self.diversity.groups}, which does not divide beam_size = {self.beam_size}",
                    ("diversity.groups", "beam_size"),
                )
            if self.sampling.enabled:
                yield Problem("diversity is of beam search; switch sampling off, or set diversity.groups to 1")


class MetricConfig(Section):
    """A metric beside BLEU, chrF and TER, of an installed package.

    The package announces a subclass, with its own `name` and options, in the entry points' group ``nmt.metric``, and
    overrides `score`; docs/extending.md has an example.
    """

    name: str

    def score(self, hyps: Sequence[str], refs: Sequence[str]) -> tuple[float, str]:
        """Return the score of a corpus and its signature: whatever another person needs to count it again."""
        raise NotImplementedError


class BuiltinMetricConfig(MetricConfig):
    """BLEU, chrF and TER, counted by sacrebleu."""

    name: Literal["bleu", "chrf", "ter"]


class CometMetricConfig(MetricConfig):
    """COMET, which compares meanings with a large language model; it is never counted unless it is named here.

    It runs the program comet-score (``pipx install unbabel-comet``), which downloads the model at its first use. The
    score is 100 times COMET's own. `model` is one of Unbabel's: a checkpoint can hold code, and a model folder from
    somebody else must not choose which is run.
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

    `bleu_tokenize` is sacrebleu's tokenizer for BLEU: `none` for text that is tokenised already; `auto` takes 13a, or
    for targets written without spaces zh (Chinese) or char (Japanese, Thai, ...). `ja-mecab` and `ko-mecab` need
    ``pip install 'sacrebleu[ja]'`` or ``[ko]``; `flores101`, `flores200` and `spm` are downloaded at their first use.
    TER splits Chinese and Japanese characters if the tokenizer is zh, char or ja-mecab. `lowercase` ignores case.
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
