"""Several models speak as one: every part against the mean by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nmt.data.batching import Batch, batch_of
from nmt.decoding import ensemble as module
from nmt.decoding.ensemble import Ensemble
from nmt.model.seq2seq import Seq2Seq

MakeModel = Callable[..., Seq2Seq]
STACK = {"type": "self_attention", "layers": 1, "heads": 2, "feed_forward": 20}


@pytest.fixture
def models(make_model: MakeModel) -> list[Seq2Seq]:
    recurrent, stack = make_model(), make_model(encoder=STACK | {"positions": "learned", "max_positions": 200})
    fixed = make_model(attention={"score": "none"})
    return [recurrent, stack, fixed]


@pytest.fixture
def batch() -> Batch:
    return batch_of([([5, 6, 7, 8], [9, 10, 11]), ([9, 10], [12])])


def test_a_step_is_the_mean_of_the_models_steps(models: list[Seq2Seq], batch: Batch) -> None:
    ensemble, tokens = Ensemble(models), torch.tensor([2, 4])
    memory = ensemble.encode(batch)
    assert torch.equal(memory.src_mask, batch.src_mask)
    log_probs, weights, state = ensemble.step(tokens, ensemble.start(memory), memory)
    own = []
    for model in models:
        encoded = model.encode(batch)
        own.append(model.step(tokens, model.start(encoded), encoded))
    torch.testing.assert_close(log_probs, (own[0][0] + own[1][0] + own[2][0]) / 3)
    torch.testing.assert_close(weights, (own[0][1] + own[1][1]) / 2)  # the fixed vector has none
    swapped = torch.tensor([1, 0])
    again = ensemble.step(tokens, state.select(swapped), memory.select(swapped))
    plain = ensemble.step(tokens.flip(0), state, memory)
    torch.testing.assert_close(again[0], plain[0].flip(0))


def test_forced_scores_are_means(models: list[Seq2Seq], batch: Batch) -> None:
    ensemble = Ensemble(models)
    log_probs, weights = ensemble.forced(batch)
    own = [model.forced(batch) for model in models]
    torch.testing.assert_close(log_probs, sum(each[0] for each in own) / 3)
    torch.testing.assert_close(weights, (own[0][1] + own[1][1]) / 2)


def test_a_hidden_token_is_hidden_from_every_model(models: list[Seq2Seq], batch: Batch) -> None:
    ensemble = Ensemble(models[:2])
    hidden = torch.tensor([[False, True, False, False], [True, False, False, False]])
    memory = ensemble.encode(batch).without(hidden)
    _, weights, _ = ensemble.step(torch.tensor([2, 2]), ensemble.start(memory), memory)
    assert (weights[hidden] == 0).all()


def test_the_shortest_limit_counts(models: list[Seq2Seq]) -> None:
    assert models[0].max_src_length is None
    assert Ensemble(models).max_src_length == models[1].max_src_length
    assert Ensemble([models[0]]).max_src_length is None
    assert Ensemble(models).max_tgt_length is None


def test_what_the_matrix_is_read_from_names_every_model(models: list[Seq2Seq]) -> None:
    assert Ensemble(models[:2]).read_from == f"mean of {models[0].read_from}; {models[1].read_from}"
    assert Ensemble(models[:2], [None, "predicts"]).read_from == f"mean of {models[1].read_from}"
    assert Ensemble(models[:2], [None, None]).read_from == f"mean of {models[0].read_from}; {models[1].read_from}"


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_the_normalised_mean_is_a_distribution(
    monkeypatch: pytest.MonkeyPatch, models: list[Seq2Seq], batch: Batch, at_once: int
) -> None:
    monkeypatch.setattr(module, "TOKENS_AT_ONCE", at_once)
    found = Ensemble(models).normalised(batch)
    logits = [model.project(model(batch, need_weights=False)[0]).double() for model in models]
    mean = sum(each.log_softmax(dim=-1) for each in logits) / 3
    expected = mean - mean.exp().sum(dim=-1, keepdim=True).log()
    gold = expected.gather(-1, batch.tgt_out[..., None]).squeeze(-1) * batch.tgt_mask
    torch.testing.assert_close(found.double(), gold, atol=1e-5, rtol=1e-5)
    assert (found[~batch.tgt_mask] == 0).all()


def test_weights_of_another_step_are_left_out(models: list[Seq2Seq], batch: Batch) -> None:
    tokens = torch.tensor([2, 4])

    def weights(ensemble: Ensemble) -> Tensor:
        memory = ensemble.encode(batch)
        return ensemble.step(tokens, ensemble.start(memory), memory)[1]

    first, second = (weights(Ensemble([model])) for model in models[:2])
    torch.testing.assert_close(weights(Ensemble(models[:2], ["input", "input"])), (first + second) / 2)
    mixed = Ensemble(models[:2], ["input", "predicts"])
    torch.testing.assert_close(weights(mixed), first)
    assert mixed.read_from == f"mean of {models[0].read_from}"
    torch.testing.assert_close(weights(Ensemble(models[:2], [None, "predicts"])), (first + second) / 2)
