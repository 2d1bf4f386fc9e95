"""Two passes over the same pairs that are made to agree: R-Drop and SimCut."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.config import Config, ConsistencyConfig, TrainingConfig
from nmt.data.batching import Batch, batch_of, positions_of
from nmt.data.prepare import load_corpora
from nmt.data.tokenizer import PAD
from nmt.model.build import build_model
from nmt.training.loss import label_smoothing, sequence_loss
from nmt.training.objective import LossWeights, Objective
from nmt.training.trainer import Trainer

RDROP = ConsistencyConfig(type="rdrop", weight=5.0)
SIMCUT = ConsistencyConfig(type="simcut", weight=3.0)


def plain(features: Tensor, targets: Tensor, mask: Tensor, output: nn.Module, e: float, kind: str) -> Tensor:
    """The papers' losses, with whole distributions and torch's own functions."""
    first, second = (output(one[mask]) for one in features.chunk(2))
    gold = [functional.cross_entropy(one, targets[mask], label_smoothing=e, reduction="sum") for one in (first, second)]
    log_p, log_q = first.log_softmax(-1), second.log_softmax(-1)
    p_to_q = functional.kl_div(log_q, log_p, log_target=True, reduction="sum")
    q_to_p = functional.kl_div(log_p, log_q, log_target=True, reduction="sum")
    if kind == "rdrop":
        return (gold[0] + gold[1] + 5.0 * (p_to_q + q_to_p) / 2) / 2
    return gold[0] + 3.0 * p_to_q


@pytest.mark.parametrize("consistency", [RDROP, SIMCUT], ids=["rdrop", "simcut"])
@pytest.mark.parametrize("at_once", [2, 6, 100])
def test_loss_and_gradients_are_those_of_the_papers(
    consistency: ConsistencyConfig, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmt.training.loss._TOKENS_AT_ONCE", at_once)
    monkeypatch.setattr("nmt.training.loss._SOFTMAX_AT_ONCE", 4)
    torch.manual_seed(1)
    output, features = nn.Linear(5, 7).double(), torch.randn(4, 6, 5, dtype=torch.float64)
    targets, mask = torch.randint(7, (2, 6)), torch.rand(2, 6) < 0.8
    found, wanted = features.clone().requires_grad_(), features.clone().requires_grad_()
    total = sequence_loss(found, targets, positions_of(mask), output, label_smoothing(0.1, output), consistency).total
    (total / 3).backward()
    fused = [found.grad, *(parameter.grad for parameter in output.parameters())]
    output.zero_grad()
    expected = plain(wanted, targets, mask, output, 0.1, consistency.type)
    (expected / 3).backward()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(fused, [wanted.grad, *(parameter.grad for parameter in output.parameters())])


@pytest.mark.parametrize("consistency", [RDROP, SIMCUT], ids=["rdrop", "simcut"])
def test_two_equal_passes_have_the_loss_of_one(consistency: ConsistencyConfig) -> None:
    torch.manual_seed(2)
    output, features = nn.Linear(5, 7).double(), torch.randn(2, 6, 5, dtype=torch.float64)
    targets, mask = torch.randint(7, (2, 6)), torch.rand(2, 6) < 0.8
    one = sequence_loss(features, targets, positions_of(mask), output, label_smoothing(0.1, output))
    two = sequence_loss(
        torch.cat([features, features]), targets, positions_of(mask), output, label_smoothing(0.1, output), consistency
    )
    torch.testing.assert_close(two, one)


def test_masked_smoothing_with_two_passes() -> None:
    torch.manual_seed(4)
    output, features = nn.Linear(5, 7).double(), torch.randn(4, 6, 5, dtype=torch.float64)
    targets, mask = torch.randint(7, (2, 6)), torch.rand(2, 6) < 0.8
    smoothing = label_smoothing(0.1, output, torch.arange(7) % 2 == 0)
    found = sequence_loss(features, targets, positions_of(mask), output, smoothing, SIMCUT)
    log_probs = output(features[:2][mask]).log_softmax(-1)
    wanted = 0.9 * functional.one_hot(targets[mask], 7) + 0.025 * (torch.arange(7) % 2 == 0)
    torch.testing.assert_close(found.loss, -(wanted * log_probs).sum())


def pairs() -> Batch:
    return batch_of([([5, 6, 7, 8] * 50, [9, 10] * 50), ([11], [12])])


def test_the_second_half_of_a_doubled_batch_has_cut_tokens_and_the_first_has_none() -> None:
    torch.manual_seed(3)
    batch, doubled = pairs(), pairs().twice(cut=0.3)
    for name in ("src_ids", "tgt_in", "src_mask", "tgt_out", "tgt_mask", "src_lengths"):
        assert torch.equal(getattr(doubled, name)[:2], getattr(batch, name))
    for name in ("src_mask", "tgt_out", "tgt_mask", "src_lengths"):
        assert torch.equal(getattr(doubled, name)[2:], getattr(batch, name))
    for name, mask in (("src_ids", batch.src_mask), ("tgt_in", batch.tgt_mask)):
        whole, cut = getattr(batch, name), getattr(doubled, name)[2:]
        share = (cut[mask] == PAD).double().mean().item()
        assert share == pytest.approx(0.3, abs=0.1)
        assert torch.equal(cut[cut != PAD], whole[cut != PAD])


class Recorder(nn.Module):
    """A model that notes how many rows it is given, and attends to one position."""

    def __init__(self) -> None:
        super().__init__()
        self.output, self.rows = nn.Linear(4, 13), 0

    def forward(self, batch: Batch, _: float, need_weights: bool) -> tuple[Tensor, Tensor]:
        self.rows = len(batch.src_ids)
        weights = torch.zeros(*batch.tgt_in.shape, batch.src_ids.shape[1])
        weights[len(batch.src_ids) // 2 :, :, 0] = 1.0  # a guided loss over the second pass would see these
        return torch.ones(*batch.tgt_in.shape, 4), weights + 1.0


@pytest.mark.parametrize(("kind", "rows"), [("none", 2), ("rdrop", 4), ("simcut", 4)])
def test_only_the_first_pass_is_guided(kind: Any, rows: int) -> None:
    model = Recorder()
    batch = pairs()
    guide = torch.zeros(*batch.tgt_in.shape, batch.src_ids.shape[1])
    guide[0, 0, 3] = 1.0
    batch = Batch(**{**vars(batch), "guide": guide})
    config = TrainingConfig(consistency=ConsistencyConfig(type=kind))
    sums = Objective(model, config, "squared")(batch, LossWeights(guided=1.0))  # type: ignore[arg-type]
    assert model.rows == rows
    if kind != "none":  # weights of 1 everywhere: half of 0 on the link, 1 on the other 199 positions
        assert (sums.total - sums.loss).item() == pytest.approx(199 / 2, abs=1e-3)


@pytest.mark.parametrize("tied", ["none", "all"])
def test_a_cut_token_stays_a_vector_of_zeros(make_config: Callable[..., Config], tied: str) -> None:
    training = {"consistency": {"type": "simcut", "cut": 0.3}, "optimizer": {"lr": 0.05}}
    config = make_config(model={"tie_embeddings": tied}, training=training)
    model = build_model(config, 20, 20)
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    with torch.no_grad():
        embeddings[0].weight[PAD] = 1.0  # as in a model that was trained before
    objective = Objective(model, config.training, None)
    optimizer = torch.optim.Adam(model.parameters(), 0.05)
    batch = batch_of([([5, 6, 7], [8, 9]), ([6, 7], [9])])
    before = embeddings[0].weight.detach().clone()
    for _ in range(3):
        objective(batch, LossWeights()).total.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert not any(module.weight[PAD].any() for module in embeddings)
    assert not torch.equal(embeddings[0].weight, before)


def test_cut_tokens_stay_zero_when_the_weights_are_replaced(make_config: Callable[..., Config]) -> None:
    training = {"epochs": 1, "consistency": {"type": "simcut"}}
    config = make_config(model={"tie_embeddings": "all"}, training=training)
    corpora = load_corpora(config)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size)
    trainer = Trainer(config.training, 1, model, torch.device("cpu"), torch.float32, lambda _: corpora.train)
    with torch.no_grad():
        model.src_embedding.weight.fill_(1.0)  # as `--init-from` does
    assert len(list(trainer.updates())) > 0
    assert not model.src_embedding.weight[PAD].any()
    assert model.src_embedding.weight[PAD + 1 :].any(dim=1).all()
