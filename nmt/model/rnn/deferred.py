"""A linear layer that is used in many steps and whose weight gradient is computed once for all of them.

The gradient of a weight W used in the steps y_t = x_t Wᵀ + b is the sum of g_tᵀ x_t. Autograd would add up one small
product per step, and each addition reads and writes the entire gradient of W. Here all x_t and g_t are concatenated, so
that the sum is one large product.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class DeferredLinear:
    """x Wᵀ + b for the steps of one unrolling; results and gradients are those of ``functional.linear``."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None):
        """Begin an unrolling.

        Args:
            weight: ``[out, in]``; under autocast it is cast once here rather than in every step.
            bias: ``[out]``; None for none.
        """
        if bias is None:
            bias = weight.new_zeros(0)
        if torch.is_autocast_enabled(weight.device.type):
            dtype = torch.get_autocast_dtype(weight.device.type)
            weight, bias = weight.to(dtype), bias.to(dtype)
        self._kept: list[tuple[Tensor, Tensor]] = []
        self._weight, self._bias = _Gather.apply(weight, bias, self._kept)  # type: ignore[no-untyped-call]

    def __call__(self, x: Tensor) -> Tensor:
        """Project one step's vectors, ``[..., in]``, to ``[..., out]``."""
        return _Step.apply(x.to(self._weight.dtype), self._weight, self._bias, self._kept)  # type: ignore[no-any-return, no-untyped-call]


class DeferredLayers:
    """Applies linear layers in the steps of one unrolling, each as a `DeferredLinear` from its first use on."""

    def __init__(self) -> None:
        """Begin an unrolling."""
        self._deferred: dict[nn.Linear, DeferredLinear] = {}

    def __call__(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """Return the output ``[..., out]`` of `layer` for `x` ``[..., in]``."""
        if layer not in self._deferred:
            self._deferred[layer] = DeferredLinear(layer.weight, layer.bias)
        return self._deferred[layer](x)


class _Gather(torch.autograd.Function):
    """Forward returns weight and bias unchanged; backward, which runs after all steps, computes the large product."""

    @staticmethod
    def forward(context: Any, weight: Tensor, bias: Tensor, kept: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        context.kept, context.has_bias = kept, bias.numel() > 0
        context.set_materialize_grads(False)
        return weight.view_as(weight), bias.view_as(bias)

    @staticmethod
    @once_differentiable
    def backward(context: Any, *_: Tensor | None) -> tuple[Tensor | None, Tensor | None, None]:
        if not context.kept:
            return None, None, None
        inputs, gradients = (
            torch.cat([part.flatten(0, -2) for part in parts]) for parts in zip(*context.kept, strict=True)
        )
        context.kept.clear()
        return gradients.T @ inputs, gradients.sum(dim=0) if context.has_bias else None, None


class _Step(torch.autograd.Function):
    """x Wᵀ + b; backward saves x and the gradient for `_Gather` and returns only the gradient of the input."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor, kept: list[tuple[Tensor, Tensor]]) -> Tensor:
        context.save_for_backward(x, weight)
        context.kept = kept
        return functional.linear(x, weight, bias if bias.numel() else None)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        x, weight = context.saved_tensors
        context.kept.append((x, gradient))
        return gradient @ weight, None, None, None
