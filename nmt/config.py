"""Every setting, its type, its range and its default. A default stands here and nowhere else.

The models are strict: a wrong type or an unknown key is an error, never a guess. Reading them from YAML, with line
numbers and all errors at once, is in `config_file`. Nothing here imports torch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Metric = Literal["loss", "ppl", "bleu", "chrf"]
AttentionScore = Literal["none", "additive", "dot", "scaled_dot", "general", "concat"]
Cell = Literal["lstm", "gru"]
LOWER_IS_BETTER: tuple[Metric, ...] = ("loss", "ppl")
BUILTIN_CORPORA = ("phrasebook",)


def problem(message: str) -> PydanticCustomError:
    """A validation error that says just `message`; braces in it stay as they are."""
    return PydanticCustomError("value_error", "{message}", {"message": message})


class Section(BaseModel):
    """A part of the configuration: strict types, unknown keys refused, immutable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Source(Section):
    """Where one split's sentence pairs come from; exactly one of four forms.

    - ``builtin:phrasebook``, a corpus that comes with the package;
    - ``{src: FILE, tgt: FILE}``, two text files of equal length, plain or .gz;
    - ``{path: FILE, src: COLUMN, tgt: COLUMN}``, a .tsv, .csv, .jsonl or .parquet file (text formats also as .gz);
    - ``{hub: NAME, config: ..., split: ..., src: COLUMN, tgt: COLUMN}``, a dataset of the Hugging Face hub, or a local
      folder in the hub's layout, with flat columns or a nested ``translation: {en: ..., de: ...}``.
    """

    builtin: Literal["phrasebook"] | None = None
    path: str | None = None
    hub: str | None = None
    config: str | None = None
    split: str | None = None
    src: str | None = None
    tgt: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        named = [key for key in ("builtin", "path", "hub") if getattr(self, key) is not None]
        if len(named) > 1:
            raise problem(f"give one of builtin, path and hub, not {' and '.join(named)}")
        if self.builtin is None and (self.src is None or self.tgt is None):
            raise problem("needs both src and tgt (two files, or two columns of path or hub)")
        if self.builtin is not None and (self.src or self.tgt):
            raise problem("a builtin corpus has no src and tgt to choose")
        if self.hub is None and (self.config is not None or self.split is not None):
            raise problem("config and split belong to a hub dataset; name it with hub")
        return self

    def under(self, root: str | None) -> "Source":
        """The same source with its relative files (or local hub folder) looked up under `root`."""

        def place(path: str | None) -> str | None:
            return path if path is None or root is None else str(Path(root).expanduser() / path)

        if self.path is not None:
            return self.model_copy(update={"path": place(self.path)})
        if self.hub is not None:
            local = place(self.hub)
            return self.model_copy(update={"hub": local}) if local and Path(local).is_dir() else self
        if self.builtin is not None:
            return self
        return self.model_copy(update={"src": place(self.src), "tgt": place(self.tgt)})


def _source_shorthand(value: Any) -> Any:
    if isinstance(value, str):
        kind, _, name = value.partition(":")
        if kind != "builtin" or name not in BUILTIN_CORPORA:
            raise problem(f"'{value}' is no corpus; write builtin:phrasebook, or a mapping with src and tgt")
        return {"builtin": name}
    return value


SourceField = Annotated[Source, BeforeValidator(_source_shorthand)]


class DataConfig(Section):
    """The corpus: `root` is put before every relative path; `max_length` counts pieces and filters training only."""

    root: str | None = None
    train: SourceField
    valid: SourceField
    test: SourceField | None = None
    src_lang: str = "src"
    tgt_lang: str = "tgt"
    max_length: Positive = 100
    cache_dir: str = "~/.cache/nmt"

    def source(self, split: Literal["train", "valid", "test"]) -> Source | None:
        """The source of one split, with `root` applied; None if the configuration names none."""
        source: Source | None = getattr(self, split)
        return source.under(self.root) if source is not None else None


class SamplingConfig(Section):
    """Subword sampling during training, drawn anew each epoch.

    For `unigram`, `alpha` smooths the distribution over the `nbest` best segmentations (-1: all; Kudo 2018). For `bpe`,
    `alpha` is the probability of leaving a merge out (BPE-dropout, Provilkov et al. 2020).
    """

    enabled: bool = False
    alpha: Annotated[float, Field(gt=0.0, le=1.0)] = 0.1
    nbest: int = -1

    @model_validator(mode="after")
    def _nbest(self) -> Self:
        if self.nbest in (0, 1) or self.nbest < -1:
            raise problem("nbest must be -1 (all segmentations) or at least 2")
        return self


class TokenizerConfig(Section):
    """The sentencepiece model trained from the training text.

    No piece of a `bpe` or `unigram` model crosses a cut in the training text. `cut: signs` is sentencepiece's own, at
    every change between letters and other signs (t | ' | aime); `cut: words` is where words end (t' | aime).
    """

    type: Literal["bpe", "unigram", "char", "word"] = "bpe"
    vocab_size: Annotated[int, Field(gt=4)] = 8000
    joint: bool = True
    cut: Literal["signs", "words"] = "signs"
    byte_fallback: bool = False
    character_coverage: Annotated[float, Field(gt=0.9, le=1.0)] = 1.0
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _sampling_needs_subwords(self) -> Self:
        if self.sampling.enabled and self.type not in ("bpe", "unigram"):
            raise problem(f"sampling needs type bpe or unigram; a {self.type} model has one segmentation only")
        return self


class EncoderConfig(Section):
    """The recurrent encoder; `hidden_size` is per direction."""

    cell: Cell = "lstm"
    hidden_size: Positive = 256
    layers: Positive = 1
    bidirectional: bool = True

    @property
    def output_size(self) -> int:
        """Width M of the memory."""
        return self.hidden_size * (2 if self.bidirectional else 1)


class DecoderConfig(Section):
    """The recurrent decoder; `wiring` says whether attention is asked before (bahdanau) or after (luong) the cell."""

    cell: Cell = "lstm"
    hidden_size: Positive = 512
    layers: Positive = 1
    wiring: Literal["bahdanau", "luong"] = "luong"
    input_feeding: bool = True


class AttentionConfig(Section):
    """The score of the attention; `size` is the hidden width of additive and concat."""

    score: AttentionScore = "additive"
    size: Positive = 512


class DropoutConfig(Section):
    """Dropout probabilities; `word` replaces whole input words by the unknown piece."""

    embedding: Fraction = 0.3
    layers: Fraction = 0.3
    memory: Fraction = 0.3
    output: Fraction = 0.3
    word: Fraction = 0.0


class ModelConfig(Section):
    """Sizes and wiring. `bridge` carries the encoder's last state into the decoder's first."""

    embedding_size: Positive = 256
    encoder: EncoderConfig = EncoderConfig()
    bridge: Literal["zero", "last", "mean", "learned"] = "learned"
    decoder: DecoderConfig = DecoderConfig()
    attention: AttentionConfig = AttentionConfig()
    tie_embeddings: Literal["none", "src_tgt", "tgt_output", "all"] = "none"
    dropout: DropoutConfig = DropoutConfig()

    @property
    def ties_output(self) -> bool:
        """Whether the output layer is the target embedding matrix."""
        return self.tie_embeddings in ("tgt_output", "all")

    @property
    def ties_src_tgt(self) -> bool:
        """Whether both sides read one embedding matrix."""
        return self.tie_embeddings in ("src_tgt", "all")

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        memory, hidden = self.encoder.output_size, self.decoder.hidden_size
        sizes = f"encoder gives {memory}, decoder.hidden_size is {hidden}"
        if self.bridge in ("last", "mean") and memory != hidden:
            raise problem(
                f"bridge '{self.bridge}' copies a state, so the sizes must be equal: {sizes}; or use 'learned'"
            )
        if self.bridge == "last" and self.encoder.layers != self.decoder.layers:
            raise problem("bridge 'last' copies layer by layer, so encoder.layers must equal decoder.layers")
        if self.attention.score in ("dot", "scaled_dot") and memory != hidden:
            raise problem(f"score '{self.attention.score}' needs equal sizes: {sizes}; or use 'general'")
        if self.attention.score == "none" and self.bridge == "zero":
            raise problem("without attention and with bridge 'zero' the decoder would know nothing of the source")
        return self


class OptimizerConfig(Section):
    """The optimiser of the parameters; `betas` and `eps` are Adam's, `momentum` is SGD's."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Field(gt=0.0)] = 1e-3
    betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)] = [0.9, 0.98]
    eps: Annotated[float, Field(gt=0.0)] = 1e-8
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    momentum: Fraction = 0.0


class ScheduleConfig(Section):
    """The learning rate over updates: `lr` times a factor.

    `warmup` updates of linear increase come first, in every schedule. `inverse_sqrt` then falls with the square root of
    the update (Vaswani et al. 2017), `cosine` to `min_factor` at update `total`; `plateau` multiplies by `factor` each
    time `metric` has not improved for more than `patience` validations, never below `min_factor`.
    """

    type: Literal["constant", "inverse_sqrt", "cosine", "plateau"] = "constant"
    warmup: NonNegative = 0
    total: Positive | None = None
    metric: Metric = "ppl"
    factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    patience: NonNegative = 2
    min_factor: Probability = 0.01

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.type == "cosine" and (self.total is None or self.total <= self.warmup):
            raise problem("schedule cosine needs total, the update at which it ends, larger than warmup")
        if self.type == "inverse_sqrt" and self.warmup == 0:
            raise problem("schedule inverse_sqrt needs warmup of at least 1 update")
        return self


class TeacherForcingConfig(Section):
    """The probability, per token, that the gold word and not the model's own argmax is fed (Bengio et al. 2015).

    `linear` goes from `start` to `end` over `updates`; `inverse_sigmoid` is k / (k + exp(update / k)) between `start`
    and `end` with k = `updates`.
    """

    schedule: Literal["constant", "linear", "inverse_sigmoid"] = "constant"
    start: Probability = 1.0
    end: Probability = 0.0
    updates: Positive = 1000


class ValidationConfig(Section):
    """Every `every` updates (0: after each epoch) the validation split is scored and `sentences` of it decoded."""

    every: NonNegative = 0
    sentences: NonNegative = 500
    beam_size: Positive = 1
    samples: NonNegative = 3


class EarlyStoppingConfig(Section):
    """Stop when `metric` has not improved for `patience` validations in a row (0: never); the best is kept anyway."""

    metric: Metric = "bleu"
    patience: NonNegative = 10


class TrainingConfig(Section):
    """The loop. `batch_size` is a budget of padded tokens on the longer side, or a number of sentences."""

    epochs: Positive = 20
    max_updates: Positive | None = None
    max_minutes: Annotated[float, Field(gt=0.0)] | None = None
    batch_unit: Literal["tokens", "sentences"] = "tokens"
    batch_size: Positive = 2048
    accumulate: Positive = 1
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    threads: NonNegative = 0
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    clip_norm: Annotated[float, Field(ge=0.0)] = 1.0
    label_smoothing: Fraction = 0.1
    teacher_forcing: TeacherForcingConfig = TeacherForcingConfig()
    validation: ValidationConfig = ValidationConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    keep_last: Positive = 2
    log_every: Positive = 50
    tensorboard: bool = True


class DecodingConfig(Section):
    """Search. A hypothesis has at most `max_length_ratio` x source pieces + `max_length_extra` pieces, EOS counted.

    `length_penalty` is alpha in ((5 + length) / 6) ** alpha (Wu et al. 2016). A source longer than `max_src_length`
    pieces is cut, with a warning.
    """

    beam_size: Positive = 5
    length_penalty: Annotated[float, Field(ge=0.0)] = 1.0
    min_length: NonNegative = 0
    max_length_ratio: Annotated[float, Field(ge=0.0)] = 2.0
    max_length_extra: Positive = 10
    max_src_length: Positive = 500
    batch_size: Positive = 64


class EvaluationConfig(Section):
    """How sacrebleu tokenises before it counts BLEU ('none' for text that is tokenised already)."""

    bleu_tokenize: Literal["13a", "none", "intl", "char", "zh"] = "13a"
    lowercase: bool = False


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
    "training.log_every",
    "training.tensorboard",
    "decoding.beam_size",
    "decoding.batch_size",
)
