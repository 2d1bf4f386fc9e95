"""The Transformer's decoder (Vaswani et al. 2017); like the recurrent decoder, it has both `step` and `unroll`."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nmt.model.attention.multi_head import MultiHead
from nmt.model.memory import Memory
from nmt.model.transformer.layers import (
    CausalLinearAttention,
    CausalSelfAttention,
    PositionedEmbedding,
    Sublayer,
    feed_forward,
)


@dataclass(frozen=True)
class TransformerState:
    """What a step needs from the steps before it.

    Attributes:
        caches: the cache of each layer's self-attention, with N rows: the keys and values so far, or fast weights.
        position: the number of tokens read so far.
    """

    caches: tuple[Tensor, ...]
    position: int = 0

    def select(self, rows: Tensor) -> "TransformerState":
        """Return the state with its rows reordered, repeated or left out; row i is the old row ``rows[i]``."""
        return TransformerState(tuple(cache[rows] for cache in self.caches), self.position)


class TransformerDecoderLayer(nn.Module):
    """Masked self-attention, attention to the memory, and a feed-forward block, each with a residual connection."""

    def __init__(
        self,
        size: int,
        memory_size: int,
        heads: int,
        hidden_size: int,
        self_attention: Literal["softmax", "linear"],
        norm: Literal["pre", "post"],
        dropout: float,
        dropout_attention: float,
    ):
        """Make the blocks. The arguments are those of `TransformerDecoder`."""
        super().__init__()
        self.self_attention = (
            CausalLinearAttention(size, heads)
            if self_attention == "linear"
            else CausalSelfAttention(size, heads, dropout_attention)
        )
        self.cross_attention = MultiHead(size, memory_size, size, size, heads, dropout_attention)
        self.feed_forward = feed_forward(size, hidden_size, dropout)
        self.self_sublayer = Sublayer(size, norm, dropout)
        self.cross_sublayer = Sublayer(size, norm, dropout)
        self.feed_forward_sublayer = Sublayer(size, norm, dropout)

    def forward(
        self, x: Tensor, cache: Tensor | None, memory: Memory, memory_keys: Tensor, need_weights: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Run the layer over entire targets, or over the next position of N rows (T = 1).

        Args:
            x: the input ``[N, T, E]``.
            cache: for a step, what self-attention needs of earlier positions; None for entire targets.
            memory: the memory of B sentences; N is K x B, and the K rows of a sentence are adjacent.
            memory_keys: this layer's keys and values of the memory, ``[B, L, 2E]``.
            need_weights: True if the weights over the memory are needed.

        Returns:
            The output ``[N, T, E]``, the new cache (None for entire targets), and the weights over the memory
            ``[N, h, T, L]`` (None if they are not needed).
        """
        kept: list[Tensor] = []
        weights: list[Tensor | None] = []

        def look_back(asking: Tensor) -> Tensor:
            if cache is None:
                return self.self_attention.whole(asking)
            result, after = self.self_attention.step(asking, cache)
            kept.append(after)
            return result

        def look_at_memory(asking: Tensor) -> Tensor:
            batch = memory.mask.shape[0]
            # The K rows of a sentence become the queries of one row: [B, K x T, E].
            together = asking.reshape(batch, -1, asking.shape[-1])
            result, looked = self.cross_attention(  # looked: [B, h, K x T, L]
                together, memory_keys, memory.mask[:, None, None, :], need_weights=need_weights
            )
            if looked is not None:
                heads, positions = looked.shape[1], looked.shape[-1]
                by_row = looked.view(batch, heads, -1, asking.shape[1], positions).transpose(1, 2)
                looked = by_row.flatten(0, 1)  # [N, h, T, L]
            weights.append(looked)
            return result.reshape(asking.shape)  # type: ignore[no-any-return]

        x = self.self_sublayer(x, look_back)
        x = self.cross_sublayer(x, look_at_memory)
        x = self.feed_forward_sublayer(x, self.feed_forward)
        return x, kept[0] if kept else None, weights[0]


class TransformerDecoder(nn.Module):
    """Position embeddings and a stack of layers; the alignment is read from some heads of one layer."""

    def __init__(
        self,
        *,
        embedding: nn.Embedding,
        positions: PositionedEmbedding,
        size: int,
        memory_size: int,
        layers: int,
        heads: int,
        hidden_size: int,
        self_attention: Literal["softmax", "linear"],
        norm: Literal["pre", "post"],
        dropout: float,
        dropout_attention: float,
        alignment_layer: int,
        alignment_heads: list[int],
    ):
        """Make the layers.

        Args:
            embedding: the embedding of the target pieces, of width E.
            positions: the module that adds the positions to the embeddings.
            size: E.
            memory_size: M.
            layers: the number of layers.
            heads: the number of heads of every attention.
            hidden_size: the width of the feed-forward blocks.
            self_attention: the kind of attention among the target positions.
            norm: `pre` normalises before each block and once after the last layer, `post` after each block.
            dropout: the dropout on what each block adds.
            dropout_attention: the dropout on attention weights.
            alignment_layer: the layer whose weights `step` and `unroll` return, counted from 0.
            alignment_heads: the heads of that layer whose mean is returned, counted from 0.
        """
        super().__init__()
        self.embedding, self.positions, self.feature_size = embedding, positions, size
        self.layers = nn.ModuleList(
            TransformerDecoderLayer(
                size, memory_size, heads, hidden_size, self_attention, norm, dropout, dropout_attention
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size) if norm == "pre" else nn.Identity()
        self.alignment_layer, self.alignment_heads = alignment_layer, alignment_heads

    def keys(self, values: Tensor) -> Tensor:
        """Return the keys and values of the memory for all layers, concatenated to ``[B, L, layers x 2E]``."""
        return torch.cat([layer.cross_attention.keys(values) for layer in self._layers()], dim=-1)

    def start(self, memory: Memory) -> TransformerState:
        """Return the state before the first step, one row per sentence."""
        rows = memory.values.shape[0]
        return TransformerState(tuple(layer.self_attention.start(rows, memory.values) for layer in self._layers()))

    def step(self, tokens: Tensor, state: TransformerState, memory: Memory) -> tuple[Tensor, Tensor, TransformerState]:
        """Read one token; see `RNNDecoder.step`."""
        x = self.positions(self.embedding(tokens)[:, None], state.position)  # [N, 1, E]
        x, caches, weights = self._run(x, list(state.caches), memory, need_weights=True)
        return self.norm(x)[:, 0], weights[:, 0], TransformerState(tuple(caches), state.position + 1)

    def unroll(self, tgt_in: Tensor, memory: Memory, need_weights: bool = True) -> tuple[Tensor, Tensor]:
        """Read entire targets ``[B, T]``, all positions at once; see `RNNDecoder.unroll`.

        Without `need_weights`, the returned weights have width 0, so every attention may use torch's fused kernel.
        """
        x = self.positions(self.embedding(tgt_in))  # [B, T, E]
        x, _, weights = self._run(x, None, memory, need_weights)
        return self.norm(x), weights

    def _layers(self) -> list[TransformerDecoderLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def _run(
        self, x: Tensor, caches: list[Tensor] | None, memory: Memory, need_weights: bool
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """Run all layers over ``[N, T, E]``; return the output, the caches after a step, and weights ``[N, T, L]``."""
        alignment = x.new_zeros(*x.shape[:2], 0)  # [N, T, 0]
        after: list[Tensor] = []
        memory_keys = memory.keys.chunk(len(self.layers), dim=-1)
        for index, layer in enumerate(self._layers()):
            wanted = need_weights and index == self.alignment_layer
            cache = None if caches is None else caches[index]
            x, kept, weights = layer(x, cache, memory, memory_keys[index], wanted)
            if kept is not None:
                after.append(kept)
            if weights is not None:
                # An index of several heads would be copied to a GPU, which would have to be waited for.
                heads = [weights[:, head] for head in self.alignment_heads]
                alignment = torch.stack(heads).mean(dim=0)  # [N, T, L]
        return x, after, alignment
