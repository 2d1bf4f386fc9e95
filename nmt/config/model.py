"""Encoder, decoder, attention: sizes, kinds and wiring."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from nmt.config.section import Fraction, Layers, NonNegative, Positive, Section, problem

AttentionScore = Literal[
    "none", "additive", "concat", "dot", "scaled_dot", "general", "qkv", "location", "fc", "kernel"
]
Cell = Literal["lstm", "gru"]


class RNNEncoderConfig(Section):
    """The recurrent encoder; `hidden_size` is per direction."""

    type: Literal["rnn"] = "rnn"
    cell: Cell = "lstm"
    hidden_size: Positive = 256
    layers: Layers = 1
    bidirectional: bool = True


class StackConfig(Section):
    """What stacks of attention layers share; their width is `model.embedding_size`.

    `feed_forward` is the hidden width of the block after each attention (0: none); `norm` stands before (`pre`) or
    after (`post`) what it belongs to; `learned` positions go up to `max_positions`.
    """

    layers: Layers = 2
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
            raise problem("without projections there is one head, the product of whole vectors: set heads to 1")
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
    layers: Layers = 1
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
    alignment_heads: list[Positive] = Field(default_factory=list)

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
    - `kernel`, `width`, `learned_width`: k and sigma of the score `kernel`. The compact ones, boxcar and epanechnikov,
      learn only if keys lie inside at first, as with a width of 4.
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

    @property
    def gives_zeros(self) -> str | None:
        """The choice by which weights can be exactly 0 on places that may be looked at."""
        if self.normaliser != "softmax":
            return self.normaliser
        compact = self.score == "kernel" and self.kernel in ("boxcar", "epanechnikov")
        return f"the kernel {self.kernel}" if compact else None

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
