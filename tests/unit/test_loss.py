import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from nmt.data.batching import positions_of
from nmt.training.loss import coverage_loss, label_smoothing, sequence_loss

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


def uniform(smoothing: float, size: int) -> torch.Tensor:
    return torch.full((size,), smoothing / size, dtype=torch.float64)


def identity() -> nn.Linear:
    """An output layer that takes three features for the logits."""
    layer = nn.Linear(3, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.eye(3))
        layer.bias.zero_()
    return layer


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_loss_and_likelihood_by_hand(smoothing: float) -> None:
    loss, _, nll = sequence_loss(LOGITS, TARGETS, positions_of(MASK), identity(), uniform(smoothing, 3))
    assert (loss.item(), nll.item()) == pytest.approx(by_hand(smoothing), abs=1e-5)


def test_masked_smoothing_leaves_out_the_other_pieces_by_hand() -> None:
    smoothing = label_smoothing(0.2, identity(), torch.tensor([True, False, True]))
    assert smoothing.tolist() == pytest.approx([0.1, 0.0, 0.1])
    logits = LOGITS.clone().requires_grad_()
    total, loss, nll = sequence_loss(logits, TARGETS, positions_of(MASK), identity(), smoothing)
    expected, gradients = 0.0, []
    for row, wanted in (([2.0, 0.0, -1.0], [0.9, 0.0, 0.1]), ([0.5, 1.5, 0.0], [0.1, 0.0, 0.9])):
        partition = sum(math.exp(x) for x in row)
        expected -= sum(w * (x - math.log(partition)) for w, x in zip(wanted, row, strict=True))
        gradients.append([math.exp(x) / partition - w for w, x in zip(wanted, row, strict=True)])
    assert (loss.item(), nll.item()) == pytest.approx((expected, by_hand(0.0)[1]), abs=1e-5)
    total.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0, :2], torch.tensor(gradients))


def test_padding_has_neither_loss_nor_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    loss, *_ = sequence_loss(logits, TARGETS, positions_of(MASK), identity(), uniform(0.1, 3))
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[0, 2].any()
    assert logits.grad[0, :2].any()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_the_fused_loss_is_the_plain_one(smoothing: float, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.training.loss._TOKENS_AT_ONCE", at_once)
    monkeypatch.setattr("nmt.training.loss._SOFTMAX_AT_ONCE", 3)
    torch.manual_seed(1)
    output, features = nn.Linear(5, 7).double(), torch.randn(2, 6, 5, dtype=torch.float64)
    targets, mask = torch.randint(7, (2, 6)), torch.rand(2, 6) < 0.8
    found, wanted = features.clone().requires_grad_(), features.clone().requires_grad_()
    loss, _, nll = sequence_loss(found, targets, positions_of(mask), output, uniform(smoothing, 7))
    (loss / 3).backward()
    fused = [found.grad, *(parameter.grad for parameter in output.parameters())]
    output.zero_grad()
    logits = output(wanted[mask])
    plain = functional.cross_entropy(logits, targets[mask], label_smoothing=smoothing, reduction="sum")
    (plain / 3).backward()
    torch.testing.assert_close(loss, plain)
    torch.testing.assert_close(nll, functional.cross_entropy(logits, targets[mask], reduction="sum"))
    torch.testing.assert_close(fused, [wanted.grad, *(parameter.grad for parameter in output.parameters())])


def test_gradients_of_the_fused_loss_are_those_of_differences() -> None:
    torch.manual_seed(2)
    output, features = nn.Linear(4, 6).double(), torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    targets, mask = torch.tensor([[0, 5, 2]]), torch.ones(1, 3, dtype=torch.bool)

    def loss(features: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return sequence_loss(features, targets, positions_of(mask), output, uniform(0.1, 6))[0]

    assert torch.autograd.gradcheck(loss, (features, output.weight, output.bias))


def test_a_token_that_seemed_impossible_costs_what_its_logit_says() -> None:
    loss, _, nll = sequence_loss(
        torch.tensor([[[0.0, 200.0, 0.0]]]), TARGETS[:, :1], positions_of(MASK[:, :1]), identity(), uniform(0.0, 3)
    )
    assert (loss.item(), nll.item()) == (200.0, 200.0)


def test_in_bfloat16_the_loss_is_near_and_the_gradients_are_in_float32() -> None:
    torch.manual_seed(3)
    output, features = nn.Linear(16, 50), torch.randn(2, 9, 16, requires_grad=True)
    targets, mask = torch.randint(50, (2, 9)), torch.ones(2, 9, dtype=torch.bool)
    exact, *_ = sequence_loss(features, targets, positions_of(mask), output, uniform(0.1, 50))
    with torch.autocast("cpu", torch.bfloat16):
        loss, *_ = sequence_loss(features, targets, positions_of(mask), output, uniform(0.1, 50))
    loss.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=1e-2)
    assert features.grad is not None
    assert output.weight.grad is not None
    assert (loss.dtype, features.grad.dtype, output.weight.grad.dtype) == (torch.float32,) * 3


def test_autocast_changes_the_products_alone() -> None:
    """The loss of logits that bfloat16 holds exactly is the same with and without autocast."""
    features, output = LOGITS - 8.0, identity()
    smoothing = uniform(0.1, 3)
    exact, *_ = sequence_loss(features, TARGETS, positions_of(MASK), output, smoothing)
    with torch.autocast("cpu", torch.bfloat16):
        loss, *_ = sequence_loss(features, TARGETS, positions_of(MASK), output, smoothing)
    torch.testing.assert_close(loss, exact, rtol=0.0, atol=1e-5)


def test_coverage_loss_by_hand() -> None:
    weights = torch.tensor([[[1.0, 0.0], [0.75, 0.25], [0.5, 0.5]], [[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]]])
    mask = torch.tensor([[True, True, True], [True, True, False]])
    # first: 0, then min(.75, 1) + min(.25, 0), then min(.5, 1.75) + min(.5, .25); second: 0, then min(1, .5)
    assert float(coverage_loss(weights, mask)) == pytest.approx(0.75 + 0.75 + 0.5)
    assert float(coverage_loss(torch.eye(3)[None], torch.ones(1, 3, dtype=torch.bool))) == 0.0
