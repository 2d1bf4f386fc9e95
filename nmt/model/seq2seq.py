"""The whole model: encode once, then unroll (training) or step (search)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nmt.data.batching import Batch
from nmt.data.tokenizer import BOS, UNK
from nmt.errors import DataError
from nmt.model.dropout import Dropout
from nmt.model.memory import Memory


class Decoder(Protocol):
    """What every decoder can do; see `RNNDecoder`."""

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
        max_src_length: int | None = None,
        max_tgt_length: int | None = None,
        read_from: str = "attention",
    ):
        """Put the parts together.

        Args:
            src_embedding: of the source pieces.
            encoder: `(embedded, mask) -> Memory`.
            decoder: a module that can `start`, `step` and `unroll`.
            output: features to logits.
            dropout_embedding: on the source embeddings.
            dropout_memory: on the encoder's outputs.
            dropout_output: on the features.
            word_dropout: share of input words replaced by the unknown piece.
            max_src_length: pieces of the longest source that has places; None: any.
            max_tgt_length: the same for the target, its end mark counted.
            read_from: which weights the alignment is read from, for a person.
        """
        super().__init__()
        self.src_embedding, self.encoder, self.decoder, self.output = src_embedding, encoder, decoder, output
        self.embedding_dropout = Dropout(dropout_embedding)
        self.memory_dropout = Dropout(dropout_memory)
        self.output_dropout = Dropout(dropout_output)
        self.word_dropout = word_dropout
        self.max_src_length, self.max_tgt_length = max_src_length, max_tgt_length
        self.read_from = read_from

    def encode(self, src_ids: Tensor, src_mask: Tensor) -> Memory:
        """Encode a batch ``[B, S]``; the mask is True on real tokens.

        Raises:
            DataError: if it is longer than the model has places for.
        """
        _refuse_longer("source", src_ids.shape[1], self.max_src_length)
        embedded = self.embedding_dropout(self.src_embedding(self._drop_words(src_ids)))
        memory: Memory = self.encoder(embedded, src_mask)
        values = self.memory_dropout(memory.values)
        if torch.is_autocast_enabled(values.device.type):  # once, and not in the product of every step
            values = values.to(torch.get_autocast_dtype(values.device.type))
        return memory.with_values(values, self.decoder.keys(values))

    def forward(self, batch: Batch, teacher_forcing: float = 1.0, need_weights: bool = True) -> tuple[Tensor, Tensor]:
        """Features of every target position, for the loss.

        Args:
            batch: sentence pairs.
            teacher_forcing: probability, per token, that the gold token is fed; otherwise the model's own argmax is.
            need_weights: whether the weights are wanted; otherwise they may have width 0, and some models are faster.

        Returns:
            Features ``[B, T, F]`` (see `project`) and attention weights ``[B, T, S]``.
        """
        _refuse_longer("target", batch.tgt_in.shape[1], self.max_tgt_length)
        memory = self.encode(batch.src_ids, batch.src_mask)
        if teacher_forcing >= 1.0:
            features, weights = self.decoder.unroll(self._drop_words(batch.tgt_in), memory, need_weights)
        else:
            features, weights = self._run_partly_free(self._drop_words(batch.tgt_in), memory, teacher_forcing)
        return self.output_dropout(features), memory.on_source(weights) if need_weights else weights

    def project(self, features: Tensor) -> Tensor:
        """Features ``[..., F]`` to logits ``[..., V]``."""
        return self.output(features)  # type: ignore[no-any-return]

    def start(self, memory: Memory) -> Any:
        """The decoder's state before the first token."""
        return self.decoder.start(memory)

    def step(self, tokens: Tensor, state: Any, memory: Memory) -> tuple[Tensor, Tensor, Any]:
        """Read one token per row; see `RNNDecoder.step`.

        Returns:
            Log-probabilities ``[N, V]`` of the next token in nats, attention weights ``[N, S]``, the new state.
        """
        features, weights, state = self.decoder.step(tokens, state, memory)
        by_sentence = weights.unflatten(0, (memory.mask.shape[0], -1))  # type: ignore[no-untyped-call]
        on_source = memory.on_source(by_sentence).flatten(0, 1)
        return self.project(features).float().log_softmax(dim=-1), on_source, state

    def forced(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Log-probabilities ``[B, T]`` of the batch's own targets, in nats, 0 on padding, and weights ``[B, T, S]``."""
        features, weights = self(batch)
        log_probs = self.project(features).float().log_softmax(dim=-1)
        gold = log_probs.gather(-1, batch.tgt_out[..., None]).squeeze(-1)
        return gold.masked_fill(~batch.tgt_mask, 0.0), weights

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


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the mode the model was in is restored."""
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
            f"a {side} sentence has {length} pieces, but this model has places for {limit} (its attention or positions "
            f"are learned for so many); split the sentence, or train with a larger limit"
        )
