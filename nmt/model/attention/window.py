"""Local attention: a window of the source, outside of which nothing is looked at."""

import torch
from torch import Tensor, nn


class Window(nn.Module):
    """Local attention (Luong et al. 2015, section 3.2): a Gaussian around p, cut at distance D.

    local-m: p is the target position, or the last place if the source is shorter. local-p, their equation 9:
    p = (S - 1) sigmoid(vᵀ tanh(W q)). The Gaussian, of standard deviation D / 2, is multiplied in before the weights
    are normalised, so rows sum to 1; theirs is multiplied in afterwards.
    """

    def __init__(self, kind: str, size: float, query_size: int):
        """Make the parameters of local-p.

        Args:
            kind: `local-m` or `local-p`.
            size: D.
            query_size: H, the width of the decoder's state.
        """
        super().__init__()
        self.size = size
        self.place: nn.Module | None = None
        if kind == "local-p":
            self.place = nn.Sequential(
                nn.Linear(query_size, query_size, bias=False),
                nn.Tanh(),
                nn.Linear(query_size, 1, bias=False),
            )

    def forward(self, state: Tensor, position: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Where to look.

        Args:
            state: ``[B, Q, H]`` the decoder's state.
            position: ``[Q]`` how many words came before.
            mask: ``[B, L]`` bool, True on what may be looked at.

        Returns:
            What is added to the energies, ``[B, Q, L]`` in float32, and where the window is, bool ``[B, Q, L]``.
        """
        last = (mask.sum(1) - 1)[:, None].float()  # [B, 1]
        if self.place is None:
            centre = torch.minimum(position[None].float(), last)
        else:
            centre = last * torch.sigmoid(self.place(state).squeeze(-1).float())
        places = torch.arange(mask.shape[1], device=centre.device, dtype=centre.dtype)
        distance = places - centre[..., None]
        return -(distance**2) / (2 * (self.size / 2) ** 2), distance.abs() <= self.size
