"""Multi-head attention: torch's fused kernel and the explicit weights are one function, with one gradient."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from nmt.model.attention import multi_head
from nmt.model.attention.multi_head import MultiHead, attend
from nmt.model.dropout import Dropout


def case(causal: bool, dtype: torch.dtype, dropout: float = 0.0) -> tuple[MultiHead, Tensor, Tensor | None]:
    torch.manual_seed(1)
    module = MultiHead(12, 12, 8, 12, heads=2, dropout=dropout).to(dtype)
    x = torch.randn(3, 5, 12, dtype=dtype, requires_grad=True)
    mask = torch.arange(5) < torch.tensor([5, 3, 1])[:, None]  # [B, S]
    return module, x, None if causal else mask[:, None, None, :]


def results(module: MultiHead, x: Tensor, allowed: Tensor | None, causal: bool) -> list[Tensor]:
    """The output, and its gradient by the input and by every parameter."""
    output, weights = module(x, module.keys(x), allowed, causal)
    assert weights is None
    by = torch.randn(output.shape, dtype=output.dtype, generator=torch.Generator().manual_seed(2))
    return [output, *torch.autograd.grad((output * by).sum(), [x, *module.parameters()])]


@pytest.mark.parametrize("causal", [False, True])
def test_both_paths_have_the_same_gradients(monkeypatch: pytest.MonkeyPatch, causal: bool) -> None:
    module, x, allowed = case(causal, torch.float64)
    found = []
    for is_explicit in (False, True):
        monkeypatch.setattr(multi_head, "_is_explicit_faster", lambda *_, chosen=is_explicit: chosen)
        found.append(results(module, x, allowed, causal))
    for fused, explicit in zip(*found, strict=True):
        torch.testing.assert_close(explicit, fused, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", ["dropout", "bfloat16"])
def test_on_a_processor_training_does_not_use_the_slow_kernels(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    calls = []
    fused = functional.scaled_dot_product_attention

    def counted(*args: Tensor, **options: object) -> Tensor:
        calls.append(options)
        return fused(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(functional, "scaled_dot_product_attention", counted)
    dtype, dropout = (torch.float32, 0.5) if kind == "dropout" else (torch.bfloat16, 0.0)
    module, x, allowed = case(False, dtype, dropout)
    module.train()
    results(module, x, allowed, False)
    assert calls == []
    module.eval()
    with torch.no_grad():
        module(x, module.keys(x), allowed)
    assert [options["dropout_p"] for options in calls] == [0.0]


def test_long_sentences_keep_the_kernel_that_needs_less_memory() -> None:
    module, _, _ = case(False, torch.bfloat16)
    assert multi_head._is_explicit_faster(torch.zeros(1, 2, 500, 4, dtype=torch.bfloat16), module.dropout)
    assert not multi_head._is_explicit_faster(torch.zeros(1, 2, 501, 4, dtype=torch.bfloat16), module.dropout)


def test_dropped_weights_are_scaled_and_the_weights_told_are_whole() -> None:
    module, x, allowed = case(False, torch.float64, dropout=0.3)
    keys = module.keys(x)
    whole, _ = module.eval()(x, keys, allowed, need_weights=True)
    module.train()
    draws = [module(x, keys, allowed, need_weights=True) for _ in range(4000)]
    assert all(torch.equal(weights, draws[0][1]) for _, weights in draws)
    torch.testing.assert_close(draws[0][1].sum(dim=-1), torch.ones(3, 2, 5, dtype=torch.float64))
    outputs = torch.stack([output for output, _ in draws])
    assert outputs.std(dim=0).min() > 0
    torch.testing.assert_close(outputs.mean(dim=0), whole, rtol=0.0, atol=0.03)


def test_explicit_weights_do_not_overflow_in_float16() -> None:
    large = torch.full((1, 1, 3, 64), 33.0, dtype=torch.float16)  # the sum of products is 69,696, more than 65,504
    context, weights = attend(large, large, large, None, Dropout(0.0), need_weights=True)
    assert weights is not None
    torch.testing.assert_close(weights, torch.full((1, 1, 3, 3), 1 / 3))
    torch.testing.assert_close(context, large)
