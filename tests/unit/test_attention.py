import math

import pytest
import torch
from torch import Tensor

from nmt.model.attention import Attention, Memory, build_attention

B, Q, S, H, M, A = 3, 4, 6, 8, 8, 5
SCORES = sorted(set(Attention.scores) - {"none"})


def memory_of(attention: Attention, values: Tensor, mask: Tensor) -> Memory:
    nothing = values.new_zeros(1, len(values), values.shape[-1])
    return Memory(values, mask, attention.keys(values), nothing, nothing)


@pytest.fixture(params=SCORES)
def attention(request: pytest.FixtureRequest) -> Attention:
    torch.manual_seed(3)
    built = build_attention(request.param, H, M, A).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter)
    return built


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    query = torch.randn(B, Q, H, generator=generator, dtype=torch.float64)
    values = torch.randn(B, S, M, generator=generator, dtype=torch.float64)
    mask = torch.arange(S) < torch.tensor([[6], [3], [1]])
    return query, values, mask


def energy_by_hand(score: str, parameters: dict[str, Tensor], q: list[float], k: list[float]) -> float:
    """One energy with Python's own arithmetic, from the formula in the paper."""

    def times(matrix: Tensor, vector: list[float]) -> list[float]:
        return [sum(w * x for w, x in zip(row, vector, strict=True)) for row in matrix.tolist()]

    def dot(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    if score == "dot":
        return dot(q, k)
    if score == "scaled_dot":
        return dot(q, k) / math.sqrt(len(k))
    if score == "general":
        return dot(q, times(parameters["key_layer.weight"], k))
    if score == "additive":
        hidden = [
            math.tanh(a + b)
            for a, b in zip(
                times(parameters["query_layer.weight"], q), times(parameters["key_layer.weight"], k), strict=True
            )
        ]
    else:
        both = times(parameters["layer.weight"], q + k)
        hidden = [math.tanh(a + b) for a, b in zip(both, parameters["layer.bias"].tolist(), strict=True)]
    return dot(parameters["energy.weight"][0].tolist(), hidden)


def test_equals_a_slow_loop_in_float64(
    attention: Attention, inputs: tuple[Tensor, Tensor, Tensor], request: pytest.FixtureRequest
) -> None:
    query, values, mask = inputs
    score = next(name for name, kind in Attention.scores.items() if kind is type(attention))
    parameters = {name: parameter.detach() for name, parameter in attention.named_parameters()}
    context, weights = attention(query, memory_of(attention, values, mask))
    for b in range(B):
        real = int(mask[b].sum())
        for i in range(Q):
            energies = [
                energy_by_hand(score, parameters, query[b, i].tolist(), values[b, s].tolist()) for s in range(real)
            ]
            total = sum(math.exp(e - max(energies)) for e in energies)
            expected = [math.exp(e - max(energies)) / total for e in energies]
            torch.testing.assert_close(
                weights[b, i, :real], torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=1e-9
            )
            by_hand = sum(w * values[b, s] for s, w in enumerate(expected))
            torch.testing.assert_close(context[b, i], by_hand, atol=1e-12, rtol=1e-9)


def test_weights_are_a_distribution_over_real_tokens(
    attention: Attention, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    query, values, mask = inputs
    context, weights = attention(query * 30, memory_of(attention, values, mask))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, Q, dtype=torch.float64))
    assert (weights.masked_select(~mask[:, None, :].expand_as(weights)) == 0).all()
    low, high = (
        values.masked_fill(~mask[..., None], math.inf).amin(1),
        values.masked_fill(~mask[..., None], -math.inf).amax(1),
    )
    assert (context >= low[:, None] - 1e-6).all()
    assert (context <= high[:, None] + 1e-6).all()


def test_permuted_queries_and_memory_permute_the_answer(
    attention: Attention, inputs: tuple[Tensor, Tensor, Tensor]
) -> None:
    query, values, _ = inputs
    everything = torch.ones(B, S, dtype=torch.bool)
    queries, tokens = torch.randperm(Q), torch.randperm(S)
    context, weights = attention(query, memory_of(attention, values, everything))
    context_p, weights_p = attention(query[:, queries], memory_of(attention, values[:, tokens], everything))
    torch.testing.assert_close(context_p, context[:, queries], atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(weights_p, weights[:, queries][:, :, tokens], atol=1e-12, rtol=1e-9)


def test_padding_changes_nothing(attention: Attention, inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    query, values, mask = inputs
    context, weights = attention(query, memory_of(attention, values, mask))
    other = torch.where(mask[..., None], values, torch.full_like(values, 1e3))
    context_o, weights_o = attention(query, memory_of(attention, other, mask))
    assert torch.equal(weights, weights_o)
    assert torch.equal(context, context_o)


def test_no_two_scores_are_the_same_function(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    query, values, mask = inputs
    results = {}
    for score in SCORES:
        torch.manual_seed(1)
        attention = build_attention(score, H, M, A).double()
        results[score] = attention(query, memory_of(attention, values, mask))[1]
    for a in SCORES:
        for b in SCORES:
            assert a == b or not torch.allclose(results[a], results[b], atol=1e-3), (a, b)


def test_without_attention_there_is_nothing_to_see(inputs: tuple[Tensor, Tensor, Tensor]) -> None:
    query, values, mask = inputs
    attention = build_attention("none", H, M, A)
    context, weights = attention(query, memory_of(attention, values, mask))
    assert context.shape == weights.shape == (B, Q, 0)
