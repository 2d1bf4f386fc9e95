"""Export of a Transformer in the format of CTranslate2."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nmt.config import Config
from nmt.data.tokenizer import BOS, EOS, UNK, SentencePieceTokenizer, Tokenizer
from nmt.errors import ModelError
from nmt.model.attention.multi_head import MultiHead
from nmt.model.seq2seq import Seq2Seq
from nmt.model.transformer.decoder import TransformerDecoder
from nmt.model.transformer.encoder import StackEncoder
from nmt.model.transformer.layers import CausalSelfAttention, PositionedEmbedding, SelfAttention, Sublayer, sinusoids

_POSITIONS = 2048  # the number of positions in the table of sinusoids


def write_ctranslate2(model: nn.Module, tokenizer: Tokenizer, config: Config, folder: Path) -> None:
    """Write the model, its vocabularies and the tokenizer into a folder.

    Args:
        model: a single Transformer with softmax self-attention, in float32, on the CPU.
        tokenizer: the tokenizer that it was trained with.
        config: the configuration of its run, which is not written since the format has no place for it.
        folder: an existing, empty folder.

    Raises:
        ModelError: for another model, or if the package ctranslate2 is missing.
    """
    if not isinstance(model, Seq2Seq) or not isinstance(tokenizer, SentencePieceTokenizer):
        raise ModelError("CTranslate2 can only take one model with a sentencepiece tokenizer")
    encoder: Any = model.encoder
    decoder: Any = model.decoder
    if not _is_transformer(encoder, decoder):
        raise ModelError(
            "CTranslate2 runs Transformers only: model.encoder.type self_attention with projections and feed-forward "
            "blocks, and model.decoder.type transformer with softmax; use --to onnx for this model"
        )
    try:
        from ctranslate2.specs import transformer_spec as specs
    except ImportError:
        raise ModelError("writing for CTranslate2 needs its package: pip install ctranslate2") from None
    first, heads = encoder.layers[0], decoder.layers[0].cross_attention.heads
    options = {
        "pre_norm": decoder.layers[0].self_sublayer.pre,
        "alignment_layer": decoder.alignment_layer,
        "alignment_heads": len(decoder.alignment_heads),
    }
    spec = specs.TransformerSpec(
        specs.TransformerEncoderSpec(
            len(encoder.layers), first.self_attention.multi_head.heads, pre_norm=first.attention_sublayer.pre
        ),
        specs.TransformerDecoderSpec(len(decoder.layers), heads, **options),
    )
    _positioned(spec.encoder, spec.encoder.embeddings[0], model.src_embedding, encoder.positions)
    _positioned(spec.decoder, spec.decoder.embeddings, decoder.embedding, decoder.positions)
    for stack, target in ((encoder, spec.encoder), (decoder, spec.decoder)):
        if isinstance(stack.norm, nn.LayerNorm):
            _norm(target.layer_norm, stack.norm)
    for layer, target in zip(encoder.layers, spec.encoder.layer, strict=True):
        _self_attention(target.self_attention, layer.self_attention.multi_head, layer.attention_sublayer)
        _feed_forward(target.ffn, layer.feed_forward, layer.feed_forward_sublayer)
    for layer, target in zip(decoder.layers, spec.decoder.layer, strict=True):
        _self_attention(target.self_attention, layer.self_attention.multi_head, layer.self_sublayer)
        _norm(target.attention.layer_norm, layer.cross_sublayer.norm)
        _cross_attention(target.attention, layer.cross_attention, decoder.alignment_heads)
        _feed_forward(target.ffn, layer.feed_forward, layer.feed_forward_sublayer)
    _linear(spec.decoder.projection, model.output)
    _vocabularies(spec, tokenizer)
    spec.validate()
    spec.optimize(quantization=None)
    spec.save(str(folder))
    tokenizer.save(folder)


def _vocabularies(spec: Any, tokenizer: SentencePieceTokenizer) -> None:
    for processor, register in (
        (tokenizer.src, spec.register_source_vocabulary),
        (tokenizer.tgt, spec.register_target_vocabulary),
    ):
        register([processor.id_to_piece(piece) for piece in range(processor.get_piece_size())])
    names = {"unk_token": UNK, "bos_token": BOS, "eos_token": EOS, "decoder_start_token": BOS}
    for name, piece in names.items():
        setattr(spec.config, name, tokenizer.tgt.id_to_piece(piece))


def _is_transformer(encoder: Any, decoder: Any) -> bool:
    """Return True if both are those of a Transformer, with softmax attention and feed-forward blocks."""
    if not isinstance(encoder, StackEncoder) or not isinstance(decoder, TransformerDecoder):
        return False
    layers: list[Any] = [*encoder.layers]
    after: list[Any] = [*decoder.layers]
    return all(
        isinstance(layer.self_attention, SelfAttention) and layer.feed_forward is not None for layer in layers
    ) and all(isinstance(layer.self_attention, CausalSelfAttention) for layer in after)


def _positioned(stack: Any, target: Any, embedding: nn.Embedding, positions: PositionedEmbedding) -> None:
    """Fill in the embeddings, which both programs multiply by √E, and the position encodings that are added to them."""
    target.weight = _array(embedding.weight)
    stack.scale_embeddings = True
    table: Tensor
    if positions.position_table is not None:
        table = positions.position_table
    elif positions.kind == "sinusoidal":
        table = sinusoids(0, _POSITIONS, positions.size, torch.device("cpu"))
    else:
        table = torch.zeros(_POSITIONS, positions.size)
    stack.position_encodings.encodings = _array(table)


def _self_attention(target: Any, heads: MultiHead, sublayer: Sublayer) -> None:
    _norm(target.layer_norm, sublayer.norm)
    _linear(target.linear[0], heads.query_layer, heads.key_layer, heads.value_layer)
    _linear(target.linear[1], heads.output_layer)


def _cross_attention(target: Any, heads: MultiHead, aligned: list[int]) -> None:
    """Fill in the attention to the source, whose heads `aligned` come first: CTranslate2 reads alignments from these.

    The order of the heads changes nothing else, because the output layer takes them in the same order.
    """
    order = [*aligned, *(head for head in range(heads.heads) if head not in aligned)]
    rows = np.arange(heads.size).reshape(heads.heads, -1)[order].ravel()
    _linear(target.linear[0], heads.query_layer)
    _linear(target.linear[1], heads.key_layer, heads.value_layer)
    _linear(target.linear[2], heads.output_layer)
    both = np.concatenate([rows, heads.size + rows])  # of keys and values
    for linear, chosen in ((target.linear[0], rows), (target.linear[1], both)):
        linear.weight, linear.bias = linear.weight[chosen], linear.bias[chosen]
    target.linear[2].weight = np.ascontiguousarray(target.linear[2].weight[:, rows])


def _feed_forward(target: Any, layers: nn.Sequential, sublayer: Sublayer) -> None:
    _norm(target.layer_norm, sublayer.norm)
    _linear(target.linear_0, layers[0])
    _linear(target.linear_1, layers[-1])


def _norm(target: Any, norm: nn.LayerNorm) -> None:
    target.gamma, target.beta = _array(norm.weight), _array(norm.bias)


def _linear(target: Any, *layers: nn.Module) -> None:
    """Fill in the weights and biases of one linear layer, or of several, concatenated."""
    target.weight = np.concatenate([_array(layer.weight) for layer in layers])
    if layers[0].bias is not None:
        target.bias = np.concatenate([_array(layer.bias) for layer in layers])


def _array(tensor: Any) -> Any:
    return tensor.detach().float().cpu().numpy()
