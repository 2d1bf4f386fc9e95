"""A model as two graphs of tensors, for other runtimes: one encodes a sentence, the other takes one decoder step."""

from typing import Any

import torch
from torch import Tensor, nn

from nmt.errors import ModelError
from nmt.model.memory import EncoderOutput, Memory
from nmt.model.rnn.decoder import DecoderState, RNNDecoder
from nmt.model.rnn.encoder import RNNEncoder
from nmt.model.seq2seq import Seq2Seq
from nmt.model.transformer.decoder import TransformerDecoder, TransformerState
from nmt.model.transformer.layers import CausalLinearAttention


class EncoderGraph(nn.Module):
    """Computes the memory and the decoder's first state from one source sentence."""

    def __init__(self, model: Seq2Seq):
        """Take a model in evaluation mode."""
        super().__init__()
        self.model = model

    def forward(self, src_ids: Tensor) -> tuple[Tensor, ...]:
        """Encode ``[1, S]`` pieces, without padding.

        Returns:
            The tensors named by `memory_names`, then those named by `state_names`.
        """
        model = self.model
        output = _encode(model, src_ids)
        memory = Memory(**vars(output), keys=model.decoder.keys(output.values))
        origin = () if memory.origin is None else (memory.origin,)
        return (memory.values, memory.keys, *origin, *_tensors(model.start(memory), model.decoder))


def _encode(model: Seq2Seq, src_ids: Tensor) -> EncoderOutput:
    embedded, mask = model.src_embedding(src_ids), torch.ones_like(src_ids, dtype=torch.bool)
    if isinstance(model.encoder, RNNEncoder):
        return model.encoder.unpadded(embedded, mask)
    output: EncoderOutput = model.encoder(embedded, mask, mask.sum(dim=1))
    return output


class StepGraph(nn.Module):
    """One step of the decoder for N hypotheses of one sentence."""

    def __init__(self, model: Seq2Seq):
        """Take a model in evaluation mode."""
        super().__init__()
        self.model = model
        self.memory_size = len(memory_names(model))

    def forward(self, tokens: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Read one piece for each hypothesis.

        Args:
            tokens: ``[N]`` the last pieces, at first BOS.
            tensors: the memory of the sentence, then the state of N rows, in the order in which `EncoderGraph` returns
                them.

        Returns:
            Log-probabilities ``[N, V]`` in nats, the attention's weights ``[N, S]``, and the new state.
        """
        values, keys, *origin = tensors[: self.memory_size]
        everywhere = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        memory = Memory(
            values=values,
            keys=keys,
            mask=everywhere,
            src_mask=everywhere,
            hidden=values[None, :, 0],
            cell=values[None, :, 0],
            origin=origin[0] if origin else None,
        )
        state = _state(tensors[self.memory_size :], self.model.decoder)
        log_probs, weights, state = self.model.step(tokens, state, memory)
        return (log_probs, weights, *_tensors(state, self.model.decoder))


def memory_names(model: Seq2Seq) -> list[str]:
    """Return the names of the memory's tensors, which are ``[1, L, *]``."""
    with torch.no_grad():
        output = _encode(model, torch.zeros(1, 1, dtype=torch.long, device=model.src_embedding.weight.device))
    return ["values", "keys", *([] if output.origin is None else ["origin"])]


def state_names(model: Seq2Seq) -> list[str]:
    """Return the names of the state's tensors, whose rows are hypotheses.

    Raises:
        ModelError: for a decoder whose step depends on more than its state and memory.
    """
    decoder = model.decoder
    if isinstance(decoder, RNNDecoder):
        if decoder.attention.window is not None:
            raise ModelError("a model with model.attention.window cannot be exported: its step counts positions")
        layers = range(len(decoder.layers))
        names = [f"hidden_{layer}" for layer in layers]
        names += [f"cell_{layer}" for layer in layers if isinstance(decoder.layers[0], nn.LSTM)]
        names += ["feed"] if decoder.input_feeding else []
        return names + (["coverage"] if decoder.attention.coverage is not None else [])
    if isinstance(decoder, TransformerDecoder):
        if any(isinstance(layer.self_attention, CausalLinearAttention) for layer in decoder.layers):
            raise ModelError(
                "a Transformer with model.decoder.self_attention linear cannot be exported: its state does not say how "
                "many positions there were"
            )
        return [f"cache_{layer}" for layer in range(len(decoder.layers))]
    raise ModelError(f"a {type(decoder).__name__} cannot be exported")


def _tensors(state: Any, decoder: Any) -> tuple[Tensor, ...]:
    """Return the tensors of a state, in the order of `state_names`."""
    if isinstance(state, TransformerState):
        return state.caches
    feed = (state.feed,) if decoder.input_feeding else ()
    coverage = (state.coverage,) if decoder.attention.coverage is not None else ()
    return (*state.hidden, *state.cell, *feed, *coverage)


def _state(tensors: tuple[Tensor, ...], decoder: Any) -> Any:
    """Return the decoder's state that consists of these tensors, in the order of `state_names`."""
    if isinstance(decoder, TransformerDecoder):
        return TransformerState(tensors, tensors[0].shape[1])  # the length of the cache is the number of positions
    layers = len(decoder.layers)
    hidden, rest = tensors[:layers], list(tensors[layers:])
    cell = tuple(rest.pop(0) for _ in range(layers)) if isinstance(decoder.layers[0], nn.LSTM) else ()
    nothing = hidden[0][:, :0]
    feed = rest.pop(0) if decoder.input_feeding else nothing
    return DecoderState(hidden, cell, feed, rest[0] if rest else nothing[:, None])
