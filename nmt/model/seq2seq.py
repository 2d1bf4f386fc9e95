"""The complete model: it encodes the source once, then unrolls the decoder (training) or takes steps (search)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nmt.data.batching import Batch
from nmt.data.tokenizer import BOS, EOS, UNK
from nmt.errors import DataError, ModelError
from nmt.model.dropout import Dropout
from nmt.model.memory import EncoderOutput, Memory
from nmt.model.rnn.decoder import RNNDecoder

TOKENS_AT_ONCE = 1024  # tokens whose log-probabilities over the entire vocabulary are in memory at once


class Decoder(Protocol):
    """The interface of every decoder; see `RNNDecoder`."""

    def keys(self, values: Tensor) -> Tensor: ...
    def start(self, memory: Memory) -> Any: ...
    def step(self, tokens: Tensor, state: Any, memory: Memory) -> tuple[Tensor, Tensor, Any]: ...
    def unroll(self, tgt_in: Tensor, memory: Memory, need_weights: bool = True) -> tuple[Tensor, Tensor]: ...


class Seq2Seq(nn.Module):
    """Source embedding, encoder, attention decoder and output layer."""

    def __init__(
        self,
        *,
        src_embedding: nn.Embedding,
        encoder: nn.Module,
        decoder: Decoder,
        output: nn.Linear,
        dropout_embedding: float,
        dropout_memory: float,
        dropout_output: float,
        word_dropout: float,
        switchout: float = 0.0,
        variational: bool = False,
        max_src_length: int | None = None,
        max_tgt_length: int | None = None,
        read_from: str = "attention",
    ):
        """Put the parts together.

        Args:
            src_embedding: the embedding of the source pieces.
            encoder: ``(embedded [B, S, E], mask [B, S], lengths [B]) -> EncoderOutput``.
            decoder: a module that can `start`, `step` and `unroll`.
            output: the layer from features to logits.
            dropout_embedding: dropout on the source embeddings.
            dropout_memory: dropout on the encoder's outputs.
            dropout_output: dropout on the features.
            word_dropout: the share of input pieces replaced by the unknown piece.
            switchout: the temperature of `switch_words`; 0 switches no words.
            variational: whether dropout drops the same values at every position of a sentence.
            max_src_length: the longest source, in pieces, that the model has positions for; None: any.
            max_tgt_length: the same for the target, including its end mark.
            read_from: a description of the weights that the alignment is read from.
        """
        super().__init__()
        self.src_embedding, self.encoder, self.decoder, self.output = src_embedding, encoder, decoder, output
        self.embedding_dropout = Dropout(dropout_embedding, variational)
        self.memory_dropout = Dropout(dropout_memory, variational)
        self.output_dropout = Dropout(dropout_output, variational)
        self.word_dropout, self.switchout = word_dropout, switchout
        self.src_size, self.tgt_size = src_embedding.num_embeddings, output.out_features
        self.max_src_length, self.max_tgt_length = max_src_length, max_tgt_length
        self.read_from = read_from

    def encode(self, batch: Batch) -> Memory:
        """Encode the sources of a batch.

        Raises:
            DataError: if one is longer than the model has positions for.
        """
        _refuse_longer("source", batch.src_ids.shape[1], self.max_src_length)
        embedded = self.embedding_dropout(self.src_embedding(self._corrupt(batch.src_ids, self.src_size)))  # [B, S, E]
        output: EncoderOutput = self.encoder(embedded, batch.src_mask, batch.src_lengths)
        values = self.memory_dropout(output.values)  # [B, L, M]
        if torch.is_autocast_enabled(values.device.type):  # cast once rather than in the product of every step
            values = values.to(torch.get_autocast_dtype(values.device.type))
        return Memory(**{**vars(output), "values": values}, keys=self.decoder.keys(values))

    def forward(self, batch: Batch, teacher_forcing: float = 1.0, need_weights: bool = True) -> tuple[Tensor, Tensor]:
        """Return the features of every target position, for the loss.

        Args:
            batch: sentence pairs.
            teacher_forcing: probability, per token, of feeding the gold token instead of the model's own argmax.
            need_weights: False if the weights may have width 0, which makes some models faster.

        Returns:
            Features ``[B, T, F]`` (see `project`) and attention weights ``[B, T, S]``.
        """
        _refuse_longer("target", batch.tgt_in.shape[1], self.max_tgt_length)
        memory = self.encode(batch)
        tgt_in = self._corrupt(batch.tgt_in, self.tgt_size)
        if teacher_forcing >= 1.0:
            features, weights = self.decoder.unroll(tgt_in, memory, need_weights)
        else:
            features, weights = self._run_partly_free(tgt_in, memory, teacher_forcing)
        return self.output_dropout(features), memory.on_source(weights) if need_weights else weights

    def project(self, features: Tensor) -> Tensor:
        """Return the logits ``[..., V]`` of features ``[..., F]``."""
        return self.output(features)  # type: ignore[no-any-return]

    def start(self, memory: Memory) -> Any:
        """Return the decoder's state before the first token."""
        return self.decoder.start(memory)

    def step(self, tokens: Tensor, state: Any, memory: Memory) -> tuple[Tensor, Tensor, Any]:
        """Read one token per row; see `RNNDecoder.step`.

        Returns:
            Log-probabilities ``[N, V]`` of the next token in nats, attention weights ``[N, S]``, the new state.
        """
        features, weights, state = self.decoder.step(tokens, state, memory)
        if weights.shape[1]:  # without attention there are none, and an exported graph could not reshape them
            by_sentence = weights.unflatten(0, (memory.mask.shape[0], -1))  # type: ignore[no-untyped-call]
            weights = memory.on_source(by_sentence).flatten(0, 1)
        return self.project(features).float().log_softmax(dim=-1), weights, state

    def forced(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the targets' log-probabilities ``[B, T]`` in nats, 0 on padding, and the weights ``[B, T, S]``."""
        features, weights = self(batch)
        log_probs = features.new_zeros(batch.tgt_mask.shape, dtype=torch.float32)  # [B, T]
        real = batch.tgt_positions
        log_probs.view(-1)[real] = self._log_probs(features.flatten(0, 1)[real], batch.tgt_out.flatten()[real])
        return log_probs, weights

    def posterior(self, batch: Batch, hidden: Tensor | None = None) -> Tensor:
        """Return the posterior weights ``[B, T, S]``, which take the target token of each step into account.

        The attention's weight of a position is its probability before the token is known. Bayes' rule gives its
        probability afterwards: the weight is multiplied by the probability that the token has if the decoder attends
        to this position alone, and the row is normalised (posterior attention; Shankar and Sarawagi 2019, Posterior
        attention models for sequence to sequence learning, equation 4). The decoder's states are those of `forced`.

        Args:
            batch: sentence pairs.
            hidden: ``[B, S]`` bool, True on source tokens that the attention may not look at; None to hide none.

        Raises:
            ModelError: if the decoder is not a recurrent one with attention.
        """
        if not isinstance(self.decoder, RNNDecoder) or not self.decoder.attention.context_size:
            raise ModelError("posterior weights need a recurrent decoder with attention")
        memory = self.encode(batch)
        if hidden is not None:
            memory = memory.without(hidden)
        state = self.decoder.start(memory)
        contexts = self.decoder.attention.contexts_of_each(memory)  # [B, L, M]
        length = contexts.shape[1]
        rows = []
        for read, gold in zip(batch.tgt_in.unbind(1), batch.tgt_out.unbind(1), strict=True):  # [B] each
            at_each = self.decoder.step_at_each(read, state, memory, contexts).flatten(0, 1)  # [B x L, F]
            likelihoods = self._log_probs(at_each, gold.repeat_interleave(length)).view(-1, length)  # [B, L]
            _, weights, state = self.decoder.step(read, state, memory)
            rows.append((weights.log() + likelihoods).softmax(dim=-1))  # [B, L]
        return memory.on_source(torch.stack(rows, dim=1))  # [B, T, S]

    def _log_probs(self, features: Tensor, tokens: Tensor) -> Tensor:
        """Return the log-probabilities ``[N]`` in nats of tokens ``[N]``, one for each row of features ``[N, F]``."""
        parts = [
            self.project(rows).float().log_softmax(dim=-1).gather(-1, chosen[:, None]).squeeze(-1)
            for rows, chosen in zip(features.split(TOKENS_AT_ONCE), tokens.split(TOKENS_AT_ONCE), strict=True)  # type: ignore[no-untyped-call]
        ]
        return torch.cat(parts)

    def _run_partly_free(self, tgt_in: Tensor, memory: Memory, ratio: float) -> tuple[Tensor, Tensor]:
        """Unroll with scheduled sampling (Bengio et al. 2015); return features and weights as `Decoder.unroll` does.

        Each step reads the gold token with probability `ratio`, and the model's own last argmax otherwise.
        """
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

    def _corrupt(self, ids: Tensor, size: int) -> Tensor:
        """Return `ids`, with words replaced by SwitchOut and word dropout in training; V is `size`."""
        if not self.training:
            return ids
        if self.switchout:
            ids = switch_words(ids, size, self.switchout)
        if self.word_dropout:
            dropped = (torch.rand(ids.shape, device=ids.device) < self.word_dropout) & _is_word(ids)
            ids = ids.masked_fill(dropped, UNK)
        return ids


def switch_words(ids: Tensor, size: int, temperature: float) -> Tensor:
    """Replace random words by pieces drawn uniformly from the vocabulary: SwitchOut (Wang et al. 2018, algorithm 1).

    Args:
        ids: ``[B, L]`` pieces; BOS, EOS, the unknown piece and padding are never replaced.
        size: V, the number of pieces.
        temperature: determines how many words of a sentence are replaced. For a sentence of n words, k is drawn from 0
            to n with a probability in proportion to exp(-k / temperature). Each word is then replaced with probability
            k / n, so that k words are replaced on average.
    """
    is_word = _is_word(ids)
    lengths = is_word.sum(dim=1)  # [B]
    counts = torch.arange(ids.shape[1] + 1, device=ids.device)  # 0 to L
    energies = (-counts / temperature).expand(len(ids), -1).masked_fill(counts > lengths[:, None], -torch.inf)
    below = energies.softmax(dim=1).cumsum(dim=1) < torch.rand(len(ids), 1, device=ids.device)
    chosen = torch.minimum(below.sum(dim=1), lengths)[:, None]  # [B, 1] how many words are replaced
    share = chosen / lengths.clamp(min=1)[:, None]
    switched = (torch.rand(ids.shape, device=ids.device) < share) & is_word
    return torch.where(switched, torch.randint(EOS + 1, size, ids.shape, device=ids.device), ids)


def _is_word(ids: Tensor) -> Tensor:
    """Return a mask of `ids` that is True on pieces that are neither special nor unknown."""
    return (ids > UNK) & (ids != BOS) & (ids != EOS)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set evaluation mode without gradients, and restore the mode at the end."""
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(was_training)


def _refuse_longer(side: str, length: int, limit: int | None) -> None:
    if limit is not None and length > limit:
        raise DataError(
            f"a {side} sentence has {length} pieces, but this model has positions for {limit} (its attention or its "
            f"positions were learned for this many); split the sentence, or train with a larger limit"
        )
