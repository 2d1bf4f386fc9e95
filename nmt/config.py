"""Every setting, its type, its range and its default. A default stands here and nowhere else.

The models are strict: a wrong type or an unknown key is an error, never a guess. Reading them from YAML, with line
numbers and all errors at once, is in `config_file`. Nothing here imports torch.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[int, Field(ge=0)]
Metric = Literal["loss", "ppl", "bleu", "chrf"]
AttentionScore = Literal[
    "none", "additive", "concat", "dot", "scaled_dot", "general", "qkv", "location", "fc", "kernel"
]
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


class RNNEncoderConfig(Section):
    """The recurrent encoder; `hidden_size` is per direction."""

    type: Literal["rnn"] = "rnn"
    cell: Cell = "lstm"
    hidden_size: Positive = 256
    layers: Positive = 1
    bidirectional: bool = True


class StackConfig(Section):
    """What stacks of attention layers share; their width is `model.embedding_size`.

    `feed_forward` is the hidden width of the block after each attention (0: none); `norm` stands before (`pre`) or
    after (`post`) what it belongs to; `learned` positions go up to `max_positions`.
    """

    layers: Positive = 2
    heads: Positive = 4
    feed_forward: NonNegative = 512
    norm: Literal["pre", "post"] = "pre"
    positions: Literal["none", "sinusoidal", "learned"] = "sinusoidal"
    max_positions: Positive = 500


class SelfAttentionEncoderConfig(StackConfig):
    """Self-attention with learned projections (`qkv`) or of the dot products alone (`none`; one head)."""

    type: Literal["self_attention"]
    projections: Literal["none", "qkv"] = "qkv"

    @model_validator(mode="after")
    def _one_head(self) -> Self:
        if self.projections == "none" and self.heads != 1:
            raise problem("without projections all heads would be the same: set heads to 1")
        return self


class PositionalEncoderConfig(StackConfig):
    """Weights from positions alone: a learned matrix (`full`) or the product of two of width `rank` (`factorised`)."""

    type: Literal["positional"]
    form: Literal["full", "factorised"] = "full"
    rank: Positive = 8


class LinearEncoderConfig(StackConfig):
    """Linear attention: a feature map in the place of the softmax, cost linear in the length."""

    type: Literal["linear"]


class PerceiverEncoderConfig(StackConfig):
    """`latents` learned vectors read the source once; the layers of self-attention are among them."""

    type: Literal["perceiver"]
    latents: Positive = 16


def _kind(section: Any) -> Any:
    """The `type` of an encoder or decoder section, `rnn` if it names none."""
    return section.get("type", "rnn") if isinstance(section, dict) else getattr(section, "type", section)


EncoderConfig = Annotated[
    Annotated[RNNEncoderConfig, Tag("rnn")]
    | Annotated[SelfAttentionEncoderConfig, Tag("self_attention")]
    | Annotated[PositionalEncoderConfig, Tag("positional")]
    | Annotated[LinearEncoderConfig, Tag("linear")]
    | Annotated[PerceiverEncoderConfig, Tag("perceiver")],
    Discriminator(_kind),
]


class RNNDecoderConfig(Section):
    """The recurrent decoder; `wiring` says whether attention is asked before (bahdanau) or after (luong) the cell."""

    type: Literal["rnn"] = "rnn"
    cell: Cell = "lstm"
    hidden_size: Positive = 512
    layers: Positive = 1
    wiring: Literal["bahdanau", "luong"] = "luong"
    input_feeding: bool = True


class TransformerDecoderConfig(StackConfig):
    """The Transformer's decoder: masked self-attention, attention to the memory, feed-forward.

    `self_attention: linear` has fast weights in the place of a softmax over what was said.
    Its alignment is read from layer `alignment_layer` (from 1; null: the second last) as the mean of the heads
    `alignment_heads` (from 1; empty: all).
    """

    type: Literal["transformer"]
    self_attention: Literal["softmax", "linear"] = "softmax"
    alignment_layer: Positive | None = None
    alignment_heads: list[Positive] = []

    @property
    def alignment_source(self) -> tuple[int, list[int]]:
        """The layer and the heads, from 1, that the alignment is read from."""
        return self.alignment_layer or max(1, self.layers - 1), self.alignment_heads or [*range(1, self.heads + 1)]

    @model_validator(mode="after")
    def _read_what_is_there(self) -> Self:
        if self.alignment_layer is not None and self.alignment_layer > self.layers:
            raise problem(f"alignment_layer is {self.alignment_layer}, but there are {self.layers} layers")
        if any(head > self.heads for head in self.alignment_heads):
            raise problem(f"alignment_heads are numbered 1 to {self.heads}, not {self.alignment_heads}")
        if self.feed_forward == 0:
            raise problem("the transformer decoder needs feed_forward above 0")
        return self


DecoderConfig = Annotated[
    Annotated[RNNDecoderConfig, Tag("rnn")] | Annotated[TransformerDecoderConfig, Tag("transformer")],
    Discriminator(_kind),
]


class AttentionConfig(Section):
    """The recurrent decoder's attention: score, normaliser, window and coverage.

    - `size`: hidden width of additive, concat, qkv (over all `heads`) and kernel.
    - `normed`: additive and concat with weight normalisation (normed Bahdanau).
    - `max_src_length`: the longest source, in pieces, of location and fc.
    - `kernel`, `width`, `learned_width`: k and sigma of the score `kernel`.
    - `normaliser`: energies to weights; sparsemax and entmax15 have rows with exact zeros, hard has one 1.
    - `window`: a Gaussian of standard deviation `window_size` / 2, cut at `window_size`, around the target position
      (local-m) or a predicted one (local-p).
    - `coverage`: a memory of what was looked at, one number (linguistic) or `coverage_size` (neural) per source piece.
    """

    score: AttentionScore = "additive"
    size: Positive = 512
    heads: Positive = 1
    normed: bool = False
    max_src_length: Positive = 100
    kernel: Literal["gaussian", "boxcar", "epanechnikov", "constant"] = "gaussian"
    width: Annotated[float, Field(gt=0.0)] = 1.0
    learned_width: bool = True
    normaliser: Literal["softmax", "sparsemax", "entmax15", "hard"] = "softmax"
    window: Literal["none", "local-m", "local-p"] = "none"
    window_size: Annotated[float, Field(ge=1.0)] = 10.0
    coverage: Literal["none", "linguistic", "neural"] = "none"
    coverage_size: Positive = 10

    @model_validator(mode="after")
    def _options_belong(self) -> Self:
        """What makes another mechanism of one score and would be passed over by another is a mistake, not a wish."""
        for option, scores in (
            ("heads", ("qkv",)),
            ("normed", ("additive", "concat")),
            ("max_src_length", ("location", "fc")),
            ("kernel", ("kernel",)),
            ("width", ("kernel",)),
            ("learned_width", ("kernel",)),
        ):
            if getattr(self, option) != type(self).model_fields[option].default and self.score not in scores:
                raise problem(f"{option} belongs to the score {' or '.join(scores)}, not to '{self.score}'")
        if self.score == "none" and (self.normaliser, self.window, self.coverage) != ("softmax", "none", "none"):
            raise problem("the score 'none' has no weights, so no normaliser, window or coverage")
        if self.size % self.heads:
            raise problem(f"size {self.size} does not divide into {self.heads} heads")
        return self


class DropoutConfig(Section):
    """Dropout probabilities; `word` replaces whole input words by the unknown piece.

    `layers` is between the layers of an RNN, and on what each block of an attention stack adds; `attention` is on the
    weights of such a stack (linear attention has none).
    """

    embedding: Fraction = 0.3
    layers: Fraction = 0.3
    attention: Fraction = 0.0
    memory: Fraction = 0.3
    output: Fraction = 0.3
    word: Fraction = 0.0


class ModelConfig(Section):
    """Sizes and wiring. `bridge` carries the encoder's last state into the decoder's first."""

    embedding_size: Positive = 256
    encoder: EncoderConfig = RNNEncoderConfig()
    bridge: Literal["zero", "last", "mean", "learned"] = "learned"
    decoder: DecoderConfig = RNNDecoderConfig()
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

    @property
    def memory_size(self) -> int:
        """Width M of the encoder's outputs."""
        encoder = self.encoder
        if isinstance(encoder, RNNEncoderConfig):
            return encoder.hidden_size * (2 if encoder.bidirectional else 1)
        return self.embedding_size

    @property
    def max_src_length(self) -> int | None:
        """The longest source, in pieces, that has weights for every place; None: any."""
        encoder, limits = self.encoder, []
        if isinstance(encoder, PositionalEncoderConfig) or (
            isinstance(encoder, StackConfig) and encoder.positions == "learned"
        ):
            limits.append(encoder.max_positions)
        if self.attention.score in ("location", "fc"):
            limits.append(self.attention.max_src_length)
        return min(limits, default=None)

    @property
    def max_tgt_length(self) -> int | None:
        """The longest target, in pieces with its end mark; None: any."""
        decoder = self.decoder
        learned = isinstance(decoder, TransformerDecoderConfig) and decoder.positions == "learned"
        return decoder.max_positions if learned else None  # type: ignore[union-attr]

    @property
    def read_from(self) -> str:
        """Which weights the alignment is read from, for a person."""
        if isinstance(self.decoder, TransformerDecoderConfig):
            layer, heads = self.decoder.alignment_source
            text = f"layer {layer} of {self.decoder.layers}, mean of heads {', '.join(map(str, heads))}"
        else:
            text = "attention" if self.attention.heads == 1 else f"attention, mean of {self.attention.heads} heads"
        if isinstance(self.encoder, PerceiverEncoderConfig):
            text += f", through {self.encoder.latents} latents"
        return text

    @property
    def has_alignment(self) -> bool:
        """Whether there are weights from target to source."""
        return self.attention.score != "none"

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        for name, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            if isinstance(stack, StackConfig) and self.embedding_size % stack.heads:
                raise problem(
                    f"{name}.heads: embedding_size {self.embedding_size} does not divide into {stack.heads} heads"
                )
            if isinstance(stack, StackConfig) and stack.positions == "sinusoidal" and self.embedding_size % 2:
                raise problem(f"{name}: sinusoidal positions need an even embedding_size, not {self.embedding_size}")
        if isinstance(self.decoder, TransformerDecoderConfig):
            if self.attention != AttentionConfig():
                raise problem(
                    "model.attention is the recurrent decoder's; the transformer decoder always has multi-head scaled "
                    "dot attention in every layer: set decoder.heads, and take model.attention out"
                )
            return self
        if isinstance(self.encoder, PerceiverEncoderConfig) and (
            self.attention.score in ("location", "fc") or self.attention.window != "none"
        ):
            raise problem(
                "a perceiver's latents have no order, so scores by place (location, fc) and windows mean nothing there"
            )
        memory, hidden = self.memory_size, self.decoder.hidden_size
        sizes = f"encoder gives {memory}, decoder.hidden_size is {hidden}"
        if self.bridge in ("last", "mean") and memory != hidden:
            raise problem(
                f"bridge '{self.bridge}' copies a state, so the sizes must be equal: {sizes}; or use 'learned'"
            )
        if self.bridge == "last" and not isinstance(self.encoder, RNNEncoderConfig):
            raise problem(
                f"bridge 'last' copies the encoder's last state, and encoder '{self.encoder.type}' has none; "
                f"use 'mean' or 'learned'"
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


class GuidedConfig(Section):
    """Attention taught by word links (Chen et al. 2016); the loss is added per target piece, `weight` times.

    `links` is a file with one line of Pharaoh links (i-j, from 0, on words) for each training pair; null takes those
    that come with the corpus. Each epoch the weight is multiplied by `decay`.
    """

    enabled: bool = False
    links: str | None = None
    loss: Literal["cross_entropy", "squared"] = "cross_entropy"
    weight: Annotated[float, Field(gt=0.0)] = 0.5
    decay: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0


class TrainingConfig(Section):
    """The loop. `batch_size` is a budget of padded tokens on the longer side, or a number of sentences.

    `coverage_loss` weighs the penalty for looking again where it was looked already (See et al. 2017, equation 12).
    `average_last` checkpoints are averaged at the end (0: none); the mean is the best model if it validates better.
    """

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
    guided_alignment: GuidedConfig = GuidedConfig()
    coverage_loss: Annotated[float, Field(ge=0.0)] = 0.0
    teacher_forcing: TeacherForcingConfig = TeacherForcingConfig()
    validation: ValidationConfig = ValidationConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    keep_last: Positive = 2
    average_last: NonNegative = 0
    log_every: Positive = 50
    tensorboard: bool = True


class DrawingConfig(Section):
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
    `predicts` it, or the next one, where it is the `input` (null: predicts for a recurrent decoder, input for a
    transformer; see docs/alignment.md). With `no_repeat_ngram` n, no n pieces in a row are said twice.
    """

    beam_size: Positive = 5
    length_penalty: Annotated[float, Field(ge=0.0)] = 1.0
    coverage_penalty: Annotated[float, Field(ge=0.0)] = 0.0
    min_length: NonNegative = 0
    min_length_ratio: Annotated[float, Field(ge=0.0)] = 0.0
    max_length_ratio: Annotated[float, Field(ge=0.0)] = 2.0
    max_length_extra: Positive = 10
    max_src_length: Positive = 500
    alignment_at: Literal["predicts", "input"] | None = None
    forbid_unk: bool = False
    no_repeat_ngram: NonNegative = 0
    sampling: DrawingConfig = DrawingConfig()
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
        for side, limit in (("src", self.model.max_src_length), ("tgt", self.model.max_tgt_length)):
            if limit is not None and self.data.max_length + (side == "tgt") > limit:
                raise problem(
                    f"data.max_length lets pairs of {self.data.max_length} pieces through, but the model has places "
                    f"for {limit} on the {side} side, the end mark counted; lower the one or raise the other"
                )
        if self.training.average_last > self.training.keep_last:
            raise problem(
                f"training.average_last is {self.training.average_last}, but only training.keep_last = "
                f"{self.training.keep_last} checkpoints are kept"
            )
        guided = self.training.guided_alignment
        if guided.enabled and guided.loss == "cross_entropy" and self.model.attention.normaliser != "softmax":
            raise problem(
                f"training.guided_alignment: a weight of exactly 0, as {self.model.attention.normaliser} gives, has no "
                f"cross-entropy to learn from; set its loss to squared"
            )
        if guided.enabled and not self.model.has_alignment:
            raise problem("training.guided_alignment needs attention, and model.attention.score is none")
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
    def alignment_at(self) -> Literal["predicts", "input"]:
        """The step whose weights are a target word's: what is set, or what was measured to be better."""
        transformer = isinstance(self.model.decoder, TransformerDecoderConfig)
        return self.decoding.alignment_at or ("input" if transformer else "predicts")

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
    set: dict[str, Any] = {}
    variants: Annotated[dict[str, dict[str, Any]], Field(min_length=1)]
    split: Literal["valid", "test"] = "test"
    sentences: list[str] = []

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
    "training.average_last",
    "training.log_every",
    "training.tensorboard",
    "decoding.beam_size",
    "decoding.batch_size",
)
