"""Encoders made of attention layers."""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from nmt.model.attention.multi_head import MultiHead
from nmt.model.memory import EncoderOutput, mean_state
from nmt.model.transformer.layers import EncoderLayer, PositionedEmbedding, Sublayer


class StackEncoder(nn.Module):
    """Position embeddings and a stack of layers; with multi-head self-attention it is the Transformer's encoder."""

    def __init__(
        self, positions: PositionedEmbedding, layers: Iterable[EncoderLayer], size: int, norm: Literal["pre", "post"]
    ):
        """Put the stack together.

        Args:
            positions: the module that adds the positions to the embeddings.
            layers: the layers of the stack, the lowest first.
            size: E.
            norm: the kind of norm in the layers; with `pre`, the output of the stack is also normalised.
        """
        super().__init__()
        self.positions, self.layers = positions, nn.ModuleList(layers)
        self.norm = nn.LayerNorm(size) if norm == "pre" else nn.Identity()

    def forward(self, embedded: Tensor, mask: Tensor, lengths: Tensor) -> EncoderOutput:
        """Encode ``[B, S, E]``; the mask is True on real tokens, the lengths are not needed."""
        x = self.positions(embedded)
        for layer in self.layers:
            x = layer(x, mask)
        values = self.norm(x)
        return EncoderOutput.without_state(values, mask)


class PerceiverEncoder(nn.Module):
    """Learned latents read the source once by cross-attention, then attend to one another (Jaegle et al. 2021).

    The memory has one position per latent, whatever the length of the source. `EncoderOutput.origin` holds the weights
    with which each latent read the source (the mean over heads); they turn weights over latents into weights over
    source tokens.
    """

    def __init__(
        self,
        positions: PositionedEmbedding,
        layers: Iterable[EncoderLayer],
        size: int,
        norm: Literal["pre", "post"],
        *,
        latents: int,
        heads: int,
        dropout: float,
        dropout_attention: float,
    ):
        """Put the encoder together.

        Args:
            positions: the module that adds the positions to the embeddings.
            layers: the layers of self-attention among the latents.
            size: E.
            norm: the kind of norm in the layers; with `pre`, the output is also normalised.
            latents: the number of latents.
            heads: the number of heads of the cross-attention.
            dropout: the dropout on what the cross-attention adds.
            dropout_attention: the dropout on the weights of the cross-attention.
        """
        super().__init__()
        self.positions, self.layers = positions, nn.ModuleList(layers)
        self.latent_embedding = nn.Parameter(torch.empty(latents, size))
        self.reader = MultiHead(size, size, size, size, heads, dropout_attention)
        self.src_norm = nn.LayerNorm(size)
        self.reader_sublayer = Sublayer(size, norm, dropout)
        self.norm = nn.LayerNorm(size) if norm == "pre" else nn.Identity()

    def forward(self, embedded: Tensor, mask: Tensor, lengths: Tensor) -> EncoderOutput:
        """Encode ``[B, S, E]``; the mask is True on real tokens, the lengths are not needed."""
        keys = self.reader.keys(self.src_norm(self.positions(embedded)))
        latents = self.latent_embedding.to(keys.dtype).expand(len(embedded), -1, -1)
        origin: list[Tensor] = []

        def read(asking: Tensor) -> Tensor:
            result, weights = self.reader(asking, keys, mask[:, None, None, :], need_weights=True)
            origin.append(weights.mean(1))
            return result  # type: ignore[no-any-return]

        x = self.reader_sublayer(latents, read)
        everywhere = mask.new_ones(x.shape[:2])
        for layer in self.layers:
            x = layer(x, everywhere)
        values = self.norm(x)
        hidden = mean_state(values, everywhere)
        return EncoderOutput(
            values=values, mask=everywhere, src_mask=mask, hidden=hidden, cell=hidden[:0], origin=origin[0]
        )
