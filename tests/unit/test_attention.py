import math
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from nmt.config import AttentionScore
from nmt.model.attention.base import Attention, Score
from nmt.model.attention.coverage import Coverage
from nmt.model.attention.kernel import squared_distances, sums_of_squares
from nmt.model.attention.normaliser import softmax
from nmt.model.attention.query import Query
from tests.attentions import (
    BY_PLACE,
    VARIANTS,
    A,
    B,
    E,
    M,
    Q,
    S,
    close,
    dot,
    energies_by_hand,
    memory_of,
    of_score,
    plus,
    softmax_by_hand,
    times,
    weighted_sum,
)


def built(score: str, choices: dict[str, Any]) -> Attention:
    torch.manual_seed(3)
    attention = of_score(score, choices).double()
    for name, parameter in attention.named_parameters():
        if not name.endswith("log_width"):
            torch.nn.init.normal_(parameter)
    return attention


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def attention(variant: str) -> Attention:
    return built(*VARIANTS[variant])


def test_equals_a_slow_loop_in_float64(
    variant: str, attention: Attention, query: Query, values: Tensor, mask: Tensor
) -> None:
    score, choices = VARIANTS[variant]
    p = {name.removeprefix("score."): parameter.detach() for name, parameter in attention.named_parameters()}
    context, weights = attention(query, memory_of(attention, values, mask))
    for b in range(B):
        ks = values[b, : int(mask[b].sum())].tolist()
        for i in range(Q):
            energies = energies_by_hand(
                score, choices, p, query.state[b, i].tolist(), query.embedding[b, i].tolist(), ks
            )
            if score == "qkv":
                by_head = [softmax_by_hand(row) for row in energies]
                vs = [
                    plus(times(p["multi_head.value_layer.weight"], k), p["multi_head.value_layer.bias"].tolist())
                    for k in ks
                ]
                size = A // len(by_head)
                joined = [x for h, row in enumerate(by_head) for x in weighted_sum(row, vs)[h * size : (h + 1) * size]]
                expected = [sum(column) / len(by_head) for column in zip(*by_head, strict=True)]
                by_hand = plus(
                    times(p["multi_head.output_layer.weight"], joined), p["multi_head.output_layer.bias"].tolist()
                )
            else:
                expected = softmax_by_hand(energies)
                by_hand = weighted_sum(expected, ks)
            close(weights[b, i, : len(ks)], expected)
            close(context[b, i], by_hand)


def test_weights_are_a_distribution_over_real_tokens(
    variant: str, attention: Attention, query: Query, values: Tensor, mask: Tensor
) -> None:
    far = replace(query, state=query.state * 30)
    context, weights = attention(far, memory_of(attention, values, mask))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, Q, dtype=torch.float64))
    assert (weights.masked_select(~mask[:, None, :].expand_as(weights)) == 0).all()
    if VARIANTS[variant][0] != "qkv":  # its hull is that of the projected values, which its output layer then moves
        shown = mask[..., None]
        low, high = values.masked_fill(~shown, math.inf).amin(1), values.masked_fill(~shown, -math.inf).amax(1)
        assert (context >= low[:, None] - 1e-6).all()
        assert (context <= high[:, None] + 1e-6).all()


def test_the_context_of_every_head_is_in_the_hull_of_its_values(query: Query, values: Tensor, mask: Tensor) -> None:
    attention = built("qkv", {"heads": 3})
    torch.nn.init.eye_(attention.score.multi_head.output_layer.weight)  # type: ignore[union-attr, arg-type]
    torch.nn.init.zeros_(attention.score.multi_head.output_layer.bias)  # type: ignore[union-attr, arg-type]
    memory = memory_of(attention, values, mask)
    context, _ = attention(query, memory)
    shown, projected = mask[..., None], memory.keys[..., A:]
    low, high = projected.masked_fill(~shown, math.inf).amin(1), projected.masked_fill(~shown, -math.inf).amax(1)
    assert (context[..., :A] >= low[:, None] - 1e-9).all()
    assert (context[..., :A] <= high[:, None] + 1e-9).all()


def test_permuted_queries_and_memory_permute_the_answer(
    variant: str, attention: Attention, query: Query, values: Tensor
) -> None:
    everything = torch.ones(B, S, dtype=torch.bool)
    queries, tokens = torch.randperm(Q), torch.randperm(S)
    if VARIANTS[variant][0] in BY_PLACE:
        tokens = torch.arange(S)  # these look at places, whatever stands there
    context, weights = attention(query, memory_of(attention, values, everything))
    permuted = Query(query.state[:, queries], query.embedding[:, queries], query.position[queries])
    context_p, weights_p = attention(permuted, memory_of(attention, values[:, tokens], everything))
    torch.testing.assert_close(context_p, context[:, queries], atol=1e-12, rtol=1e-9)
    torch.testing.assert_close(weights_p, weights[:, queries][:, :, tokens], atol=1e-12, rtol=1e-9)


def test_padding_changes_nothing(attention: Attention, query: Query, values: Tensor, mask: Tensor) -> None:
    context, weights = attention(query, memory_of(attention, values, mask))
    other = torch.where(mask[..., None], values, torch.full_like(values, 1e3))
    context_o, weights_o = attention(query, memory_of(attention, other, mask))
    assert torch.equal(weights, weights_o)
    assert torch.equal(context, context_o)


def test_no_two_mechanisms_are_the_same_function(query: Query, values: Tensor, mask: Tensor) -> None:
    results = {}
    for name, (score, choices) in VARIANTS.items():
        attention = built(score, choices)
        results[name] = attention(query, memory_of(attention, values, mask))[1]
    for a in results:
        for b in results:
            same = {a, b} == {"kernel", "kernel gaussian"}  # these differ in width only
            assert a == b or same or not torch.allclose(results[a], results[b], atol=1e-3), (a, b)


def test_without_attention_there_is_nothing_to_see(query: Query, values: Tensor, mask: Tensor) -> None:
    attention = of_score("none", {})
    context, weights = attention(query, memory_of(attention, values, mask))
    assert context.shape == weights.shape == (B, Q, 0)


def test_places_look_whatever_stands_there(query: Query, values: Tensor, mask: Tensor) -> None:
    for score in BY_PLACE:
        attention = built(score, {})
        _, weights = attention(query, memory_of(attention, values, mask))
        _, other = attention(query, memory_of(attention, torch.randn_like(values), mask))
        assert torch.equal(weights, other)
    _, by_word = attention(replace(query, embedding=query.embedding + 1), memory_of(attention, values, mask))
    assert not torch.allclose(by_word, weights)  # fc reads the last word, too


def test_one_head_with_identities_is_scaled_dot(query: Query, values: Tensor, mask: Tensor) -> None:
    plain = of_score("scaled_dot", {}).double()
    headed = of_score("qkv", {"size": M}).double()
    for parameter in headed.parameters():
        torch.nn.init.eye_(parameter) if parameter.dim() == 2 else torch.nn.init.zeros_(parameter)
    for found, expected in zip(
        headed(query, memory_of(headed, values, mask)), plain(query, memory_of(plain, values, mask)), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)


def test_normed_energies_depend_on_the_direction_of_v_only(query: Query, values: Tensor, mask: Tensor) -> None:
    attention = built("additive", {"normed": True})
    _, weights = attention(query, memory_of(attention, values, mask))
    with torch.no_grad():
        attention.score.energy.parametrizations.weight.original1.mul_(7.0)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(attention(query, memory_of(attention, values, mask))[1], weights)


def test_a_row_outside_a_compact_kernel_looks_at_all_alike(query: Query, values: Tensor, mask: Tensor) -> None:
    for kernel in ("boxcar", "epanechnikov"):
        attention = built("kernel", {"kernel": kernel, "width": 1e-4})
        shown = values.clone().requires_grad_()
        context, weights = attention(query, memory_of(attention, shown, mask))
        expected = mask / mask.sum(1, keepdim=True).double()
        torch.testing.assert_close(weights, expected[:, None].expand_as(weights))
        assert torch.isfinite(context).all()
        context.sum().backward()
        gradients = [shown.grad, *(parameter.grad for parameter in attention.parameters())]
        assert all(gradient is None or torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("window", ["none", "local-m"])
def test_a_boxcar_learns_from_soft_edges(query: Query, values: Tensor, mask: Tensor, window: str) -> None:
    """Weights are those of the box (other tests); their gradient is that of 1 / (1 + u⁴) + 0.1, normalised."""
    for width in (6.0, 1e-1):  # some keys are inside; none is
        sized = {} if window == "none" else {"window_size": 3.0}
        attention = built("kernel", {"kernel": "boxcar", "width": width, "window": window} | sized)
        parameters = dict(attention.named_parameters())
        wanted = torch.linspace(-1, 1, S, dtype=torch.float64)
        _, weights = attention(query, memory_of(attention, values, mask))
        found = torch.autograd.grad((weights * wanted).sum(), list(parameters.values()))
        total = torch.zeros((), dtype=torch.float64)
        for b in range(B):
            keys = values[b][mask[b]] @ parameters["score.key_layer.weight"].T
            for i, asked in enumerate(query.state[b] @ parameters["score.query_layer.weight"].T):
                u = ((asked - keys) ** 2).sum(-1).sqrt() / parameters["score.log_width"].exp()
                soft = 1 / (1 + u**4) + 0.1
                if window == "local-m":
                    away = (torch.arange(len(keys)) - min(i, len(keys) - 1)).abs()
                    soft = soft * torch.exp(-(away**2) / (2 * 1.5**2)) * (away <= 3)
                total = total + (soft / soft.sum() * wanted[: len(keys)]).sum()
        expected = torch.autograd.grad(total, list(parameters.values()))
        for gradient, by_hand in zip(found, expected, strict=True):
            assert by_hand.abs().max() > 1e-9
            torch.testing.assert_close(gradient, by_hand, atol=1e-8, rtol=1e-5)  # a window is float32


def test_squared_distances_on_apples_gpu_are_those_of_other_devices() -> None:
    queries = torch.randn(2, 3, 5, dtype=torch.float64, requires_grad=True)
    keys = torch.randn(2, 4, 5, dtype=torch.float64, requires_grad=True)
    ours, expected = sums_of_squares(queries, keys), squared_distances(queries, keys)
    torch.testing.assert_close(ours, expected)
    for found, wanted in zip(
        *(torch.autograd.grad(each.sin().sum(), [queries, keys]) for each in (ours, expected)), strict=True
    ):
        torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("kernel", ["gaussian", "boxcar", "epanechnikov"])
def test_the_width_of_a_kernel_is_learned_on_demand(kernel: str, query: Query, values: Tensor, mask: Tensor) -> None:
    learned = built("kernel", {"kernel": kernel, "width": 6.0})
    fixed = built("kernel", {"kernel": kernel, "width": 6.0, "learned_width": False})
    for attention in (learned, fixed):
        attention(query, memory_of(attention, values, mask))[0].pow(2).sum().backward()
        assert math.isclose(math.exp(attention.score.log_width.item()), 6.0, rel_tol=1e-6)  # type: ignore[operator, union-attr]
    assert learned.score.log_width.grad.abs() > 0  # type: ignore[union-attr, operator]
    assert fixed.score.log_width.grad is None  # type: ignore[union-attr]


@pytest.mark.parametrize("coverage", ["linguistic", "neural"])
@pytest.mark.parametrize("score", sorted(set(get_args(AttentionScore)) - {"none"}))
def test_coverage_moves_the_weights(score: str, coverage: str, query: Query, values: Tensor, mask: Tensor) -> None:
    attention = built(score, {"coverage": coverage, **({"coverage_size": 3} if coverage == "neural" else {})})
    tracker = attention.coverage
    assert tracker is not None
    memory = memory_of(attention, values, mask)
    nothing = tracker.start(memory)[:, None].expand(-1, Q, -1, -1)
    _, weights = attention(replace(query, coverage=nothing), memory)
    _, plain = attention(query, memory)
    torch.testing.assert_close(weights, plain, atol=1e-12, rtol=1e-9)  # nothing is covered yet
    covered = tracker.advance(nothing, weights, query.state, memory)
    assert covered.shape == (B, Q, S, 1 if coverage == "linguistic" else 3)
    _, moved = attention(replace(query, coverage=covered), memory)
    torch.testing.assert_close(moved.sum(-1), torch.ones(B, Q, dtype=torch.float64))
    assert not torch.allclose(moved, weights, atol=1e-4)
    for i in range(Q):  # one query alone gets what it gets beside the others
        alone = Query(
            query.state[:, i : i + 1], query.embedding[:, i : i + 1], query.position[:1], covered[:, i : i + 1]
        )
        torch.testing.assert_close(attention(alone, memory)[1][:, 0], moved[:, i])


def one_step_of_coverage(
    choices: dict[str, Any], query: Query, values: Tensor, mask: Tensor
) -> tuple[Coverage, Tensor, Tensor, Tensor]:
    """The tracker, made-up coverage and weights, and what it makes of them."""
    attention = built("additive", choices)
    tracker = attention.coverage
    assert tracker is not None
    before = torch.rand(B, Q, S, tracker.size, dtype=torch.float64)
    weights = torch.rand(B, Q, S, dtype=torch.float64)
    return tracker, before, weights, tracker.advance(before, weights, query.state, memory_of(attention, values, mask))


def test_linguistic_coverage_by_hand(query: Query, values: Tensor, mask: Tensor) -> None:
    tracker, before, weights, after = one_step_of_coverage({"coverage": "linguistic"}, query, values, mask)
    u = tracker.fertility.weight[0].tolist()  # type: ignore[union-attr]
    for b in range(B):
        for s in range(S):
            fertility = 2 / (1 + math.exp(-dot(u, values[b, s].tolist())))
            for i in range(Q):
                expected = float(before[b, i, s, 0]) + float(weights[b, i, s]) / fertility
                assert float(after[b, i, s, 0].detach()) == pytest.approx(expected, rel=1e-9)


def test_neural_coverage_is_a_gru_cell_of_weight_place_and_query(query: Query, values: Tensor, mask: Tensor) -> None:
    choices = {"coverage": "neural", "coverage_size": 3}
    tracker, before, weights, after = one_step_of_coverage(choices, query, values, mask)
    p = {name: parameter.detach() for name, parameter in tracker.cell.named_parameters()}  # type: ignore[union-attr]
    for b in range(B):
        for s in range(S):
            for i in range(Q):
                seen = torch.cat([weights[b, i, s][None], values[b, s], query.state[b, i]])
                old = before[b, i, s]
                read_r, read_z, read_n = (p["weight_ih"] @ seen + p["bias_ih"]).chunk(3)
                kept_r, kept_z, kept_n = (p["weight_hh"] @ old + p["bias_hh"]).chunk(3)
                z = torch.sigmoid(read_z + kept_z)
                new = torch.tanh(read_n + torch.sigmoid(read_r + kept_r) * kept_n)
                expected = (1 - z) * new + z * old if mask[b, s] else torch.zeros(3, dtype=torch.float64)
                torch.testing.assert_close(after[b, i, s].detach(), expected, atol=1e-12, rtol=1e-9)


def test_a_new_score_needs_energies_alone() -> None:
    class NegativeDistance(Score):
        def energies(self, query: Query, keys: Tensor) -> Tensor:
            return -torch.cdist(query.state, keys)

    attention = Attention(NegativeDistance(M, key_size=M), softmax, None, None)
    values = torch.randn(2, S, M)
    state = values[:, 3:4] + 1e-3
    query = Query(state, torch.zeros(2, 1, E), torch.zeros(1))
    _, weights = attention(query, memory_of(attention, values, torch.ones(2, S, dtype=torch.bool)))
    assert (weights.argmax(-1) == 3).all()
