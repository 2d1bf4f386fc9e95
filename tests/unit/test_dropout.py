"""Our dropout is torch's: the same rate, the same scale, the same gradient."""

import pytest
import torch

from nmt.model.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_at_the_rate_and_the_others_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    dropped = Dropout(p)(torch.ones(401, 997, dtype=dtype))
    scale = torch.tensor(1 / (1 - p), dtype=dtype)
    assert ((dropped == 0) | (dropped == scale)).all()
    rate = float((dropped == 0).float().mean())
    assert rate == pytest.approx(p, abs=4 * (p * (1 - p) / dropped.numel()) ** 0.5)


@pytest.mark.parametrize("p", [1e-9, 1e-6, 1.0 - 1e-6])
def test_the_smallest_and_largest_rates_can_be_drawn(p: float) -> None:
    dropped = Dropout(p)(torch.ones(1000))
    assert int((dropped == 0).sum()) == pytest.approx(1000 * p, abs=5)


def test_every_place_is_drawn_by_itself() -> None:
    torch.manual_seed(2)
    dropped = (Dropout(0.5)(torch.ones(100_000, 8)) == 0).float()
    torch.testing.assert_close(dropped.T.cov(), torch.eye(8) / 4, atol=0.01, rtol=0.0)


def test_the_gradient_is_dropped_where_the_value_is() -> None:
    torch.manual_seed(3)
    x = torch.randn(7, 9, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, y)


def test_evaluation_and_the_ends_of_the_range_are_torchs() -> None:
    x = torch.randn(5, 3)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x).equal(x)
    assert not Dropout(1.0)(x).any()


def test_the_same_seed_drops_the_same() -> None:
    torch.manual_seed(4)
    first = Dropout(0.3)(torch.ones(10, 3))
    torch.manual_seed(4)
    assert first.equal(Dropout(0.3)(torch.ones(10, 3)))
