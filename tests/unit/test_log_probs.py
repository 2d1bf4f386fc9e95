"""The faster forms of log-softmax and of top-k give what torch's own give."""

import pytest
import torch

from nmt.decoding.search import _best
from nmt.model.log_probs import log_probs_


@pytest.mark.parametrize("rows", [1, 300])
def test_log_probabilities_are_torchs(rows: int) -> None:
    logits = 30 * torch.randn(rows, 50, generator=torch.Generator().manual_seed(1))
    logits[0, 7] = 500.0  # all others then have probability 0 in float32, but a finite logarithm
    expected = logits.double().log_softmax(dim=-1)
    torch.testing.assert_close(log_probs_(logits).double(), expected, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("width", [5, 64, 447, 448, 1000])
def test_the_best_are_torchs_and_in_order(width: int) -> None:
    values = torch.randn(20, width, generator=torch.Generator().manual_seed(width))
    values[0, : width - 3] = -torch.inf  # hardly anything allowed
    values[1] = values[1].sort().values  # the best are all in the last, incomplete block
    values[2] = values[2].sort(descending=True).values  # all in the first
    found, places = _best(values, 5)
    expected, expected_places = values.topk(5)
    assert torch.equal(found, expected)
    finite = expected > -torch.inf
    assert torch.equal(places[finite], expected_places[finite])
    assert torch.equal(values.gather(1, places), found)
