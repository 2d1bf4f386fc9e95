"""Settings for searching and sampling translations."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from nmt.config.section import NonNegative, Positive, Problem, Section, Seed


class SamplingConfig(Section):
    """Sample translations at random instead of searching for them.

    `temperature` divides the log-probabilities; `top_k` (0: all) and `top_p` (1: all) keep only the likeliest tokens.
    The result for a line depends on `seed` and the line's number, not on the other lines.
    """

    enabled: bool = False
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    top_k: NonNegative = 0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    seed: Seed = 1


class MbrConfig(Section):
    """Minimum Bayes risk decoding: choose the candidate that agrees most with the other candidates for a line.

    `candidates` is how many there are; 0 turns this off. They are found by beam search (a smaller `beam_size` is raised
    to this number) or drawn with `sampling`. Each candidate is scored against every candidate by `metric`, and the one
    with the highest mean is chosen; the candidates of a beam count by their probabilities. An n-best list has the same
    order, but its scores are still the model's.
    """

    candidates: NonNegative = 0
    metric: Literal["chrf", "bleu"] = "chrf"

    def problems(self) -> Iterator[Problem]:
        """Yield a number of candidates or a metric that has no effect."""
        if self.candidates == 1:
            yield Problem(
                "mbr.candidates is 1, but candidates are compared with one another; set it to 0, or to about 20"
            )
        if self.candidates == 0 and self.metric != "chrf":
            yield Problem("mbr.metric has no effect without mbr.candidates")


class DiversityConfig(Section):
    """Beam search in `groups` that avoid each other's pieces, for varied n-best lists (Vijayakumar et al. 2018).

    The beam is divided among the groups, so `beam_size` must be a multiple of `groups`. `strength` is the cost of a
    piece, in nats, for each hypothesis of an earlier group that has the same piece at the same position.
    """

    groups: Positive = 1
    strength: Annotated[float, Field(ge=0.0, le=1000.0)] = 0.5

    def problems(self) -> Iterator[Problem]:
        """Yield a strength that has no effect."""
        if self.groups == 1 and self.strength != 0.5:
            yield Problem("diversity.strength has no effect with one group; set diversity.groups, too")


class DecodingConfig(Section):
    """The settings of search.

    - A hypothesis has at most `max_length_ratio` x source pieces + `max_length_extra` pieces, including EOS.
    - `length_penalty` is alpha in ((5 + length) / 6) ** alpha (Wu et al. 2016, equation 14). `coverage_penalty` is beta
      in the same equation; it lowers the score of hypotheses that leave source pieces without attention.
    - A source longer than `max_src_length` pieces is truncated, with a warning. A given target (in `nmt score` and
      `nmt align`) longer than `max_tgt_length` pieces is refused.
    - `alignment_from` chooses what matrices show: the translator's own `attention`; the `posterior` of a recurrent
      decoder's attention, which also takes the target word into account; or the links of the word `aligner` that was
      trained on the same text. `auto` uses the aligner if the model has one, otherwise the attention (docs/alignment.md
      compares them).
    - `alignment_at` chooses the step whose attention weights belong to a target word: the step that `predicts` the
      word, or the next step, which has it as its `input`. `auto` uses the step that was guided (docs/alignment.md
      compares them).
    - `no_repeat_ngram` is the n for which no sequence of n pieces is generated twice (0: no such rule).
    - `repetition_penalty` multiplies the log-probability of every piece that is already in the translation, so a value
      above 1 makes the piece less likely (Keskar et al. 2019). The scores of a search include the penalty, and those of
      `nmt score` do not. Log-probabilities are always the model's own.
    - `backward_weight`: with a model of the other direction (`--backward`), the translations of a beam are ranked by
      their score plus `backward_weight` times the score that the backward model gives the source, given the translation
      (Li et al. 2016). The scores that are shown remain those of the model itself.
    - `unk`: unknown pieces are kept, forbidden, or replaced by the source word that they attend to.
    - `precision` is that of the weights. With `fp32`, translations do not depend on the batch. `bf16` and `int8` are
      faster, but translations sometimes differ (docs/speed.md).
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
        """Yield each conflict of diverse beam search with the beam size and with sampling."""
        if self.diversity.groups > 1:
            if self.beam_size % self.diversity.groups:
                yield Problem(
                    f"diversity.groups is {self.diversity.groups}, which does not divide beam_size = {self.beam_size}",
                    ("diversity.groups", "beam_size"),
                )
            if self.sampling.enabled:
                yield Problem("diversity is only for beam search; switch sampling off, or set diversity.groups to 1")
