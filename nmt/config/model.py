"""The model as a whole: its parts, and what they must agree on."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from nmt.config.attention import AttentionConfig, AttentionField
from nmt.config.decoder import DecoderField, RNNDecoderConfig, TransformerDecoderConfig
from nmt.config.encoder import (
    EncoderField,
    LinearEncoderConfig,
    PerceiverEncoderConfig,
    PositionalEncoderConfig,
    RNNEncoderConfig,
    StackConfig,
)
from nmt.config.section import Fraction, Positive, Problem, Section


class DropoutConfig(Section):
    """Dropout probabilities; `word` is the probability of replacing an input piece by the unknown piece.

    `recurrent` drops weights between the states of an RNN, the same ones at all steps (Merity et al. 2018). With
    `variational`, the dropout of `embedding`, `memory` and `output` drops the same values at every position of a
    sentence (Gal and Ghahramani 2016). `switchout` is not a probability but a temperature. It replaces input pieces by
    others of the vocabulary, and the probability of replacing k pieces of a sentence is in proportion to
    `exp(-k / switchout)` (Wang et al. 2018); 0 replaces none.

    `layers` applies between the layers of an RNN and to the output of each block of an attention stack. `attention`
    applies to the weights of such a stack (linear attention has none).
    """

    embedding: Fraction = 0.3
    layers: Fraction = 0.3
    attention: Fraction = 0.0
    memory: Fraction = 0.3
    output: Fraction = 0.3
    word: Fraction = 0.0
    recurrent: Fraction = 0.0
    variational: bool = False
    switchout: Annotated[float, Field(ge=0.0, le=100.0)] = 0.0

    def problems(self) -> Iterator[Problem]:
        """Yield variational dropout of nothing, and a temperature that is too low to compute with."""
        if self.variational and not (self.embedding or self.memory or self.output):
            yield Problem(
                "dropout.variational has no effect while embedding, memory and output are 0; take it out",
                ("variational", "embedding"),
            )
        if 0.0 < self.switchout < 0.01:
            yield Problem(
                f"dropout.switchout is a temperature of 0.01 or more, or 0 for none, not {self.switchout}",
                ("switchout",),
            )


class ModelConfig(Section):
    """The sizes and wiring of the model. `bridge` sets how the encoder's last state becomes the decoder's first."""

    embedding_size: Positive = 256
    encoder: EncoderField = RNNEncoderConfig()
    bridge: Literal["zero", "last", "mean", "learned"] = "learned"
    decoder: DecoderField = RNNDecoderConfig()
    attention: AttentionField = AttentionConfig()
    tie_embeddings: Literal["none", "src_tgt", "tgt_output", "all"] = "none"
    dropout: DropoutConfig = DropoutConfig()

    @property
    def ties_output(self) -> bool:
        """Whether the output layer is the target embedding matrix."""
        return self.tie_embeddings in ("tgt_output", "all")

    @property
    def ties_src_tgt(self) -> bool:
        """Whether both sides share one embedding matrix."""
        return self.tie_embeddings in ("src_tgt", "all")

    @property
    def memory_size(self) -> int:
        """Width M of the encoder's outputs."""
        return self.encoder.memory_size(self.embedding_size)

    @property
    def max_src_length(self) -> int | None:
        """The longest source, in pieces, that the model has weights for; None if there is no limit."""
        encoder, limits = self.encoder, []
        if isinstance(encoder, PositionalEncoderConfig) or (
            isinstance(encoder, StackConfig) and encoder.positions == "learned"
        ):
            limits.append(encoder.max_positions)
        if isinstance(self.attention, AttentionConfig) and self.attention.score in ("location", "fc"):
            limits.append(self.attention.max_src_length)
        return min(limits, default=None)

    @property
    def max_tgt_length(self) -> int | None:
        """The longest target, in pieces including the end mark; None if there is no limit."""
        decoder = self.decoder
        learned = isinstance(decoder, TransformerDecoderConfig) and decoder.positions == "learned"
        return decoder.max_positions if learned else None  # type: ignore[union-attr]

    def read_from(self, at_input: bool) -> str:
        """Return a readable description of the weights that the alignment is read from; see `alignment_source`."""
        if isinstance(self.decoder, TransformerDecoderConfig):
            layer, heads = self.decoder.alignment_source(at_input)
            named = f"head {heads[0]}" if len(heads) == 1 else f"mean of heads {', '.join(map(str, heads))}"
            text = f"layer {layer} of {self.decoder.layers}, {named}"
        else:
            heads_of_query = self.attention.heads if isinstance(self.attention, AttentionConfig) else 1
            text = "attention" if heads_of_query == 1 else f"attention, mean of {heads_of_query} heads"
        if isinstance(self.encoder, PerceiverEncoderConfig):
            text += f", through {self.encoder.latents} latents"
        return text

    @property
    def has_attention(self) -> bool:
        """Whether there are weights from target to source."""
        return self.attention.score != "none"

    @property
    def has_posterior(self) -> bool:
        """Whether posterior attention weights, which take a step's token into account, can be computed."""
        return self.has_attention and not isinstance(self.decoder, TransformerDecoderConfig)

    def problems(self) -> Iterator[Problem]:
        """Yield each conflict between the parts of the model."""
        for name, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            if isinstance(stack, StackConfig) and self.embedding_size % stack.heads:
                message = f"{name}.heads: embedding_size {self.embedding_size} is not a multiple of {stack.heads}"
                yield Problem(message, (f"{name}.heads", "embedding_size"))
            if isinstance(stack, StackConfig) and stack.positions == "sinusoidal" and self.embedding_size % 2:
                message = f"{name}: sinusoidal positions need an even embedding_size, not {self.embedding_size}"
                yield Problem(message, ("embedding_size", f"{name}.positions"))
        yield from self._problems_of_recurrent_dropout()
        if isinstance(self.decoder, TransformerDecoderConfig):
            yield from self._problems_of_a_transformer()
        else:
            yield from self._problems_of_a_bridge(self.decoder)
            yield from self._problems_of_attention(self.decoder)

    def _problems_of_a_transformer(self) -> Iterator[Problem]:
        if self.attention != AttentionConfig():
            yield Problem(
                "model.attention is only for the recurrent decoder; the transformer decoder always has multi-head "
                "scaled dot attention in every layer: set decoder.heads, and take model.attention out",
                ("attention", "decoder.type"),
            )
        if self.bridge != type(self).model_fields["bridge"].default:
            yield Problem(
                "model.bridge is only for the recurrent decoder; a transformer decoder has no first state, so take it "
                "out",
                ("bridge", "decoder.type"),
            )

    def _problems_of_recurrent_dropout(self) -> Iterator[Problem]:
        parts = (self.encoder, self.decoder)
        if self.dropout.recurrent and not any(isinstance(part, RNNEncoderConfig | RNNDecoderConfig) for part in parts):
            yield Problem(
                "dropout.recurrent is for recurrent encoders and decoders; this model has none, so take it out",
                ("dropout.recurrent", "encoder.type", "decoder.type"),
            )
        if self.dropout.variational and isinstance(self.decoder, TransformerDecoderConfig):
            yield Problem(
                "dropout.variational is for recurrent decoders; take it out, or set decoder.type to rnn",
                ("dropout.variational", "decoder.type"),
            )

    def _problems_of_a_bridge(self, decoder: RNNDecoderConfig) -> Iterator[Problem]:
        encoder, memory, hidden = self.encoder, self.memory_size, decoder.hidden_size
        keys = ("bridge", "encoder.hidden_size", "decoder.hidden_size")
        if self.bridge in ("last", "mean") and memory != hidden:
            yield Problem(
                f"bridge '{self.bridge}' copies a state, so the sizes must be equal: encoder gives {memory}, "
                f"decoder.hidden_size is {hidden}; or use 'learned'",
                keys,
            )
        if self.bridge == "last" and not isinstance(encoder, RNNEncoderConfig):
            yield Problem(
                f"bridge 'last' copies the encoder's last state, and encoder '{encoder.type}' has none; use 'mean' or "
                f"'learned'",
                ("bridge", "encoder.type"),
            )
        elif self.bridge == "last" and encoder.layers != decoder.layers:
            message = "bridge 'last' copies layer by layer, so encoder.layers must equal decoder.layers"
            yield Problem(message, ("bridge", "encoder.layers", "decoder.layers"))
        if self.bridge == "zero" and self.attention.score == "none":
            message = "without attention and with bridge 'zero' the decoder would know nothing of the source"
            yield Problem(message, ("bridge", "attention.score"))

    def _problems_of_attention(self, decoder: RNNDecoderConfig) -> Iterator[Problem]:
        score, memory, hidden = self.attention.score, self.memory_size, decoder.hidden_size
        if isinstance(self.encoder, PerceiverEncoderConfig) and (
            score in ("location", "fc") or self.attention.window != "none"
        ):
            yield Problem(
                "a perceiver's latents have no order, so scores by position (location, fc) and windows mean nothing",
                ("attention", "encoder.type"),
            )
        if score in ("dot", "scaled_dot") and memory != hidden:
            yield Problem(
                f"score '{score}' needs equal sizes: encoder gives {memory}, decoder.hidden_size is {hidden}; or use "
                f"'general'",
                ("attention.score", "encoder.hidden_size", "decoder.hidden_size"),
            )
        weights = isinstance(self.encoder, StackConfig) and not isinstance(self.encoder, LinearEncoderConfig)
        if self.dropout.attention and not weights:
            yield Problem(
                "dropout.attention is for stacks of attention layers that have weights; this model has none, so take "
                "it out",
                ("dropout.attention", "encoder.type"),
            )
