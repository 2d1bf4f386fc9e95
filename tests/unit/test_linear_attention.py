"""Linear attention, as a sum over keys and as a recurrent network with fast weights."""

import math

import torch

from nmt.model.transformer.linear_attention import causal_linear_attention, fast_weights_step, linear_attention

B, S, E = 2, 5, 8
MASK = torch.arange(S) < torch.tensor([[5], [3]])


def elu_plus_one(value: float) -> float:
    return value + 1 if value > 0 else math.exp(value)


def test_linear_attention_by_a_slow_loop() -> None:
    torch.manual_seed(3)
    q, k, v = (torch.randn(B, S, 4, dtype=torch.float64) for _ in range(3))
    found, causal = linear_attention(q, k, v, MASK), causal_linear_attention(q, k, v)
    for b in range(B):
        for i in range(S):
            for result, seen in ((found, range(int(MASK[b].sum()))), (causal, range(i + 1))):
                weights = [
                    sum(elu_plus_one(float(q[b, i, d])) * elu_plus_one(float(k[b, j, d])) for d in range(4))
                    for j in seen
                ]
                expected = [
                    sum(w * float(v[b, j, d]) for w, j in zip(weights, seen, strict=True)) / sum(weights)
                    for d in range(4)
                ]
                torch.testing.assert_close(result[b, i], torch.tensor(expected, dtype=torch.float64))


def test_linear_attention_of_small_features_is_exact_and_of_none_is_a_number() -> None:
    torch.manual_seed(5)
    q, k, v = (torch.randn(1, S, 4, dtype=torch.float64) for _ in range(3))
    everything = torch.ones(1, S, dtype=torch.bool)
    exact = linear_attention(q - 20, k, v, everything), causal_linear_attention(q - 20, k, v)
    single = (
        linear_attention(q.float() - 20, k.float(), v.float(), everything),
        causal_linear_attention(q.float() - 20, k.float(), v.float()),
    )
    for found, expected in zip(single, exact, strict=True):
        torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-4)
    for nothing in (
        linear_attention(q.float() - 200, k.float(), v.float(), everything),
        causal_linear_attention(q.float() - 200, k.float(), v.float()),
    ):
        assert nothing.isfinite().all()


def test_linear_attention_as_a_recurrent_network_is_its_parallel_form() -> None:
    torch.manual_seed(4)
    q, k, v = (torch.randn(B, 3, S, 4, dtype=torch.float64) for _ in range(3))
    parallel = causal_linear_attention(q, k, v)
    state = torch.zeros(B, 3, 4, 5, dtype=torch.float64)
    for t in range(S):
        step, state = fast_weights_step(q[:, :, t], k[:, :, t], v[:, :, t], state)
        torch.testing.assert_close(step, parallel[:, :, t], atol=1e-12, rtol=1e-9)
    everything = torch.ones(B, 1, S, dtype=torch.bool)  # the last state has seen all keys
    torch.testing.assert_close(linear_attention(q, k, v, everything)[:, :, -1], parallel[:, :, -1])


def test_linear_attention_is_float32_under_autocast() -> None:
    ones = torch.ones(1, 300, 8)
    values = torch.full((1, 300, 8), 1.00390625)  # bfloat16 would round it to 1
    with torch.autocast("cpu", torch.bfloat16):
        found = linear_attention(ones, ones, values, torch.ones(1, 300, dtype=torch.bool))
        causal = causal_linear_attention(ones, ones, values)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, values)
    torch.testing.assert_close(causal, values)
