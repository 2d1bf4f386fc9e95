"""The Transformer's decoder (Vaswani et al. 2017), with the recurrent one's two faces: `step` and `unroll`."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from nmt.model.memory import Memory
from nmt.model.multi_head import MultiHead
from nmt.model.stack import PositionedEmbedding, Sublayer, feed_forward


@dataclass(frozen=True)
class TransformerState:
    """What one step needs from those before it: the keys and values of all earlier positions.

    Attributes:
        cache: ``[layers, N, t, 2E]`` keys and values of the t positions read so far.
    """

    cache: Tensor

    def select(self, rows: Tensor) -> "TransformerState":
        """The state with its rows reordered, repeated or left out: row i is what row ``rows[i]`` was."""
        return TransformerState(self.cache[:, rows])


class TransformerDecoderLayer(nn.Module):
    """Masked self-attention, attention to the memory, feed-forward; each in a residual block."""

    def __init__(
        self,
        size: int,
        memory_size: int,
        heads: int,
        hidden_size: int,
        norm: Literal["pre", "post"],
        dropout: float,
        dropout_attention: float,
    ):
        """Make the blocks; sizes as in `TransformerDecoder`."""
        super().__init__()
        self.self_attention = MultiHead(size, size, size, size, heads, dropout_attention)
        self.cross_attention = MultiHead(size, memory_size, size, size, heads, dropout_attention)
        self.feed_forward = feed_forward(size, hidden_size, dropout)
        self.self_sublayer = Sublayer(size, norm, dropout)
        self.cross_sublayer = Sublayer(size, norm, dropout)
        self.feed_forward_sublayer = Sublayer(size, norm, dropout)

    def forward(
        self, x: Tensor, before: Tensor | None, memory: Memory, memory_keys: Tensor, need_weights: bool
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run over positions ``[N, T, E]``: whole targets, or (T = 1) the next position of N rows.

        Args:
            x: the positions.
            before: keys and values of earlier positions ``[N, t, 2E]`` for a step; None for whole targets.
            memory: of B sentences; N is a multiple K of B, and the K rows of a sentence lie together.
            memory_keys: this layer's keys and values of the memory, ``[B, L, 2E]``.
            need_weights: whether the weights over the memory are wanted.

        Returns:
            The result ``[N, T, E]``, keys and values of all positions so far, and if wanted the weights over the
            memory ``[N, h, T, L]``.
        """
        kept: list[Tensor] = []
        weights: list[Tensor | None] = []

        def look_back(asking: Tensor) -> Tensor:
            keys = self.self_attention.keys(asking)
            if before is not None:
                keys = torch.cat([before.to(keys.dtype), keys], dim=1)
            kept.append(keys)
            result, _ = self.self_attention(asking, keys, None, causal=before is None)
            return result  # type: ignore[no-any-return]

        def look_at_memory(asking: Tensor) -> Tensor:
            batch = memory.mask.shape[0]
            together = asking.reshape(batch, -1, asking.shape[-1])  # the rows of a sentence ask side by side
            result, looked = self.cross_attention(
                together, memory_keys, memory.mask[:, None, None, :], need_weights=need_weights
            )
            if looked is not None:
                heads, places = looked.shape[1], looked.shape[-1]
                by_row = looked.view(batch, heads, -1, asking.shape[1], places).transpose(1, 2)
                looked = by_row.flatten(0, 1)
            weights.append(looked)
            return result.reshape(asking.shape)  # type: ignore[no-any-return]

        x = self.self_sublayer(x, look_back)
        x = self.cross_sublayer(x, look_at_memory)
        x = self.feed_forward_sublayer(x, self.feed_forward)
        return x, kept[0], weights[0]


class TransformerDecoder(nn.Module):
    """Positions, layers, and one layer and some heads from which the alignment is read."""

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
        norm: Literal["pre", "post"],
        dropout: float,
        dropout_attention: float,
        alignment_layer: int,
        alignment_heads: list[int],
    ):
        """Make the layers.

        Args:
            embedding: of the target pieces, width E.
            positions: added to the embeddings.
            size: E.
            memory_size: M.
            layers: how many.
            heads: of every attention.
            hidden_size: of the feed-forward blocks.
            norm: before (and once after all) or after each block.
            dropout: on what each block adds.
            dropout_attention: on attention weights.
            alignment_layer: whose weights `step` and `unroll` return, from 0.
            alignment_heads: of which heads the mean is taken, from 0; empty: all.
        """
        super().__init__()
        self.embedding, self.positions, self.feature_size = embedding, positions, size
        self.layers = nn.ModuleList(
            TransformerDecoderLayer(size, memory_size, heads, hidden_size, norm, dropout, dropout_attention)
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(size) if norm == "pre" else nn.Identity()
        self.alignment_layer, self.alignment_heads = alignment_layer, alignment_heads or list(range(heads))

    def keys(self, values: Tensor) -> Tensor:
        """Every layer's keys and values of the memory, side by side ``[B, L, layers x 2E]``."""
        return torch.cat([layer.cross_attention.keys(values) for layer in self._layers()], dim=-1)

    def start(self, memory: Memory) -> TransformerState:
        """The state before the first step, one row per sentence."""
        batch = memory.values.shape[0]
        return TransformerState(memory.values.new_zeros(len(self.layers), batch, 0, 2 * self.feature_size))

    def step(self, tokens: Tensor, state: TransformerState, memory: Memory) -> tuple[Tensor, Tensor, TransformerState]:
        """Read one token; see `RNNDecoder.step`."""
        first = state.cache.shape[2]
        x = self.positions(self.embedding(tokens)[:, None], first)
        x, caches, weights = self._run(x, list(state.cache), memory, need_weights=True)
        return self.norm(x)[:, 0], weights[:, 0], TransformerState(torch.stack(caches))

    def unroll(self, tgt_in: Tensor, memory: Memory, need_weights: bool = True) -> tuple[Tensor, Tensor]:
        """Read whole targets ``[B, T]``, all positions at once; see `RNNDecoder.unroll`.

        Without `need_weights` every attention is a fused kernel, and the weights have width 0.
        """
        x = self.positions(self.embedding(tgt_in))
        x, _, weights = self._run(x, [None] * len(self.layers), memory, need_weights)
        return self.norm(x), weights

    def _layers(self) -> list[TransformerDecoderLayer]:
        return list(self.layers)  # type: ignore[arg-type]

    def _run(
        self, x: Tensor, caches: list[Tensor] | list[None], memory: Memory, need_weights: bool
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """All layers over ``[N, T, E]``: the result, keys and values of all positions, the weights ``[N, T, L]``."""
        shown = x.new_zeros(*x.shape[:2], 0)
        after: list[Tensor] = []
        memory_keys = memory.keys.chunk(len(self.layers), dim=-1)
        for index, layer in enumerate(self._layers()):
            wanted = need_weights and index == self.alignment_layer
            x, kept, weights = layer(x, caches[index], memory, memory_keys[index], wanted)
            after.append(kept)
            if wanted:
                shown = weights[:, self.alignment_heads].mean(dim=1)
        return x, after, shown
