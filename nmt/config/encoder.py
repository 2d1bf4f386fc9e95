"""The encoders: sizes and kinds."""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import SerializeAsAny

from nmt.config.choice import Choice
from nmt.config.section import Layers, NonNegative, Positive, Problem, Section

Cell = Literal["lstm", "gru"]


class EncoderConfig(Section):
    """The settings that the encoders of this package and of installed packages share.

    To add an encoder, an installed package registers a subclass, with its own `type` and options, in the entry-point
    group ``nmt.encoder`` and overrides `build`; docs/extending.md has an example.
    """

    type: str
    layers: Layers = 1

    def memory_size(self, embedding_size: int) -> int:
        """Return M, the width of the encoder's outputs."""
        return embedding_size

    def build(self, embedding_size: int, dropout: float) -> Any:
        """Return a module ``(embedded [B, S, E], mask [B, S], lengths [B]) -> EncoderOutput``; see `nmt.model.memory`.

        The lengths are those of the mask's rows, on the CPU, for functions that would otherwise wait for the GPU.

        Args:
            embedding_size: E.
            dropout: the probability ``model.dropout.layers``.
        """
        raise NotImplementedError


class RNNEncoderConfig(EncoderConfig):
    """The recurrent encoder; `hidden_size` is the width of each direction.

    With `residual`, each layer above the first adds its inputs to its outputs (Wu et al. 2016, section 3.1). The bridge
    reads the last states of the layers, which are not added up.
    """

    type: Literal["rnn"] = "rnn"
    cell: Cell = "lstm"
    hidden_size: Positive = 256
    layers: Layers = 1
    bidirectional: bool = True
    residual: bool = False

    def memory_size(self, embedding_size: int) -> int:
        """Return M, the width of the outputs; those of both directions are concatenated."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    def problems(self) -> Iterator[Problem]:
        """Yield a problem if there are residual connections but no further layer to connect."""
        yield from problems_of_residual(self.residual, self.layers)


def problems_of_residual(residual: bool, layers: int) -> Iterator[Problem]:
    """Yield a problem if there are residual connections but only one layer."""
    if residual and layers == 1:
        yield Problem(
            "residual connects layers, so it has no effect with layers: 1; take it out, or set layers above 1",
            ("residual", "layers"),
        )


class StackConfig(Section):
    """The settings that all stacks of attention layers share; their width is `model.embedding_size`.

    `feed_forward` is the hidden width of the feed-forward block after each attention (0: no such block). `norm` is pre-
    or post-layer-norm. There are `max_positions` positions if they are `learned`.
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {"max_positions": ("positions", ("learned",))}
    layers: Layers = 2
    heads: Positive = 4
    feed_forward: NonNegative = 512
    norm: Literal["pre", "post"] = "pre"
    positions: Literal["none", "sinusoidal", "learned"] = "sinusoidal"
    max_positions: Positive = 500


class SelfAttentionEncoderConfig(StackConfig, EncoderConfig):
    """Self-attention with learned projections (`qkv`), or with plain dot products and a single head (`none`)."""

    type: Literal["self_attention"] = "self_attention"
    projections: Literal["none", "qkv"] = "qkv"

    def problems(self) -> Iterator[Problem]:
        """Yield a number of heads above 1 if there are no projections."""
        if self.projections == "none" and self.heads != 1:
            keys = ("heads", "projections")
            yield Problem(
                "without projections there is only one head, the product of whole vectors; set heads to 1", keys
            )


class PositionalEncoderConfig(StackConfig, EncoderConfig):
    """Self-attention whose weights depend on positions alone.

    The weights come from a learned matrix (`full`) or from the product of two matrices of width `rank` (`factorised`).
    """

    belongs: ClassVar[dict[str, tuple[str, tuple[Any, ...]]]] = {"rank": ("form", ("factorised",))}
    type: Literal["positional"] = "positional"
    form: Literal["full", "factorised"] = "full"
    rank: Positive = 8


class LinearEncoderConfig(StackConfig, EncoderConfig):
    """Linear attention: a feature map replaces the softmax, so the cost is linear in the length."""

    type: Literal["linear"] = "linear"


class PerceiverEncoderConfig(StackConfig, EncoderConfig):
    """A few learned vectors attend to the source once, then to one another in the layers of self-attention.

    `latents` is the number of these vectors.
    """

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
