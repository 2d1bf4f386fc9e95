import math

import pytest
import torch

from nmt.model.coverage import coverage_loss
from nmt.training.loss import sequence_loss

LOGITS = torch.tensor([[[2.0, 0.0, -1.0], [0.5, 1.5, 0.0], [9.0, 9.0, 9.0]]])
TARGETS = torch.tensor([[0, 2, 0]])
MASK = torch.tensor([[True, True, False]])


def by_hand(smoothing: float) -> tuple[float, float]:
    loss = nll = 0.0
    for row, target in (([2.0, 0.0, -1.0], 0), ([0.5, 1.5, 0.0], 2)):
        total = math.log(sum(math.exp(x) for x in row))
        log_probs = [x - total for x in row]
        wanted = [smoothing / 3 + (1 - smoothing) * (i == target) for i in range(3)]
        loss -= sum(w * p for w, p in zip(wanted, log_probs, strict=True))
        nll -= log_probs[target]
    return loss, nll


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_loss_and_likelihood_by_hand(smoothing: float) -> None:
    loss, nll = sequence_loss(LOGITS, TARGETS, MASK, lambda features: features, smoothing)
    assert (float(loss), float(nll)) == pytest.approx(by_hand(smoothing), abs=1e-5)


def test_padding_has_neither_loss_nor_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss, _ = sequence_loss(logits, TARGETS, MASK, lambda features: features, 0.1)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[0, 2].any()
    assert logits.grad[0, :2].any()


def test_coverage_loss_by_hand() -> None:
    weights = torch.tensor([[[1.0, 0.0], [0.75, 0.25], [0.5, 0.5]], [[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    # first: 0, then min(.75, 1) + min(.25, 0), then min(.5, 1.75) + min(.5, .25); second: 0, then min(1, .5)
    assert float(coverage_loss(weights, mask)) == pytest.approx(0.75 + 0.75 + 0.5)
    assert float(coverage_loss(torch.eye(3)[None], torch.ones(1, 3, dtype=torch.bool))) == 0.0
