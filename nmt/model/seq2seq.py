"""The whole model: encode once, then unroll (training) or step (search)."""

import torch
from torch import Tensor, nn

from nmt.config import Config, ModelConfig
from nmt.data.batching import Batch
from nmt.data.tokenizer import BOS, PAD, UNK
from nmt.model.attention import Memory, build_attention
from nmt.model.decoder import Bridge, DecoderState, RNNDecoder
from nmt.model.encoder import RNNEncoder


class Seq2Seq(nn.Module):
    """Source embedding, encoder, attention decoder and output layer."""

    def __init__(
        self,
        *,
        src_embedding: nn.Embedding,
        encoder: RNNEncoder,
        decoder: RNNDecoder,
        output: nn.Linear,
        dropout_embedding: float,
        dropout_memory: float,
        dropout_output: float,
        word_dropout: float,
    ):
        """Put the parts together; dropout is on source embeddings, encoder outputs, h~, and whole input words."""
        super().__init__()
        self.src_embedding, self.encoder, self.decoder, self.output = src_embedding, encoder, decoder, output
        self.embedding_dropout = nn.Dropout(dropout_embedding)
        self.memory_dropout = nn.Dropout(dropout_memory)
        self.output_dropout = nn.Dropout(dropout_output)
        self.word_dropout = word_dropout

    def encode(self, src_ids: Tensor, src_mask: Tensor) -> Memory:
        """Encode a batch ``[B, S]``; the mask is True on real tokens."""
        embedded = self.embedding_dropout(self.src_embedding(self._drop_words(src_ids)))
        values, hidden, cell = self.encoder(embedded, src_mask)
        values = self.memory_dropout(values)
        return Memory(values, src_mask, self.decoder.attention.keys(values), hidden, cell)

    def forward(self, batch: Batch, teacher_forcing: float = 1.0) -> tuple[Tensor, Tensor]:
        """Features of every target position, for the loss.

        Args:
            batch: sentence pairs.
            teacher_forcing: probability, per token, that the gold token is fed; otherwise the model's own argmax is.

        Returns:
            Features ``[B, T, F]`` (see `project`) and attention weights ``[B, T, S]``.
        """
        memory = self.encode(batch.src_ids, batch.src_mask)
        if teacher_forcing >= 1.0:
            features, weights = self.decoder.unroll(self._drop_words(batch.tgt_in), memory)
        else:
            features, weights = self._run_partly_free(self._drop_words(batch.tgt_in), memory, teacher_forcing)
        return self.output_dropout(features), weights

    def project(self, features: Tensor) -> Tensor:
        """Features ``[..., F]`` to logits ``[..., V]``."""
        return self.output(features)  # type: ignore[no-any-return]

    def start(self, memory: Memory) -> DecoderState:
        """The decoder's state before the first token."""
        return self.decoder.start(memory)

    def step(self, tokens: Tensor, state: DecoderState, memory: Memory) -> tuple[Tensor, Tensor, DecoderState]:
        """Read one token per row; see `RNNDecoder.step`.

        Returns:
            Log-probabilities ``[N, V]`` of the next token in nats, attention weights ``[N, S]``, the new state.
        """
        features, weights, state = self.decoder.step(tokens, state, memory)
        return self.project(features).float().log_softmax(dim=-1), weights, state

    def _run_partly_free(self, tgt_in: Tensor, memory: Memory, ratio: float) -> tuple[Tensor, Tensor]:
        """Scheduled sampling (Bengio et al. 2015): a step reads gold with probability `ratio`, else the last argmax."""
        state = self.decoder.start(memory)
        read_gold = torch.rand(tgt_in.shape, device=tgt_in.device) < ratio
        tokens = tgt_in[:, 0]
        features: list[Tensor] = []
        weights: list[Tensor] = []
        for t in range(tgt_in.shape[1]):
            if t > 0:
                with torch.no_grad():
                    own = self.project(features[-1]).argmax(dim=-1)
                tokens = torch.where(read_gold[:, t], tgt_in[:, t], own)
            feature, weight, state = self.decoder.step(tokens, state, memory)
            features.append(feature)
            weights.append(weight)
        return torch.stack(features, dim=1), torch.stack(weights, dim=1)

    def _drop_words(self, ids: Tensor) -> Tensor:
        """In training, each real word is replaced by the unknown piece with probability `word_dropout`."""
        if not self.training or self.word_dropout == 0.0:
            return ids
        dropped = (torch.rand(ids.shape, device=ids.device) < self.word_dropout) & (ids > UNK) & (ids != BOS)
        return ids.masked_fill(dropped, UNK)


def build_model(config: Config, src_size: int, tgt_size: int) -> Seq2Seq:
    """The model that the configuration describes, freshly initialised from torch's global generator.

    Args:
        config: the run's configuration.
        src_size: number of source pieces.
        tgt_size: number of target pieces.
    """
    model = config.model
    src_embedding = nn.Embedding(src_size, model.embedding_size, padding_idx=PAD)
    tgt_embedding = (
        src_embedding if model.ties_src_tgt else nn.Embedding(tgt_size, model.embedding_size, padding_idx=PAD)
    )
    decoder = _build_decoder(model, tgt_embedding)
    output = nn.Linear(decoder.feature_size, tgt_size)
    seq2seq = Seq2Seq(
        src_embedding=src_embedding,
        encoder=RNNEncoder(
            cell=model.encoder.cell,
            input_size=model.embedding_size,
            hidden_size=model.encoder.hidden_size,
            layers=model.encoder.layers,
            bidirectional=model.encoder.bidirectional,
            dropout=model.dropout.layers,
        ),
        decoder=decoder,
        output=output,
        dropout_embedding=model.dropout.embedding,
        dropout_memory=model.dropout.memory,
        dropout_output=model.dropout.output,
        word_dropout=model.dropout.word,
    )
    _initialise(seq2seq)
    if model.ties_output:
        output.weight = tgt_embedding.weight
    return seq2seq


def _build_decoder(model: ModelConfig, embedding: nn.Embedding) -> RNNDecoder:
    settings, memory_size = model.decoder, model.encoder.output_size
    # A tied output layer multiplies by the embedding matrix, so h~ must have the embeddings' width.
    feature_size = model.embedding_size if model.ties_output else settings.hidden_size
    return RNNDecoder(
        embedding=embedding,
        cell=settings.cell,
        hidden_size=settings.hidden_size,
        layers=settings.layers,
        wiring=settings.wiring,
        input_feeding=settings.input_feeding,
        attention=build_attention(model.attention.score, settings.hidden_size, memory_size, model.attention.size),
        bridge=Bridge(
            model.bridge, memory_size, settings.hidden_size, settings.layers, 2 if settings.cell == "lstm" else 1
        ),
        feature_size=feature_size,
        dropout_embedding=model.dropout.embedding,
        dropout_layers=model.dropout.layers,
    )


def _initialise(model: nn.Module) -> None:
    """Xavier matrices, orthogonal recurrent ones, small normal embeddings, zero biases, LSTM forget gates at 1."""
    for name, parameter in model.named_parameters():
        if "embedding" in name:
            nn.init.normal_(parameter, std=0.1)
            with torch.no_grad():
                parameter[PAD].zero_()
        elif "weight_hh" in name:
            for block in parameter.chunk(parameter.shape[0] // parameter.shape[1]):
                nn.init.orthogonal_(block)
        elif parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        else:
            nn.init.zeros_(parameter)
    for module in model.modules():
        if isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                if "bias_ih" in name:
                    with torch.no_grad():
                        parameter.chunk(4)[1].fill_(1.0)
