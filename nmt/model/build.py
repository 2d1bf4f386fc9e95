"""Building a model from the configuration, of which the networks themselves know nothing."""

from typing import assert_never

import torch
from torch import nn

from nmt.config import (
    AttentionConfig,
    BaseAttentionConfig,
    BuiltinNormaliserConfig,
    Config,
    LinearEncoderConfig,
    ModelConfig,
    NormaliserConfig,
    PerceiverEncoderConfig,
    PositionalEncoderConfig,
    RNNDecoderConfig,
    RNNEncoderConfig,
    SelfAttentionEncoderConfig,
    StackConfig,
)
from nmt.data.tokenizer import PAD
from nmt.model.attention.base import Attention, NoAttention, Normaliser, Score
from nmt.model.attention.coverage import Coverage, LinguisticCoverage, NeuralCoverage
from nmt.model.attention.normaliser import NORMALISERS
from nmt.model.attention.scores import (
    AdditiveScore,
    ConcatScore,
    DotScore,
    FullyConnectedScore,
    GeneralScore,
    KernelScore,
    LocationScore,
    QKVScore,
    ScaledDotScore,
)
from nmt.model.attention.window import Window
from nmt.model.rnn.bridge import Bridge
from nmt.model.rnn.decoder import RNNDecoder
from nmt.model.rnn.encoder import RNNEncoder
from nmt.model.seq2seq import Seq2Seq
from nmt.model.transformer.decoder import TransformerDecoder
from nmt.model.transformer.encoder import PerceiverEncoder, StackEncoder
from nmt.model.transformer.layers import (
    DotProductSelfAttention,
    EncoderLayer,
    LinearSelfAttention,
    PositionalSelfAttention,
    PositionedEmbedding,
    SelfAttention,
)


def build_model(config: Config, src_size: int, tgt_size: int, has_values: bool = True) -> Seq2Seq:
    """Return the model that the configuration describes.

    Args:
        config: the configuration of the run.
        src_size: number of source pieces.
        tgt_size: number of target pieces.
        has_values: whether to initialise the parameters from torch's global generator; if False, their values are
            arbitrary.
    """
    model = config.model
    src_embedding = nn.Embedding(src_size, model.embedding_size, padding_idx=PAD)
    tgt_embedding = (
        src_embedding if model.ties_src_tgt else nn.Embedding(tgt_size, model.embedding_size, padding_idx=PAD)
    )
    at_input = config.guided_step == "input"
    decoder = _build_decoder(model, tgt_embedding, at_input)
    output = nn.Linear(decoder.feature_size, tgt_size)
    seq2seq = Seq2Seq(
        src_embedding=src_embedding,
        encoder=_build_encoder(model),
        decoder=decoder,
        output=output,
        # An encoder with positions applies its own dropout to the sum of embeddings and positions.
        dropout_embedding=0.0 if isinstance(model.encoder, StackConfig) else model.dropout.embedding,
        dropout_memory=model.dropout.memory,
        dropout_output=model.dropout.output,
        word_dropout=model.dropout.word,
        switchout=model.dropout.switchout,
        variational=model.dropout.variational,
        max_src_length=model.max_src_length,
        max_tgt_length=model.max_tgt_length,
        read_from=model.read_from(at_input),
    )
    if has_values:
        _initialise(seq2seq)
    if model.ties_output:
        output.weight = tgt_embedding.weight
    return seq2seq


def _build_encoder(model: ModelConfig) -> nn.Module:
    settings = model.encoder
    if isinstance(settings, RNNEncoderConfig):
        return RNNEncoder(
            cell=settings.cell,
            input_size=model.embedding_size,
            hidden_size=settings.hidden_size,
            layers=settings.layers,
            bidirectional=settings.bidirectional,
            dropout=model.dropout.layers,
            dropout_recurrent=model.dropout.recurrent,
            residual=settings.residual,
        )
    size, dropout = model.embedding_size, model.dropout.layers
    if not isinstance(settings, StackConfig):  # an encoder of an installed package
        guest: nn.Module = settings.build(size, dropout)
        return guest
    positions = _build_positions(model, settings)
    layers = [
        EncoderLayer(_build_self_attention(model, settings), size, settings.feed_forward, settings.norm, dropout)
        for _ in range(settings.layers)
    ]
    if isinstance(settings, PerceiverEncoderConfig):
        return PerceiverEncoder(
            positions,
            layers,
            size,
            settings.norm,
            latents=settings.latents,
            heads=settings.heads,
            dropout=dropout,
            dropout_attention=model.dropout.attention,
        )
    return StackEncoder(positions, layers, size, settings.norm)


def _build_self_attention(model: ModelConfig, settings: StackConfig) -> nn.Module:
    size, heads = model.embedding_size, settings.heads
    match settings:
        case SelfAttentionEncoderConfig(projections="none"):
            return DotProductSelfAttention(model.dropout.attention)
        case SelfAttentionEncoderConfig() | PerceiverEncoderConfig():
            return SelfAttention(size, heads, model.dropout.attention)
        case PositionalEncoderConfig():
            rank = settings.rank if settings.form == "factorised" else None
            return PositionalSelfAttention(size, heads, settings.max_positions, rank, model.dropout.attention)
        case LinearEncoderConfig():
            return LinearSelfAttention(size, heads)
        case _:
            raise TypeError(f"there is no self-attention for {type(settings).__name__}")


def _build_positions(model: ModelConfig, settings: StackConfig) -> PositionedEmbedding:
    return PositionedEmbedding(
        model.embedding_size,
        settings.positions,
        settings.max_positions,
        model.dropout.embedding,
        model.dropout.variational,
    )


def _build_decoder(model: ModelConfig, embedding: nn.Embedding, at_input: bool) -> RNNDecoder | TransformerDecoder:
    settings = model.decoder
    if isinstance(settings, RNNDecoderConfig):
        return _build_rnn_decoder(model, settings, embedding)
    alignment_layer, alignment_heads = settings.alignment_source(at_input)
    return TransformerDecoder(
        embedding=embedding,
        positions=_build_positions(model, settings),
        size=model.embedding_size,
        memory_size=model.memory_size,
        layers=settings.layers,
        heads=settings.heads,
        hidden_size=settings.feed_forward,
        self_attention=settings.self_attention,
        norm=settings.norm,
        dropout=model.dropout.layers,
        dropout_attention=model.dropout.attention,
        alignment_layer=alignment_layer - 1,
        alignment_heads=[head - 1 for head in alignment_heads],
    )


def _build_rnn_decoder(model: ModelConfig, settings: RNNDecoderConfig, embedding: nn.Embedding) -> RNNDecoder:
    # A tied output layer multiplies by the embedding matrix, so h~ must have the embeddings' width.
    feature_size = model.embedding_size if model.ties_output else settings.hidden_size
    return RNNDecoder(
        embedding=embedding,
        cell=settings.cell,
        hidden_size=settings.hidden_size,
        layers=settings.layers,
        wiring=settings.wiring,
        input_feeding=settings.input_feeding,
        attention=build_attention(model.attention, settings.hidden_size, model.memory_size, model.embedding_size),
        bridge=Bridge(
            model.bridge,
            model.memory_size,
            settings.hidden_size,
            settings.layers,
            2 if settings.cell == "lstm" else 1,
        ),
        feature_size=feature_size,
        dropout_embedding=model.dropout.embedding,
        dropout_layers=model.dropout.layers,
        dropout_recurrent=model.dropout.recurrent,
        variational=model.dropout.variational,
        residual=settings.residual,
    )


def build_attention(settings: BaseAttentionConfig, query_size: int, memory_size: int, word_size: int) -> Attention:
    """Return the attention that the configuration describes.

    Args:
        settings: score, normaliser, window and coverage.
        query_size: H, width of the decoder's state.
        memory_size: M, width of the encoder's outputs.
        word_size: E, width of the embeddings.
    """
    if settings.score == "none":
        return NoAttention()
    window = None if settings.window == "none" else Window(settings.window, settings.window_size, query_size)
    if isinstance(settings, AttentionConfig):
        score = _build_score(settings, query_size, memory_size, word_size)
    else:
        score = settings.build(query_size, memory_size, word_size)
    coverage = _build_coverage(settings, score.key_size, query_size, memory_size)
    return Attention(score, _build_normaliser(settings.normaliser), window, coverage)


def _build_score(settings: AttentionConfig, query_size: int, memory_size: int, word_size: int) -> Score:
    size = settings.size
    match settings.score:
        case "additive":
            return AdditiveScore(query_size, memory_size, size, settings.normed)
        case "concat":
            return ConcatScore(query_size, memory_size, size, settings.normed)
        case "dot":
            return DotScore(memory_size)
        case "scaled_dot":
            return ScaledDotScore(memory_size)
        case "general":
            return GeneralScore(query_size, memory_size)
        case "qkv":
            return QKVScore(query_size, memory_size, size, settings.heads)
        case "location":
            return LocationScore(query_size, memory_size, settings.max_src_length)
        case "fc":
            return FullyConnectedScore(query_size, word_size, memory_size, settings.max_src_length)
        case "kernel":
            width, learned_width = settings.width, settings.learned_width
            return KernelScore(query_size, memory_size, size, settings.kernel, width, learned_width)
        case "none":
            raise ValueError("the score 'none' has no energies")
        case _:
            assert_never(settings.score)


def _build_normaliser(settings: NormaliserConfig) -> Normaliser:
    if isinstance(settings, BuiltinNormaliserConfig):
        return NORMALISERS[settings.type]
    normalise: Normaliser = settings.build()
    return normalise


def _build_coverage(settings: BaseAttentionConfig, key_size: int, query_size: int, memory_size: int) -> Coverage | None:
    match settings.coverage:
        case "none":
            return None
        case "linguistic":
            return LinguisticCoverage(key_size, memory_size)
        case "neural":
            return NeuralCoverage(settings.coverage_size, key_size, memory_size, query_size)
        case _:
            assert_never(settings.coverage)


def _initialise(model: nn.Module) -> None:
    """Initialise the parameters: tables small and normal, recurrent matrices orthogonal, other matrices by Xavier.

    Biases are 0, except for the LSTM's forget gates, whose bias is 1. Any other vector (the gain of a norm, the width
    of a kernel) keeps the value that its module has given it.
    """
    for name, parameter in model.named_parameters():
        if "embedding" in name or "position_" in name:
            nn.init.normal_(parameter, std=0.1)
        elif name.endswith("original0"):
            continue  # the norm of a weight-normalised vector, which is set below
        elif "weight_hh" in name:
            for block in parameter.chunk(parameter.shape[0] // parameter.shape[1]):
                nn.init.orthogonal_(block)
        elif parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        elif "bias" in name:
            nn.init.zeros_(parameter)
    for module in model.modules():
        if isinstance(module, nn.Linear) and nn.utils.parametrize.is_parametrized(module):
            with torch.no_grad():  # a weight-normalised vector starts as it would without normalisation
                module.parametrizations.weight.original0.copy_(module.parametrizations.weight.original1.norm())  # type: ignore[union-attr, operator]
        if isinstance(module, nn.Embedding):
            with torch.no_grad():
                module.weight[PAD].zero_()
        if isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                if "bias_ih" in name:
                    with torch.no_grad():
                        parameter.chunk(4)[1].fill_(1.0)
