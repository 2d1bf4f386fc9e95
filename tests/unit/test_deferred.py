"""One large product instead of many small ones: the same results and gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.model.rnn.deferred import DeferredLayers, DeferredLinear


def recurrence(product: object, x: Tensor, steps: int) -> Tensor:
    total = x
    for _ in range(steps):
        x = torch.tanh(product(x) + x)  # type: ignore[operator]
        total = total + x
    return total


@pytest.mark.parametrize("with_bias", [True, False])
def test_results_and_gradients_are_those_of_a_linear_layer(with_bias: bool) -> None:
    torch.manual_seed(1)
    weight = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True) if with_bias else None
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    wanted = [one for one in (weight, bias, x) if one is not None]

    def deferred(*_: Tensor) -> Tensor:
        return recurrence(DeferredLinear(weight, bias), x, 4)

    plain = recurrence(lambda x: functional.linear(x, weight, bias), x, 4)
    torch.testing.assert_close(deferred(), plain)
    for ours, theirs in zip(
        torch.autograd.grad(deferred().sum(), wanted), torch.autograd.grad(plain.sum(), wanted), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    assert torch.autograd.gradcheck(deferred, wanted)


def test_a_product_that_no_loss_reaches_has_no_gradient() -> None:
    weight = torch.randn(2, 2, requires_grad=True)
    other = torch.randn(2, requires_grad=True)
    DeferredLinear(weight)(torch.randn(1, 2))
    (other * 2).sum().backward()
    assert weight.grad is None


def test_under_autocast_the_product_is_in_bfloat16_and_gradients_in_float32() -> None:
    torch.manual_seed(2)
    weight, x = torch.randn(8, 8, requires_grad=True), torch.randn(4, 8)
    gradients = []
    for build in (DeferredLinear, lambda weight: lambda x: functional.linear(x, weight)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            product = build(weight)
            out = product(x)
            assert out.dtype == torch.bfloat16
        (gradient,) = torch.autograd.grad(out.float().pow(2).sum(), [weight])
        assert gradient.dtype == torch.float32
        gradients.append(gradient)
    torch.testing.assert_close(*gradients, atol=0.05, rtol=0.02)


def test_the_layers_of_an_unrolling_are_deferred_each_by_itself() -> None:
    torch.manual_seed(3)
    first, second = nn.Linear(4, 4), nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    module = nn.Sequential(first, nn.Tanh(), second)
    x = torch.randn(2, 3, 4)
    expected = recurrence(module, x, 3)
    gradients = torch.autograd.grad(expected.sum(), list(module.parameters()))
    linear = DeferredLayers()
    result = recurrence(lambda x: linear(second, torch.tanh(linear(first, x))), x, 3)
    torch.testing.assert_close(result, expected)
    torch.testing.assert_close(torch.autograd.grad(result.sum(), list(module.parameters())), gradients)
