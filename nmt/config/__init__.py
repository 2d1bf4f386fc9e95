"""Define every setting with its type, range and default. Defaults are set in this package and nowhere else.

The modules of this package define the sections, and this one combines them. The models are strict: a wrong type or an
unknown key is an error and is never guessed at. `config.load` reads them from YAML and reports all errors at once, with
line numbers. Nothing here imports torch.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from nmt.config.attention import (
    ATTENTIONS,
    NORMALISERS,
    AttentionConfig,
    AttentionScore,
    BaseAttentionConfig,
    BuiltinNormaliserConfig,
    NormaliserConfig,
)
from nmt.config.choice import Choice
from nmt.config.data import (
    BUILTIN_CORPORA,
    TOKENIZERS,
    USUAL_FILTERS,
    BaseTokenizerConfig,
    DataConfig,
    Filter,
    Source,
    SubwordSamplingConfig,
    TokenizerConfig,
    TokenizerField,
)
from nmt.config.decoder import RNNDecoderConfig, TransformerDecoderConfig
from nmt.config.decoding import DecodingConfig, MbrConfig, SamplingConfig
from nmt.config.encoder import (
    ENCODERS,
    EncoderConfig,
    LinearEncoderConfig,
    PerceiverEncoderConfig,
    PositionalEncoderConfig,
    RNNEncoderConfig,
    SelfAttentionEncoderConfig,
    StackConfig,
)
from nmt.config.evaluation import (
    METRICS,
    BleuTokenizer,
    BuiltinMetricConfig,
    CometMetricConfig,
    EvaluationConfig,
    MetricConfig,
)
from nmt.config.model import DropoutConfig, ModelConfig
from nmt.config.section import LOWER_IS_BETTER, Metric, Problem, Section, Seed, problem
from nmt.config.training import (
    ConsistencyConfig,
    EarlyStoppingConfig,
    GuidedConfig,
    ModelPart,
    OptimizerConfig,
    ScheduleConfig,
    TeacherForcingConfig,
    TrainingConfig,
    ValidationConfig,
)

__all__ = [
    "ATTENTIONS",
    "BUILTIN_CORPORA",
    "ENCODERS",
    "LOWER_IS_BETTER",
    "METRICS",
    "NORMALISERS",
    "RESUMABLE_KEYS",
    "TOKENIZERS",
    "USUAL_FILTERS",
    "AttentionConfig",
    "AttentionScore",
    "BaseAttentionConfig",
    "BaseTokenizerConfig",
    "BleuTokenizer",
    "BuiltinMetricConfig",
    "BuiltinNormaliserConfig",
    "Choice",
    "CometMetricConfig",
    "Comparison",
    "Config",
    "ConsistencyConfig",
    "DataConfig",
    "DecodingConfig",
    "DropoutConfig",
    "EarlyStoppingConfig",
    "EncoderConfig",
    "EvaluationConfig",
    "Filter",
    "GuidedConfig",
    "LinearEncoderConfig",
    "MbrConfig",
    "Metric",
    "MetricConfig",
    "ModelConfig",
    "ModelPart",
    "NormaliserConfig",
    "OptimizerConfig",
    "PerceiverEncoderConfig",
    "PositionalEncoderConfig",
    "Problem",
    "RNNDecoderConfig",
    "RNNEncoderConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "Section",
    "SelfAttentionEncoderConfig",
    "Source",
    "StackConfig",
    "SubwordSamplingConfig",
    "TeacherForcingConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "TransformerDecoderConfig",
    "ValidationConfig",
    "problem",
]


_DEVICES_OF_WINDOWS = {
    "con",
    "prn",
    "aux",
    "nul",
    *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10)),
}


def _folder_name(name: str) -> str:
    """Return the run's name; refuse a name that is not a valid folder name on every system."""
    if not re.fullmatch(r"\w([\w.-]*[\w-])?", name) or name.split(".")[0].lower() in _DEVICES_OF_WINDOWS:
        raise problem(
            f"'{name}' cannot be a run's name, since it names a folder: use letters, digits, '.', '_' and '-', for "
            f"example with --set name=my-run"
        )
    return name


Name = Annotated[str, AfterValidator(_folder_name)]


class Config(Section):
    """The configuration of a run. `name` is its folder under `runs_dir`, by default the configuration file's name."""

    name: Name = "run"
    runs_dir: str = "runs"
    seed: Seed = 1
    data: DataConfig
    tokenizer: TokenizerField = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    def problems(self) -> Iterator[Problem]:
        """Yield each conflict between sections, and a name that is reserved."""
        if self.name == "latest":
            yield Problem("name: 'latest' is the link to the run trained last; choose another name", ("name",))
        if self.model.ties_src_tgt and not self.tokenizer.joint:
            keys = ("model.tie_embeddings", "tokenizer.joint")
            yield Problem("model.tie_embeddings shares one matrix, so tokenizer.joint must be true", keys)
        yield from self._problems_of_dropout()
        yield from self._problems_of_lengths()
        yield from self._problems_of_guidance()
        if self.training.consistency.type != "none" and not self.training.teacher_forcing.is_always:
            yield Problem(
                "training.consistency compares two passes over the same words, but with training.teacher_forcing below "
                "1 each pass reads words of its own; take one of them out",
                ("training.consistency", "training.teacher_forcing"),
            )
        if self.decoding.unk == "replace" and not self.model.has_attention:
            keys = ("decoding.unk", "model.attention.score")
            yield Problem("decoding.unk: replace needs the attention, but model.attention.score is none", keys)
        if self.decoding.coverage_penalty and not self.model.has_attention:
            keys = ("decoding.coverage_penalty", "model.attention.score")
            yield Problem("decoding.coverage_penalty needs the attention, but model.attention.score is none", keys)
        if self.decoding.alignment_from == "posterior" and not self.model.has_posterior:
            keys = ("decoding.alignment_from", "model")
            yield Problem("decoding.alignment_from: posterior needs a recurrent decoder with attention", keys)
        if self.decoding.alignment_from == "posterior" and self.resolved_decoding.alignment_at == "input":
            yield Problem(
                "decoding.alignment_from: posterior belongs to the step that predicts a word, but "
                "decoding.alignment_at or training.guided_alignment.step is input",
                ("decoding.alignment_from", "decoding.alignment_at"),
            )
        if self.decoding.alignment_at == "input" and not self.model.has_attention:
            keys = ("decoding.alignment_at", "model.attention.score")
            yield Problem("decoding.alignment_at applies to the attention, but model.attention.score is none", keys)

    def _problems_of_dropout(self) -> Iterator[Problem]:
        dropout, forcing = self.model.dropout, self.training.teacher_forcing
        if (dropout.recurrent or dropout.variational) and not forcing.is_always:
            option = "recurrent" if dropout.recurrent else "variational"
            yield Problem(
                f"model.dropout.{option} needs targets that are read at once, but with training.teacher_forcing below "
                f"1 they are read word by word; take one of them out",
                (f"model.dropout.{option}", "training.teacher_forcing"),
            )
        if dropout.switchout and (self.data.tags or getattr(self.tokenizer, "user_defined_symbols", [])):
            yield Problem(
                "model.dropout.switchout would replace tags and user-defined symbols as well; take it out",
                ("model.dropout.switchout", "data.train"),
            )

    def _problems_of_lengths(self) -> Iterator[Problem]:
        longest = self.data.max_length
        if self.training.batch_unit == "tokens" and self.training.batch_size < longest + 1:
            yield Problem(
                f"training.batch_size is {self.training.batch_size} tokens, but data.max_length allows pairs of "
                f"{longest} pieces and an end mark; raise the first or lower the second",
                ("training.batch_size", "data.max_length"),
            )
        for side, limit in (("src", self.model.max_src_length), ("tgt", self.model.max_tgt_length)):
            if limit is not None and longest + (side == "tgt") > limit:
                counted = ", including the end mark" if side == "tgt" else ""
                yield Problem(
                    f"data.max_length allows pairs of {longest} pieces, but the model has positions for {limit} on the "
                    f"{side} side{counted}; lower the first or raise the second",
                    ("data.max_length", "model"),
                )

    def _problems_of_guidance(self) -> Iterator[Problem]:
        guided, attention = self.training.guided_alignment, self.model.attention
        here = "training.guided_alignment"
        if guided.enabled and guided.loss == "cross_entropy" and attention.gives_zeros:
            yield Problem(
                f"{here}: a weight of exactly 0, as {attention.gives_zeros} gives, has no cross-entropy to learn from; "
                f"set its loss to squared or auto",
                (f"{here}.loss", "model.attention"),
            )
        if self.guided_step == "input" and not self.training.teacher_forcing.is_always:
            yield Problem(
                f"{here}.step is input, but with training.teacher_forcing below 1 a step may read another word than "
                f"the one whose links guide it; set it to predicts",
                (f"{here}.step", "training.teacher_forcing"),
            )
        if self.training.coverage_loss > 0 and not self.model.has_attention:
            keys = ("training.coverage_loss", "model.attention.score")
            yield Problem("training.coverage_loss needs attention, but model.attention.score is none", keys)

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.runs_dir).expanduser() / self.name

    @property
    def guided_loss(self) -> Literal["cross_entropy", "squared"] | None:
        """The loss of guided alignment; None if the model has no attention or it is not guided."""
        guided = self.training.guided_alignment
        if not (guided.enabled and self.model.has_attention):
            return None
        if guided.loss == "auto":
            return "squared" if self.model.attention.gives_zeros else "cross_entropy"
        return guided.loss

    @property
    def guided_step(self) -> Literal["predicts", "input"] | None:
        """The step that is guided to a word's links; None if the model has no attention or it is not guided."""
        if self.guided_loss is None:
            return None
        if self.training.guided_alignment.step == "auto":
            decoder = self.model.decoder
            has_others = isinstance(decoder, TransformerDecoderConfig) and decoder.layers * decoder.heads > 1
            knows_word = has_others and self.training.teacher_forcing.is_always
            return "input" if knows_word else "predicts"  # the other heads can still find the next word
        return self.training.guided_alignment.step

    @property
    def resolved_decoding(self) -> DecodingConfig:
        """The section `decoding`, with `alignment_at: auto` replaced by the step that it stands for."""
        if self.decoding.alignment_at != "auto":
            return self.decoding
        return self.decoding.model_copy(update={"alignment_at": self.guided_step or "predicts"})


class Comparison(Section):
    """Several runs that differ in a few settings, for `nmt compare`.

    `base` is the path of a configuration file, relative to the folder of this one. `variants` maps the name of each run
    to its settings, which have dotted keys as on the command line. The settings in `set` apply to all runs. The folder
    `name` under `runs_dir` holds the runs, tables and pictures. Every variant translates `sentences` for the picture of
    the matrices; by default, these are the first three of the split. With `seeds`, every variant is trained once with
    each of them, in runs called `VARIANT-SEED`, and the table has the means and standard deviations.
    """

    name: Name = "comparison"
    runs_dir: str = "runs"
    base: str
    set: dict[str, Any] = Field(default_factory=dict)
    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    seeds: list[Seed] = Field(default_factory=list)
    split: Literal["valid", "test"] = "test"
    sentences: list[str] = Field(default_factory=list)

    @property
    def folder(self) -> Path:
        """The folder of the runs, tables and pictures."""
        return Path(self.runs_dir).expanduser() / self.name

    @property
    def runs(self) -> dict[str, list[str]]:
        """The names of the runs of each variant, one for each seed."""
        return {name: [f"{name}-{seed}" for seed in self.seeds] or [name] for name in self.variants}

    def problems(self) -> Iterator[Problem]:
        """Yield seeds that occur twice, also as settings, and runs of two variants with the same name."""
        if len(set(self.seeds)) < len(self.seeds):
            yield Problem("a seed occurs twice in seeds", ("seeds",))
        set_too = [name for name, own in {"set": self.set, **self.variants}.items() if self.seeds and "seed" in own]
        if set_too:
            yield Problem(f"seeds has the seeds of all variants, so take seed out of {set_too[0]}", ("seeds",))
        runs = [run for of_variant in self.runs.values() for run in of_variant]
        if len(set(runs)) < len(runs):
            yield Problem("two variants have a run of the same name; rename one of them", ("variants",))


# The settings that may change when a run is resumed; changing any other setting makes it a different run. Only settings
# of `decoding` that cannot change a validation score are listed; validation has its own beam size.
RESUMABLE_KEYS = (
    "name",
    "runs_dir",
    "data.root",
    "data.cache_dir",
    "data.src_lang",
    "data.tgt_lang",
    "data.test",
    "training.epochs",
    "training.max_updates",
    "training.max_minutes",
    "training.device",
    "training.threads",
    "training.early_stopping.patience",
    "training.keep_last",
    "training.averaging.checkpoints",
    "training.averaging.which",
    "training.log_every",
    "training.tensorboard",
    "decoding.beam_size",
    "decoding.batch_size",
)
