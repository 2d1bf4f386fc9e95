"""vᵀ tanh(q + k) as one node: the plain formula, its gradients, and what bfloat16 costs."""

import math

import pytest
import torch

from nmt.model.attention.additive import additive_energies, plain_additive_energies


def inputs(queries: int, dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(2, queries, 5), (2, 3, 5), (1, 5)]
    return [torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("queries", [1, 4])
def test_energies_are_those_of_a_slow_loop_and_gradients_those_of_differences(queries: int) -> None:
    query, keys, vector = inputs(queries)
    energies = additive_energies(query, keys, vector)
    q_rows, k_rows, (v,) = query.tolist(), keys.tolist(), vector.tolist()
    for b in range(2):
        for q in range(queries):
            for position in range(3):
                expected = sum(v[a] * math.tanh(q_rows[b][q][a] + k_rows[b][position][a]) for a in range(5))
                assert energies[b, q, position].item() == pytest.approx(expected, abs=1e-12)
    assert torch.autograd.gradcheck(additive_energies, (query, keys, vector))


def test_in_bfloat16_energies_and_gradients_are_as_near_as_its_eight_bits_allow() -> None:
    exact = inputs(4)
    rough = [tensor.detach().bfloat16().requires_grad_() for tensor in exact]
    results = []
    for given in (exact, rough):
        energies = additive_energies(*given)
        results.append([energies, *torch.autograd.grad(energies.float().tanh().sum(), given)])
    for mine, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(mine.double(), theirs, atol=0.06, rtol=0.03)
    assert results[1][0].dtype == torch.float32


@pytest.mark.parametrize("one_signed", [False, True])
@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
def test_in_bfloat16_energies_are_at_least_as_exact_as_those_of_a_plain_tanh(scale: float, one_signed: bool) -> None:
    generator = torch.Generator().manual_seed(5)
    query, keys, vector = (
        scale * torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in [(4, 1, 512), (4, 20, 512), (1, 512)]
    )
    vector = vector.abs() if one_signed else vector
    exact = plain_additive_energies(query, keys, vector)
    rough = [tensor.bfloat16() for tensor in (query, keys, vector)]
    errors = [(found(*rough).double() - exact).norm() for found in (additive_energies, plain_additive_energies)]
    assert errors[0] <= errors[1]


def test_energies_that_are_large_saturate_without_a_nan() -> None:
    query = torch.tensor([[[300.0], [-300.0]]], dtype=torch.bfloat16, requires_grad=True)
    energies = additive_energies(query, torch.zeros(1, 1, 1, dtype=torch.bfloat16), torch.ones(1, 1))
    assert energies.flatten().tolist() == [1.0, -1.0]
    energies.sum().backward()
    assert query.grad is not None
    assert query.grad.flatten().tolist() == [0.0, 0.0]
