"""What the decoder knows about the source: the encoder's outputs, and the memory made from them."""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from nmt.errors import DataError


@dataclass(frozen=True, kw_only=True)
class EncoderOutput:
    """An encoded batch of sources.

    Attributes:
        values: ``[B, L, M]`` the outputs. L is the source length S, or the number of a perceiver's latents.
        mask: ``[B, L]`` bool, True on the positions that attention may give weight to.
        src_mask: ``[B, S]`` bool, True on real source tokens.
        hidden: ``[layers, B, M]`` the last hidden states; for an encoder without such states, ``[1, B, M]`` from
            `mean_state`.
        cell: ``[layers, B, M]`` the last cell states of an LSTM; ``[0, B, M]`` for any other encoder.
        origin: ``[B, L, S]`` the weights with which each latent read the source; None if positions are source tokens.
    """

    values: Tensor
    mask: Tensor
    src_mask: Tensor
    hidden: Tensor
    cell: Tensor
    origin: Tensor | None = None

    @classmethod
    def without_state(cls, values: Tensor, mask: Tensor) -> Self:
        """Return the output of an encoder that has no recurrent state.

        Args:
            values: ``[B, S, M]`` one output for each source token.
            mask: ``[B, S]`` bool, True on real tokens.
        """
        hidden = mean_state(values, mask)
        return cls(values=values, mask=mask, src_mask=mask, hidden=hidden, cell=hidden[:0])

    def on_source(self, weights: Tensor) -> Tensor:
        """Return weights over the L positions ``[B, Q, L]`` as weights over source tokens ``[B, Q, S]``.

        Rows still sum to 1. Weights of width 0, as from a decoder without attention, are returned unchanged.
        """
        if self.origin is None or weights.shape[-1] == 0:
            return weights
        with torch.autocast(weights.device.type, enabled=False):
            return weights.to(self.origin.dtype) @ self.origin


@dataclass(frozen=True, kw_only=True)
class Memory(EncoderOutput):
    """The encoder's outputs and the decoder's keys of them, computed once for all steps.

    Attributes:
        keys: ``[B, L, *]`` the keys that queries are compared with, the decoder's own projection of `values`.
    """

    keys: Tensor

    def without(self, hidden: Tensor) -> "Memory":
        """Return the memory with some source tokens hidden from the decoder's attention.

        The encoder has read these tokens, so the values of their neighbours still depend on them.

        Args:
            hidden: ``[B, S]`` bool, True on the tokens to hide.

        Raises:
            DataError: if positions are latents, which belong to no token, or if a sentence has no token left.
        """
        if self.origin is not None:
            raise DataError("a perceiver's latents belong to no single word, so no word can be hidden")
        mask = self.mask & ~hidden
        if not mask.any(dim=1).all():
            raise DataError("all words of the source are hidden; leave at least one")
        return replace(self, mask=mask)

    def select(self, rows: Tensor) -> "Memory":
        """Return the memory of the sentences with the indices `rows`, ``[B']``."""
        return replace(
            self,
            values=self.values[rows],
            mask=self.mask[rows],
            src_mask=self.src_mask[rows],
            keys=self.keys[rows],
            hidden=self.hidden[:, rows],
            cell=self.cell[:, rows],
            origin=None if self.origin is None else self.origin[rows],
        )


def mean_state(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the values over real positions, ``[1, B, M]``, as the state of an encoder without states."""
    real = values.masked_fill(~mask[..., None], 0.0)
    return (real.sum(1) / mask.sum(1, keepdim=True)).to(values.dtype)[None]
