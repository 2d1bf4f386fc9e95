"""Search, sampling, and how translations are scored."""

from typing import Annotated, Literal

from pydantic import Field

from nmt.config.section import NonNegative, Positive, Section

BleuTokenizer = Literal["auto", "13a", "none", "intl", "char", "zh"]


class DecodingSamplingConfig(Section):
    """Translations drawn at random instead of searched for.

    `temperature` divides the log-probabilities; `top_k` (0: all) and `top_p` (1: all) keep the likeliest tokens only.
    What is drawn depends on `seed` and on the line's number, not on the other lines.
    """

    enabled: bool = False
    temperature: Annotated[float, Field(gt=0.0)] = 1.0
    top_k: NonNegative = 0
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    seed: NonNegative = 1


class DecodingConfig(Section):
    """Search. A hypothesis has at most `max_length_ratio` x source pieces + `max_length_extra` pieces, EOS counted.

    `length_penalty` is alpha in ((5 + length) / 6) ** alpha (Wu et al. 2016). A source longer than `max_src_length`
    pieces is cut, with a warning. `coverage_penalty` is beta of the same equation: finished hypotheses that left source
    pieces unread are ranked lower. `alignment_at` says which step's weights are a target word's: the step that
    `predicts` it, or the next one, where it is the `input`
    (docs/alignment.md has measurements). With `no_repeat_ngram` n, no n pieces in a row are said twice.
    `precision` of the weights: translations and matrices in `fp32` do not depend on the batch; `bf16` and `int8` are
    faster and differ now and then (docs/speed.md).
    `unk`: unknown pieces are kept, never said, or replaced by what they look at in the source.
    """

    beam_size: Positive = 5
    length_penalty: Annotated[float, Field(ge=0.0)] = 1.0
    coverage_penalty: Annotated[float, Field(ge=0.0)] = 0.0
    min_length: NonNegative = 0
    min_length_ratio: Annotated[float, Field(ge=0.0)] = 0.0
    max_length_ratio: Annotated[float, Field(ge=0.0)] = 2.0
    max_length_extra: Positive = 10
    max_src_length: Positive = 500
    alignment_at: Literal["predicts", "input"] = "predicts"
    unk: Literal["keep", "forbid", "replace"] = "keep"
    no_repeat_ngram: NonNegative = 0
    sampling: DecodingSamplingConfig = DecodingSamplingConfig()
    batch_size: Positive = 64
    precision: Literal["fp32", "bf16", "int8"] = "fp32"


class EvaluationConfig(Section):
    """How translations are scored.

    `bleu_tokenize` is sacrebleu's tokenizer for BLEU: `none` for text that is tokenised already; `auto` takes 13a, or
    for targets written without spaces zh (Chinese) or char (Japanese, Thai, ...). `lowercase` ignores case.
    """

    bleu_tokenize: BleuTokenizer = "auto"
    lowercase: bool = False
