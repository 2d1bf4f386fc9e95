import math

import pytest
import torch
from torch import Tensor

from nmt.model.attention.normaliser import NORMALISERS, entmax15, hard, sparsemax

Vector = list[float]


def by_bisection(energies: Vector, power: float, scale: float) -> Vector:
    """The only tau for which sum max(scale e - tau, 0)^power is 1, found by halving; an independent way to both."""

    def total(tau: float) -> float:
        return sum(max(scale * e - tau, 0.0) ** power for e in energies if e > -math.inf)

    low, high = scale * max(energies) - 2.0, scale * max(energies)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) > 1 else (low, middle)
    return [max(scale * e - low, 0.0) ** power if e > -math.inf else 0.0 for e in energies]


def random_rows() -> Tensor:
    torch.manual_seed(1)
    rows = torch.randn(40, 7, dtype=torch.float64) * torch.linspace(0.1, 6.0, 40, dtype=torch.float64)[:, None]
    rows[5:20, 4:] = -math.inf
    rows[20:25, 1:] = -math.inf
    rows[25] = 3.0  # all alike
    return rows


@pytest.mark.parametrize(("normalise", "power", "scale"), [(sparsemax, 1.0, 1.0), (entmax15, 2.0, 0.5)])
def test_equals_bisection(normalise: object, power: float, scale: float) -> None:
    rows = random_rows()
    found = normalise(rows)  # type: ignore[operator]
    for row, weights in zip(rows.tolist(), found, strict=True):
        expected = torch.tensor(by_bisection(row, power, scale), dtype=torch.float64)
        torch.testing.assert_close(weights, expected, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("name", NORMALISERS)
def test_rows_are_distributions_with_zeros_where_nothing_is_allowed(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        rows = random_rows().to(dtype)
        weights = NORMALISERS[name](rows)
        assert (weights >= 0).all()
        torch.testing.assert_close(weights.sum(-1), torch.ones(40, dtype=dtype))
        assert not weights[rows == -math.inf].any()


def test_sparse_rows_have_zeros_and_softmax_has_none() -> None:
    rows = torch.tensor([[2.0, 0.5, -1.0]])
    assert (NORMALISERS["softmax"](rows) > 0).all()
    assert sparsemax(rows).tolist() == [[1.0, 0.0, 0.0]]
    assert (entmax15(rows) == 0).sum() == 1
    torch.testing.assert_close(sparsemax(torch.tensor([0.5, 0.2])), torch.tensor([0.65, 0.35]))


@pytest.mark.parametrize("name", ["softmax", "sparsemax", "entmax15"])
def test_gradients(name: str) -> None:
    # Away from the places where an entry enters or leaves the support, where there is no derivative.
    rows = torch.tensor([[0.3, -0.2, 0.1, -2.5], [1.7, 1.2, -0.9, 0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(NORMALISERS[name], (rows,))


def test_hard_is_one_hot_with_the_gradient_of_the_softmax() -> None:
    rows = torch.tensor([[0.3, 1.1, -math.inf]], dtype=torch.float64, requires_grad=True)
    values = torch.tensor([2.0, 3.0, 5.0], dtype=torch.float64)
    weights = hard(rows)
    assert weights.tolist() == [[0.0, 1.0, 0.0]]
    (straight,) = torch.autograd.grad((weights * values).sum(), rows)
    (soft,) = torch.autograd.grad((rows.softmax(-1) * values).sum(), rows)
    torch.testing.assert_close(straight, soft)


@pytest.mark.parametrize("name", NORMALISERS)
def test_energies_that_are_no_numbers_are_no_crash(name: str) -> None:
    weights = NORMALISERS[name](torch.tensor([[torch.nan, 1.0, -torch.inf], [0.0, 0.0, -torch.inf]]))
    assert float(weights[1].sum()) == pytest.approx(1.0)
    if name != "hard":
        assert weights[0].isnan().any()
