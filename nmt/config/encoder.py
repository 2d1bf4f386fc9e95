"""The encoders: sizes and kinds."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import SerializeAsAny

from nmt.config.choice import Choice
from nmt.config.section import Layers, NonNegative, Positive, Problem, Section

Cell = Literal["lstm", "gru"]


class EncoderConfig(Section):
    """What the encoders of this package and those of installed packages share.

    An installed package announces a subclass, with its own `type` and options, in the entry points' group
    ``nmt.encoder``, and overrides `build`; docs/extending.md has an example.
    """

    type: str
    layers: Layers = 1

    def memory_size(self, embedding_size: int) -> int:
        """Return M, the width of the encoder's outputs."""
        return embedding_size

    def build(self, embedding_size: int, dropout: float) -> Any:
        """Return a module ``(embedded [B, S, E], mask [B, S]) -> EncoderOutput``; see `nmt.model.memory`.

        Args:
            embedding_size: E.
            dropout: the probability ``model.dropout.layers``.
        """
        raise NotImplementedError


class RNNEncoderConfig(EncoderConfig):
    """The recurrent encoder; `hidden_size` is per direction.

    With `residual` each layer above the first adds its outputs to its inputs (Wu et al. 2016, section 3.1).
    """

    type: Literal["rnn"] = "rnn"
    cell: Cell = "lstm"
    hidden_size: Positive = 256
    layers: Layers = 1
    bidirectional: bool = True
    residual: bool = False

    def memory_size(self, embedding_size: int) -> int:
        """Return M: both directions side by side."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    def problems(self) -> Iterator[Problem]:
        """Yield residual connections without layers to connect."""
        yield from problems_of_residual(self.residual, self.layers)


def problems_of_residual(residual: bool, layers: int) -> Iterator[Problem]:
    """Yield residual connections of a single layer."""
    if residual and layers == 1:
        yield Problem(
            "residual connects layers, so it has no effect with layers: 1; take it out, or set layers above 1",
            ("residual", "layers"),
        )


class StackConfig(Section):
    """What stacks of attention layers share; their width is `model.embedding_size`.

    `feed_forward` is the hidden width of the block after each attention (0: none); `norm` is pre- or post-layer-norm;
    `learned` positions go up to `max_positions`.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {"max_positions": ("positions", ("learned",))}
    layers: Layers = 2
    heads: Positive = 4
    feed_forward: NonNegative = 512
    norm: Literal["pre", "post"] = "pre"
    positions: Literal["none", "sinusoidal", "learned"] = "sinusoidal"
    max_positions: Positive = 500


class SelfAttentionEncoderConfig(StackConfig, EncoderConfig):
    """Self-attention with learned projections (`qkv`) or of the dot products alone (`none`; one head)."""

    type: Literal["self_attention"] = "self_attention"
    projections: Literal["none", "qkv"] = "qkv"

    def problems(self) -> Iterator[Problem]:
        """Yield several heads without projections."""
        if self.projections == "none" and self.heads != 1:
            keys = ("heads", "projections")
            yield Problem("without projections there is one head, the product of whole vectors: set heads to 1", keys)


class PositionalEncoderConfig(StackConfig, EncoderConfig):
    """Weights from positions alone: a learned matrix (`full`) or the product of two of width `rank` (`factorised`)."""

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {"rank": ("form", ("factorised",))}
    type: Literal["positional"] = "positional"
    form: Literal["full", "factorised"] = "full"
    rank: Positive = 8


class LinearEncoderConfig(StackConfig, EncoderConfig):
    """Linear attention: a feature map in the place of the softmax, cost linear in the length."""

    type: Literal["linear"] = "linear"


class PerceiverEncoderConfig(StackConfig, EncoderConfig):
    """`latents` learned vectors attend to the source once; the layers of self-attention are among them."""

    type: Literal["perceiver"] = "perceiver"
    latents: Positive = 16


ENCODERS = Choice(
    group="nmt.encoder",
    key="type",
    base=EncoderConfig,
    builtin={
        "rnn": RNNEncoderConfig,
        "self_attention": SelfAttentionEncoderConfig,
        "positional": PositionalEncoderConfig,
        "linear": LinearEncoderConfig,
        "perceiver": PerceiverEncoderConfig,
    },
    default="rnn",
    aliases={
        "transformer": "self_attention",
        "lstm": "rnn",
        "gru": "rnn",
        "birnn": "rnn",
        "brnn": "rnn",
        "synthesizer": "positional",
    },
)
EncoderField = Annotated[SerializeAsAny[EncoderConfig], ENCODERS.validator()]
