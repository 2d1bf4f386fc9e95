"""Every setting, its type, its range and its default. A default stands here and nowhere else.

The sections are in the modules beside this one; here they are put together. The models are strict: a wrong type or an
unknown key is an error, never a guess. Reading them from YAML, with line numbers and all errors at once, is in
`config_file`. Nothing here imports torch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from nmt.config.data import (
    BUILTIN_CORPORA,
    DataConfig,
    SamplingConfig,
    Source,
    TokenizerConfig,
)
from nmt.config.decoding import (
    DecodingConfig,
    DecodingSamplingConfig,
    EvaluationConfig,
)
from nmt.config.model import (
    AttentionConfig,
    AttentionScore,
    DropoutConfig,
    LinearEncoderConfig,
    ModelConfig,
    PerceiverEncoderConfig,
    PositionalEncoderConfig,
    RNNDecoderConfig,
    RNNEncoderConfig,
    SelfAttentionEncoderConfig,
    StackConfig,
    TransformerDecoderConfig,
)
from nmt.config.section import (
    LOWER_IS_BETTER,
    Metric,
    NonNegative,
    Section,
    problem,
)
from nmt.config.training import (
    EarlyStoppingConfig,
    GuidedConfig,
    OptimizerConfig,
    ScheduleConfig,
    TeacherForcingConfig,
    TrainingConfig,
    ValidationConfig,
)

__all__ = [
    "BUILTIN_CORPORA",
    "LOWER_IS_BETTER",
    "RESUMABLE_KEYS",
    "AttentionConfig",
    "AttentionScore",
    "Comparison",
    "Config",
    "DataConfig",
    "DecodingConfig",
    "DecodingSamplingConfig",
    "DropoutConfig",
    "EarlyStoppingConfig",
    "EvaluationConfig",
    "GuidedConfig",
    "LinearEncoderConfig",
    "Metric",
    "ModelConfig",
    "OptimizerConfig",
    "PerceiverEncoderConfig",
    "PositionalEncoderConfig",
    "RNNDecoderConfig",
    "RNNEncoderConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "Section",
    "SelfAttentionEncoderConfig",
    "Source",
    "StackConfig",
    "TeacherForcingConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "TransformerDecoderConfig",
    "ValidationConfig",
    "problem",
]


class Config(Section):
    """A whole run. `name` is its folder under `runs_dir`; without one it is the configuration file's name."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "run"
    runs_dir: str = "runs"
    seed: NonNegative = 1
    data: DataConfig
    tokenizer: TokenizerConfig = TokenizerConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    decoding: DecodingConfig = DecodingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.model.ties_src_tgt and not self.tokenizer.joint:
            raise problem("model.tie_embeddings shares one matrix, so tokenizer.joint must be true")
        if self.training.batch_unit == "tokens" and self.training.batch_size < self.data.max_length + 1:
            raise problem(
                f"training.batch_size is {self.training.batch_size} tokens, but data.max_length lets pairs of "
                f"{self.data.max_length} pieces and an end mark through; raise the one or lower the other"
            )
        for side, limit in (("src", self.model.max_src_length), ("tgt", self.model.max_tgt_length)):
            if limit is not None and self.data.max_length + (side == "tgt") > limit:
                counted = ", the end mark counted" if side == "tgt" else ""
                raise problem(
                    f"data.max_length lets pairs of {self.data.max_length} pieces through, but the model has places "
                    f"for {limit} on the {side} side{counted}; lower the one or raise the other"
                )
        averaging = self.training.averaging
        if averaging.which == "last" and averaging.checkpoints > self.training.keep_last:
            raise problem(
                f"training.averaging.checkpoints is {averaging.checkpoints}, but only training.keep_last = "
                f"{self.training.keep_last} checkpoints are kept"
            )
        guided = self.training.guided_alignment
        if guided.enabled and guided.loss == "cross_entropy" and self.model.attention.gives_zeros:
            raise problem(
                f"training.guided_alignment: a weight of exactly 0, as {self.model.attention.gives_zeros} gives, has "
                f"no cross-entropy to learn from; set its loss to squared"
            )
        if guided.enabled and not self.model.has_alignment:
            raise problem(
                "training.guided_alignment needs attention, and model.attention.score is none; set its enabled to false"
            )
        if self.training.coverage_loss > 0 and not self.model.has_alignment:
            raise problem("training.coverage_loss needs attention, and model.attention.score is none")
        if self.name == "latest":
            raise problem("name: 'latest' is the link to the run trained last; choose another name")
        training = self.training
        plateau = [("schedule", training.schedule.metric)] if training.schedule.type == "plateau" else []
        for section, metric in [*plateau, ("early_stopping", training.early_stopping.metric)]:
            if metric in ("bleu", "chrf") and training.validation.sentences == 0:
                raise problem(
                    f"training.{section}.metric is {metric}, which needs sentences to decode: set "
                    f"training.validation.sentences above 0, or the metric to loss or ppl"
                )
        return self

    @property
    def run_dir(self) -> Path:
        """The run folder."""
        return Path(self.runs_dir).expanduser() / self.name


class Comparison(Section):
    """Several runs that differ in a few settings: `nmt compare`.

    `base` is a configuration file beside this one. `variants` names each run and what it sets, by dotted keys as on the
    command line; `set` holds for all of them. Their runs are in the folder `name` under `runs_dir`, with the tables and
    pictures. `sentences` are translated by every variant for the picture of the matrices.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "comparison"
    runs_dir: str = "runs"
    base: str
    set: dict[str, Any] = Field(default_factory=dict)
    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    split: Literal["valid", "test"] = "test"
    sentences: list[str] = Field(default_factory=list)

    @property
    def folder(self) -> Path:
        """Where the runs, tables and pictures are."""
        return Path(self.runs_dir).expanduser() / self.name


# What may differ between a run and its resumption; any other change is another run. Of decoding, only what cannot
# change a validation score: validation has a beam of its own.
RESUMABLE_KEYS = (
    "runs_dir",
    "data.root",
    "data.cache_dir",
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
