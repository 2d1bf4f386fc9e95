"""Attentions of every kind in sizes for tests, and their formulas with loops and lists of numbers."""

import math
from typing import Any, get_args

import torch
from torch import Tensor

from nmt.config import AttentionConfig, AttentionScore
from nmt.model.attention.base import Attention
from nmt.model.attention.query import Query
from nmt.model.build import build_attention
from nmt.model.memory import Memory

B, Q, S, H, M, A, E = 3, 4, 6, 8, 8, 6, 5
SIZED = ("additive", "concat", "qkv", "kernel")


def of_score(score: str, choices: dict[str, Any]) -> Attention:
    """An attention of the sizes above; options that are not the score's own stay out of its configuration."""
    sizes: dict[str, Any] = {"size": A} if score in SIZED else {}
    if score in ("location", "fc"):
        sizes["max_src_length"] = 7
    return build_attention(AttentionConfig.model_validate({"score": score, **sizes, **choices}), H, M, E)


def memory_of(attention: Attention, values: Tensor, mask: Tensor) -> Memory:
    nothing = values.new_zeros(1, len(values), values.shape[-1])
    keys = attention.keys(values)
    return Memory(values=values, mask=mask, src_mask=mask, keys=keys, hidden=nothing, cell=nothing)


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{score: (score, {}) for score in get_args(AttentionScore) if score != "none"},
    "additive normed": ("additive", {"normed": True}),
    "qkv in 3 heads": ("qkv", {"heads": 3}),
    "kernel boxcar": ("kernel", {"kernel": "boxcar", "width": 6.0}),
    "kernel epanechnikov": ("kernel", {"kernel": "epanechnikov", "width": 6.0}),
    "kernel constant": ("kernel", {"kernel": "constant"}),
    "kernel gaussian": ("kernel", {"width": 3.0}),
}
BY_PLACE = ("location", "fc")

Vector = list[float]


def times(matrix: Tensor, vector: Vector) -> Vector:
    return [sum(w * x for w, x in zip(row, vector, strict=True)) for row in matrix.tolist()]


def dot(a: Vector, b: Vector) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def plus(a: Vector, b: Vector) -> Vector:
    return [x + y for x, y in zip(a, b, strict=True)]


def energies_by_hand(
    score: str, choices: dict[str, Any], p: dict[str, Tensor], q: Vector, word: Vector, ks: Any
) -> Any:
    """The energies of one query over its real places, with Python's own arithmetic; for qkv one list for each head."""
    if score == "dot":
        return [dot(q, k) for k in ks]
    if score == "scaled_dot":
        return [dot(q, k) / math.sqrt(M) for k in ks]
    if score == "general":
        return [dot(q, times(p["key_layer.weight"], k)) for k in ks]
    if score == "additive":
        if choices.get("normed"):
            direction = p["energy.parametrizations.weight.original1"][0].tolist()
            length = float(p["energy.parametrizations.weight.original0"])
            v = [length * x / math.sqrt(dot(direction, direction)) for x in direction]
            bias = p["query_layer.bias"].tolist()
        else:
            v, bias = p["energy.weight"][0].tolist(), [0.0] * A
        asked = plus(times(p["query_layer.weight"], q), bias)
        return [dot(v, [math.tanh(x) for x in plus(asked, times(p["key_layer.weight"], k))]) for k in ks]
    if score == "concat":
        inside = [plus(times(p["layer.weight"], q + k), p["layer.bias"].tolist()) for k in ks]
        return [dot(p["energy.weight"][0].tolist(), [math.tanh(x) for x in hidden]) for hidden in inside]
    if score in BY_PLACE:
        asked = q if score == "location" else word + q
        return plus(times(p["layer.weight"], asked), p["layer.bias"].tolist())[: len(ks)]
    if score == "kernel":
        asked = times(p["query_layer.weight"], q)
        u = [math.dist(asked, times(p["key_layer.weight"], k)) / math.exp(float(p["log_width"])) for k in ks]
        k_of_u = {
            "gaussian": lambda x: math.exp(-x * x / 2),
            "boxcar": lambda x: float(x < 1),
            "epanechnikov": lambda x: max(0.0, 1 - x * x),
            "constant": lambda x: 1.0,
        }[choices.get("kernel", "gaussian")]
        weights = [k_of_u(x) for x in u]
        return [math.log(w) if w else -math.inf for w in weights] if sum(weights) else [0.0] * len(ks)
    assert score == "qkv"
    heads = choices.get("heads", 1)
    size = A // heads
    asked = plus(times(p["multi_head.query_layer.weight"], q), p["multi_head.query_layer.bias"].tolist())
    keys = [plus(times(p["multi_head.key_layer.weight"], k), p["multi_head.key_layer.bias"].tolist()) for k in ks]
    parts = [slice(head * size, (head + 1) * size) for head in range(heads)]
    return [[dot(asked[part], key[part]) / math.sqrt(size) for key in keys] for part in parts]


def softmax_by_hand(energies: Vector) -> Vector:
    top = max(energies)
    total = sum(math.exp(e - top) for e in energies)
    return [math.exp(e - top) / total for e in energies]


def weighted_sum(weights: Vector, vectors: list[Vector]) -> Vector:
    return [sum(w * vector[i] for w, vector in zip(weights, vectors, strict=True)) for i in range(len(vectors[0]))]


def close(found: Tensor, expected: Vector) -> None:
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64), atol=1e-11, rtol=1e-9)


def window_by_hand(centre: float, size: float, weights: Vector) -> Vector:
    shaped = [
        w * math.exp(-((s - centre) ** 2) / (2 * (size / 2) ** 2)) if abs(s - centre) <= size else 0.0
        for s, w in enumerate(weights)
    ]
    return [w / sum(shaped) for w in shaped]


def random_query(count: int = Q) -> Query:
    generator = torch.Generator().manual_seed(4)
    state = torch.randn(B, count, H, generator=generator, dtype=torch.float64)
    return Query(state, torch.randn(B, count, E, generator=generator, dtype=torch.float64), torch.arange(count))
