"""Local attention: a window on the source, outside which every weight is 0."""

from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from nmt.model.attention.query import Query
from nmt.model.memory import Memory


class Window(nn.Module):
    """Local attention (Luong et al. 2015, section 3.2): a Gaussian around p, cut at distance D.

    With local-m, p is the target position, or the last source position if the source is shorter. With local-p,
    p = (S - 1) sigmoid(vᵀ tanh(W q)) (their equation 9). The Gaussian has the standard deviation D / 2. It is
    multiplied in before the weights are normalised, so rows sum to 1; in the paper it is multiplied in afterwards.
    """

    def __init__(self, kind: Literal["local-m", "local-p"], size: float, query_size: int):
        """Make the layers that predict p for local-p; local-m has no parameters.

        Args:
            kind: how p, the centre of the window, is found.
            size: D, the largest distance from p inside the window.
            query_size: H, the width of the decoder's state.
        """
        super().__init__()
        self.kind: Literal["local-m", "local-p"] = kind
        self.size = size
        if kind == "local-p":
            self.hidden_layer = nn.Linear(query_size, query_size, bias=False)
            self.centre_layer = nn.Linear(query_size, 1, bias=False)

    def forward(self, query: Query, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return where each query may look.

        Args:
            query: Q queries for each of B sentences.
            memory: the memory of these sentences. Source tokens that are hidden do not move the window.

        Returns:
            What is added to the energies, ``[B, Q, L]`` in float32, and a bool ``[B, Q, L]``, True inside the window.
            If the window holds no position that attention may look at, it is True everywhere.
        """
        mask, real = memory.mask, memory.src_mask if memory.origin is None else memory.mask  # [B, L]
        positions = torch.arange(mask.shape[1], device=mask.device, dtype=torch.float32)  # [L]
        last = torch.where(real, positions, 0.0).amax(dim=1, keepdim=True)  # [B, 1]
        match self.kind:
            case "local-m":
                centre = torch.minimum(query.position[None].float(), last)  # [B, Q]
            case "local-p":
                hidden = torch.tanh(query.project(self.hidden_layer))  # [B, Q, H]
                centre = last * torch.sigmoid(query.linear(self.centre_layer, hidden).squeeze(-1).float())  # [B, Q]
            case _:
                assert_never(self.kind)
        distance = positions - centre[..., None]  # [B, Q, L]
        inside = distance.abs() <= self.size
        is_empty = ~(inside & mask[:, None]).any(dim=-1, keepdim=True)  # where all positions inside are hidden
        return -(distance**2) / (2 * (self.size / 2) ** 2), inside | is_empty
