"""The memory: one source batch, encoded once, which every step of the decoder may look at."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Memory:
    """What the decoder may look at.

    Attributes:
        values: ``[B, L, M]`` the encoder's outputs. L is the source length S, or the number of a perceiver's latents.
        mask: ``[B, L]`` bool, True on what may be looked at.
        src_mask: ``[B, S]`` bool, True on real source tokens.
        keys: ``[B, L, *]`` what queries are compared with; the decoder's own projection of `values`.
        hidden: ``[layers, B, M]`` the encoder's last hidden state; if it has none ``[1, B, M]``, its outputs' mean.
        cell: ``[layers, B, M]`` its last cell state; ``[0, B, M]`` if it has none.
        origin: ``[B, L, S]`` where each latent looked at the source; None where places are source tokens.
    """

    values: Tensor
    mask: Tensor
    src_mask: Tensor
    keys: Tensor
    hidden: Tensor
    cell: Tensor
    origin: Tensor | None = None

    def select(self, rows: Tensor) -> "Memory":
        """The memory of the sentences `rows` (``[B']`` indices)."""
        return Memory(
            self.values[rows],
            self.mask[rows],
            self.src_mask[rows],
            self.keys[rows],
            self.hidden[:, rows],
            self.cell[:, rows],
            None if self.origin is None else self.origin[rows],
        )

    def with_values(self, values: Tensor, keys: Tensor) -> "Memory":
        """The same memory with its values (after dropout) and their keys."""
        return replace(self, values=values, keys=keys)

    def on_source(self, weights: Tensor) -> Tensor:
        """Weights over the L places ``[B, Q, L]`` as weights over source tokens ``[B, Q, S]``; rows still sum to 1.

        The weights of width 0 of a decoder without attention stay as they are.
        """
        if self.origin is None or weights.shape[-1] == 0:
            return weights
        with torch.autocast(weights.device.type, enabled=False):
            return weights.to(self.origin.dtype) @ self.origin


def mean_state(values: Tensor, mask: Tensor) -> Tensor:
    """The mean of the values over real places, ``[1, B, M]``: the last state of an encoder that has none."""
    shown = values.masked_fill(~mask[..., None], 0.0)
    return (shown.sum(1) / mask.sum(1, keepdim=True)).to(values.dtype)[None]
