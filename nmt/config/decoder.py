"""The decoders: sizes and kinds."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny

from nmt.config.choice import Choice
from nmt.config.encoder import Cell, StackConfig, problems_of_residual
from nmt.config.section import Layers, Positive, Problem, Section


class RNNDecoderConfig(Section):
    """The recurrent decoder; `wiring` puts attention before the cell (`bahdanau`) or after it (`luong`).

    With `residual`, each layer above the first adds its inputs to its outputs (Wu et al. 2016, section 3.1).
    """

    type: Literal["rnn"] = "rnn"
    cell: Cell = "lstm"
    hidden_size: Positive = 512
    layers: Layers = 1
    wiring: Literal["bahdanau", "luong"] = "luong"
    input_feeding: bool = True
    residual: bool = False

    def problems(self) -> Iterator[Problem]:
        """Yield a problem if there are residual connections but no further layer to connect."""
        yield from problems_of_residual(self.residual, self.layers)


class TransformerDecoderConfig(StackConfig):
    """The Transformer's decoder: masked self-attention, attention to the memory, feed-forward.

    `self_attention: linear` uses fast weights instead of a softmax over the target so far. The alignment is the mean of
    the heads `alignment_heads` of layer `alignment_layer`, both counted from 1. By default, it is the mean of all heads
    of the second-to-last layer. If, however, the step that has a word as its input is guided to the word's links, it is
    the first head of the middle layer, and only that head is guided (compare Garg et al. 2019; Chen et al. 2020).
    """

    type: Literal["transformer"] = "transformer"
    self_attention: Literal["softmax", "linear"] = "softmax"
    alignment_layer: Positive | None = None
    alignment_heads: list[Positive] = Field(default_factory=list)

    def alignment_source(self, at_input: bool) -> tuple[int, list[int]]:
        """Return the layer and the heads, from 1, that the alignment is read from.

        Args:
            at_input: whether the step that has a word as its input is guided to the word's links.
        """
        layer = (self.layers + 1) // 2 if at_input else max(1, self.layers - 1)
        heads = [1] if at_input else [*range(1, self.heads + 1)]
        return self.alignment_layer or layer, self.alignment_heads or heads

    def problems(self) -> Iterator[Problem]:
        """Yield layers and heads that do not exist, and a missing feed-forward block."""
        if self.alignment_layer is not None and self.alignment_layer > self.layers:
            keys = ("alignment_layer", "layers")
            yield Problem(f"alignment_layer is {self.alignment_layer}, but there are {self.layers} layers", keys)
        if any(head > self.heads for head in self.alignment_heads):
            keys = ("alignment_heads", "heads")
            yield Problem(f"alignment_heads are numbered 1 to {self.heads}, not {self.alignment_heads}", keys)
        if self.feed_forward == 0:
            yield Problem("the transformer decoder needs feed_forward above 0", ("feed_forward",))


DecoderConfig = RNNDecoderConfig | TransformerDecoderConfig
DECODERS = Choice(
    group=None,  # the two decoders differ in what they need from the configuration, so `build_model` knows both
    key="type",
    base=Section,
    builtin={"rnn": RNNDecoderConfig, "transformer": TransformerDecoderConfig},
    default="rnn",
    aliases={"lstm": "rnn", "gru": "rnn", "self_attention": "transformer"},
)
DecoderField = Annotated[SerializeAsAny[RNNDecoderConfig | TransformerDecoderConfig], DECODERS.validator()]
