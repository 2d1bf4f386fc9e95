"""Local attention: a window on the source."""

import math

import pytest
import torch
from torch import Tensor

from nmt.model.attention.query import Query
from tests.attentions import B, Q, S, dot, memory_of, times, window_by_hand
from tests.unit.test_attention import built


@pytest.mark.parametrize("score", ["general", "qkv"])
@pytest.mark.parametrize("kind", ["local-m", "local-p"])
def test_a_window_multiplies_a_gaussian_in(kind: str, score: str, query: Query, values: Tensor, mask: Tensor) -> None:
    local = built(score, {"window": kind, "window_size": 2.0})
    everywhere = built(score, {})
    everywhere.load_state_dict({k: v for k, v in local.state_dict().items() if not k.startswith("window")})
    memory = memory_of(everywhere, values, mask)
    _, weights = everywhere(query, memory)
    _, found = local(query, memory)
    for b in range(B):
        last = int(mask[b].sum()) - 1
        for i in range(Q):
            centre = float(min(i, last))
            if kind == "local-p":
                p = {name: parameter.detach() for name, parameter in local.named_parameters()}
                hidden = [math.tanh(x) for x in times(p["window.hidden_layer.weight"], query.state[b, i].tolist())]
                centre = last / (1 + math.exp(-dot(p["window.centre_layer.weight"][0].tolist(), hidden)))
            expected = window_by_hand(centre, 2.0, weights[b, i, : last + 1].tolist())
            torch.testing.assert_close(
                found[b, i, : last + 1], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=1e-5
            )


@pytest.mark.parametrize("kind", ["local-m", "local-p"])
def test_a_window_whose_words_are_hidden_looks_at_the_others(kind: str, query: Query, values: Tensor) -> None:
    local = built("general", {"window": kind, "window_size": 1.0})
    visible = torch.zeros(B, S, dtype=torch.bool)
    visible[:, -1] = True  # the window of the first query is far away
    _, weights = local(query, memory_of(local, values, visible))
    torch.testing.assert_close(weights[:, :, -1], torch.ones_like(weights[:, :, -1]))
    assert not weights[:, :, :-1].any()


@pytest.mark.parametrize("kind", ["local-m", "local-p"])
def test_hidden_words_do_not_move_the_window(kind: str, query: Query, values: Tensor) -> None:
    local = built("general", {"window": kind, "window_size": 9.0})
    memory = memory_of(local, values, torch.ones(B, S, dtype=torch.bool))
    hidden = torch.zeros(B, S, dtype=torch.bool)
    hidden[:, -2:] = True
    _, before = local(query, memory)
    _, after = local(query, memory.without(hidden))
    left = before[..., :-2]
    torch.testing.assert_close(after[..., :-2], left / left.sum(dim=-1, keepdim=True), atol=1e-6, rtol=1e-5)
