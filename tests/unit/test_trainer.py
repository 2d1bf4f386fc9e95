import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmt.config import Config
from nmt.data.cache import cached_table
from nmt.data.dataset import PieceCorpus
from nmt.data.tokenizer import EOS
from nmt.errors import TrainingError
from nmt.model.build import build_model
from nmt.model.memory import Memory
from nmt.model.rnn.decoder import RNNDecoder
from nmt.training.corpus_loss import corpus_loss
from nmt.training.loss import LossSums, coverage_loss
from nmt.training.trainer import Trainer
from tests.reads import Reads
from tests.variants import MODELS

CPU = torch.device("cpu")


@pytest.fixture
def corpus(tmp_path: Path) -> PieceCorpus:
    rows: Iterator[dict[str, Any]] = (
        {"src_ids": [5 + i % 7] * (1 + i % 4), "tgt_ids": [5 + i % 7, 6 + i % 5]} for i in range(24)
    )
    return PieceCorpus(cached_table(tmp_path / "c.arrow", {"src_ids": ["int32"], "tgt_ids": ["int32"]}, rows), 20)


def trainer_of(config: Config, corpus: PieceCorpus) -> Trainer:
    torch.manual_seed(1)
    return Trainer(config.training, 1, build_model(config, 20, 20), CPU, torch.float32, lambda epoch: corpus)


NO_DROPOUT = {"dropout": {"embedding": 0.0, "layers": 0.0, "memory": 0.0, "output": 0.0}}


def test_the_loop_yields_after_every_update_and_ends_epochs(
    make_config: Callable[..., Config], corpus: PieceCorpus
) -> None:
    updates = list(trainer_of(make_config(training={"batch_size": 5, "epochs": 3}), corpus).updates())
    assert [update.number for update in updates] == list(range(1, 16))
    assert [update.number for update in updates if update.ends_epoch] == [5, 10, 15]
    assert {sum(u.tgt_tokens for u in updates if u.epoch == epoch) for epoch in (1, 2, 3)} == {24 * 3}


def test_training_learns(make_config: Callable[..., Config], corpus: PieceCorpus) -> None:
    training = {"epochs": 60, "batch_size": 8, "optimizer": {"lr": 0.01}, "label_smoothing": 0.0}
    trainer = trainer_of(make_config(model=NO_DROPOUT, training=training), corpus)
    losses = [update.nll for update in trainer.updates()]
    assert losses[0] > 2.5
    assert losses[-1] < 0.8
    assert corpus_loss(trainer.model, corpus.in_order(), CPU, trainer.objective.smoothing).nll < 0.8


def plain_lstm_cell(cell: Tensor, *gates: Tensor) -> tuple[Tensor, Tensor]:
    i, f, g, o = torch.stack(gates).sum(0).chunk(4, dim=-1)
    new_cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
    return o.sigmoid() * new_cell.tanh(), new_cell


def plain_loss(
    features: Tensor, tgt_out: Tensor, positions: Tensor, output: nn.Module, smoothing: Tensor, consistency: None = None
) -> LossSums:
    log_probs = output(features.flatten(0, 1)[positions]).log_softmax(-1)
    nll = -log_probs.gather(1, tgt_out.flatten()[positions][:, None]).sum()
    e = smoothing.sum()
    loss = (1 - e) * nll - e * log_probs.mean(-1).sum()
    return LossSums(loss, loss.detach(), nll.detach())


def plain_unroll(self: RNNDecoder, tgt_in: Tensor, memory: Memory, need_weights: bool = True) -> tuple[Tensor, Tensor]:
    state, steps = self.start(memory), []
    for tokens in tgt_in.unbind(1):
        features, weights, state = self.step(tokens, state, memory)
        steps.append((features, weights))
    return torch.stack([f for f, _ in steps], dim=1), torch.stack([w for _, w in steps], dim=1)


@pytest.mark.parametrize("wiring", ["luong", "bahdanau"])
def test_the_fast_path_in_bfloat16_learns_what_the_plain_loop_in_float32_does(
    make_config: Callable[..., Config], corpus: PieceCorpus, monkeypatch: pytest.MonkeyPatch, wiring: str
) -> None:
    sizes = {"embedding_size": 32, "encoder": {"hidden_size": 32}, "decoder": {"hidden_size": 64}}
    model = NO_DROPOUT | sizes | {"decoder": {"hidden_size": 64, "wiring": wiring, "input_feeding": True}}
    config = make_config(model=model, training={"epochs": 10, "batch_size": 8, "optimizer": {"lr": 3e-3}})
    fast = trainer_of(config, corpus)
    fast.precision = torch.bfloat16
    losses = [update.loss for update in fast.updates()]
    monkeypatch.setattr("nmt.model.rnn.decoder.lstm_cell", plain_lstm_cell)
    monkeypatch.setattr("nmt.training.objective.sequence_loss", plain_loss)
    monkeypatch.setattr(RNNDecoder, "unroll", plain_unroll)
    plain = [update.loss for update in trainer_of(config, corpus).updates()]
    assert plain[-1] < 0.7 * plain[0]
    assert losses == pytest.approx(plain, rel=0.01)


def test_accumulated_batches_equal_one_large_batch(make_config: Callable[..., Config], corpus: PieceCorpus) -> None:
    weights = []
    for size, accumulate in ((24, 1), (6, 4)):
        training = {"batch_size": size, "accumulate": accumulate, "epochs": 1, "optimizer": {"name": "sgd", "lr": 0.5}}
        trainer = trainer_of(make_config(model=NO_DROPOUT, training=training), corpus)
        assert len(list(trainer.updates())) == 1
        weights.append(torch.cat([parameter.detach().flatten() for parameter in trainer.model.parameters()]))
    torch.testing.assert_close(weights[0], weights[1], atol=1e-6, rtol=1e-5)


def test_clipping_bounds_the_step(make_config: Callable[..., Config], corpus: PieceCorpus) -> None:
    training = {"clip_norm": 0.01, "optimizer": {"name": "sgd", "lr": 1.0}, "batch_size": 24, "epochs": 1}
    trainer = trainer_of(make_config(training=training), corpus)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    (update,) = list(trainer.updates())
    moved = torch.cat(
        [(a.detach() - b).flatten() for a, b in zip(trainer.model.parameters(), before, strict=True)]
    ).norm()
    assert update.grad_norm > 0.01
    assert float(moved) == pytest.approx(0.01, rel=1e-2)


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("wiring", ["bahdanau", "luong"])
def test_every_teacher_forcing_ratio_trains(
    make_config: Callable[..., Config], corpus: PieceCorpus, ratio: float, wiring: str
) -> None:
    training = {"teacher_forcing": {"start": ratio}, "epochs": 20, "batch_size": 8, "optimizer": {"lr": 0.01}}
    updates = list(trainer_of(make_config(model={"decoder": {"wiring": wiring}}, training=training), corpus).updates())
    assert updates[-1].nll < updates[0].nll
    assert updates[0].teacher_forcing == ratio


def test_a_loss_that_is_no_number_stops_before_it_is_applied(
    make_config: Callable[..., Config], corpus: PieceCorpus
) -> None:
    trainer = trainer_of(make_config(), corpus)
    updates = trainer.updates()
    next(updates)
    with torch.no_grad():
        trainer.model.output.bias[7] = float("nan")
    before = trainer.model.src_embedding.weight.detach().clone()
    with pytest.raises(TrainingError, match=r"update 2 is not a finite number.*lower training\.optimizer\.lr"):
        next(updates)
    assert trainer.update == 1
    assert torch.equal(before, trainer.model.src_embedding.weight)


def test_bfloat16_keeps_float32_weights_and_nearly_the_same_loss(
    make_config: Callable[..., Config], corpus: PieceCorpus
) -> None:
    results = []
    for precision in (torch.float32, torch.bfloat16):
        torch.manual_seed(1)
        config = make_config(model=NO_DROPOUT, training={"epochs": 5})
        trainer = Trainer(config.training, 1, build_model(config, 20, 20), CPU, precision, lambda epoch: corpus)
        results.append(list(trainer.updates())[-1].loss)
        assert {parameter.dtype for parameter in trainer.model.parameters()} == {torch.float32}
    assert results[1] == pytest.approx(results[0], rel=0.02)
    assert results[1] != results[0]


@pytest.mark.parametrize("ratio", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_trains_at_every_teacher_forcing_ratio(
    make_config: Callable[..., Config], corpus: PieceCorpus, name: str, ratio: float
) -> None:
    training = {"epochs": 1, "teacher_forcing": {"start": ratio}, "coverage_loss": 0.1}
    trainer = trainer_of(make_config(model=MODELS[name], training=training), corpus)
    before = {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}
    updates = list(trainer.updates())
    assert len(updates) == 8
    moved = {name for name, parameter in trainer.model.named_parameters() if not torch.equal(parameter, before[name])}
    # A constant is flat, so nothing can be learned of where to look.
    flat = "constant" in name.split()
    still = {f"decoder.attention.score.{part}" for part in ("query_layer.weight", "key_layer.weight", "log_width")}
    assert before.keys() - moved == (still if flat else set())


def test_a_coverage_loss_is_minimised_too(make_config: Callable[..., Config], corpus: PieceCorpus) -> None:
    def repeats(weight: float, **more: int) -> float:
        training = {"epochs": 30, "batch_size": 8, "optimizer": {"lr": 0.01}, "coverage_loss": weight, **more}
        trainer = trainer_of(make_config(model=NO_DROPOUT, training=training), corpus)
        list(trainer.updates())
        batch = corpus.batch(range(len(corpus)))
        _, weights = trainer.model.eval()(batch)
        return float(coverage_loss(weights.detach(), batch.tgt_mask))

    assert repeats(3.0) < 0.9 * repeats(0.0)
    assert repeats(3.0, coverage_loss_after=90) == repeats(0.0)  # there are 90 updates


def test_the_moving_average_is_the_weighted_sum_of_the_weights_after_every_update(
    make_config: Callable[..., Config], corpus: PieceCorpus
) -> None:
    config = make_config(training={"batch_size": 8, "epochs": 3, "averaging": {"ema": 0.5}, "optimizer": {"lr": 0.05}})
    trainer = trainer_of(config, corpus)
    weights: list[list[Tensor]] = []
    saved = None
    for update in trainer.updates():
        weights.append([parameter.detach().clone() for parameter in trainer.model.parameters()])
        if update.number == 4:
            saved = trainer.state_dict()["average"]
            saved = [tensor.clone() for tensor in saved]
    expected = weights[0]
    for number, after in enumerate(weights[1:], start=2):
        decay = min(0.5, (1 + number) / (10 + number))
        expected = [decay * mean + (1 - decay) * new for mean, new in zip(expected, after, strict=True)]
        if number == 4:
            assert saved is not None
            torch.testing.assert_close(saved, expected)
    assert len(weights) == 9
    torch.testing.assert_close(trainer.average, expected)
    state = trainer.state_dict()
    again = trainer_of(config, corpus)
    again.load_state_dict(state)
    torch.testing.assert_close(again.average, expected)
    again.take_average()
    torch.testing.assert_close([parameter.detach() for parameter in again.model.parameters()], expected)
    for wrong in ([torch.zeros(1)], "average", [torch.zeros(1)] * len(expected)):
        with pytest.raises(ValueError, match="moving average is not of this model"):
            again.load_state_dict(state | {"average": wrong})


STACK = {
    "encoder": {"type": "self_attention", "layers": 1, "heads": 2, "feed_forward": 20},
    "decoder": {"type": "transformer", "layers": 1, "heads": 2, "feed_forward": 20},
}


@pytest.mark.parametrize("model", [{"encoder": {"cell": "lstm"}}, STACK], ids=["recurrent", "transformer"])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("coverage", [0.0, 0.1])  # with the coverage loss, the attention is computed for the loss, too
def test_an_update_looks_at_the_devices_memory_once(
    make_config: Callable[..., Config],
    corpus: PieceCorpus,
    monkeypatch: pytest.MonkeyPatch,
    model: dict[str, Any],
    accumulate: int,
    coverage: float,
) -> None:
    # On a GPU the encoder packs by lengths that are on the processor.
    monkeypatch.setattr("nmt.model.rnn.encoder._RUNS_AT_MOST", 0)
    training = {"accumulate": accumulate, "epochs": 9, "coverage_loss": coverage}
    trainer = trainer_of(make_config(model=model, training=training), corpus)
    updates = trainer.updates()
    next(updates)
    batches = [corpus.batch(range(at, at + 4)) for at in range(0, 4 * accumulate, 4)]
    with Reads(monkeypatch) as seen:
        trainer._learn(batches, 10, 10, 1, 9)
    # The lengths of the sentences, and what packing makes of them, are on the processor.
    of_lengths = Counter({"_unique2": accumulate, "_local_scalar_dense": 2 * accumulate})
    assert seen.reads - (Counter() if "decoder" in model else of_lengths) == {"tolist": 1}
    assert seen.operations.total() > 100


def test_float16_learns_nearly_the_same_and_steps_over_gradients_that_are_too_large(
    make_config: Callable[..., Config], corpus: PieceCorpus
) -> None:
    config = make_config(model=STACK | NO_DROPOUT, training={"batch_size": 8, "epochs": 4})
    exact = [update.loss for update in trainer_of(config, corpus).updates()]
    torch.manual_seed(1)
    model = build_model(config, 20, 20)
    trainer = Trainer(config.training, 1, model, CPU, torch.float16, lambda epoch: corpus)
    updates = trainer.updates()
    losses = [next(updates).loss for _ in range(6)]
    assert losses == pytest.approx(exact[:6], rel=0.02)
    trainer.scaler._scale = torch.tensor(2.0**40)  # gradients become infinite
    before = [parameter.detach().clone() for parameter in model.parameters()]
    skipped = next(updates)
    assert math.isinf(skipped.grad_norm) or math.isnan(skipped.grad_norm)
    assert all(torch.equal(one, parameter) for one, parameter in zip(before, model.parameters(), strict=True))
    assert trainer.scaler.get_scale() == 2.0**39
    state = trainer.state_dict()
    other = Trainer(config.training, 1, build_model(config, 20, 20), CPU, torch.float16, lambda epoch: corpus)
    other.load_state_dict(state)
    assert other.scaler.get_scale() == 2.0**39


def test_float16_takes_an_update_in_which_this_process_has_no_pair(
    make_config: Callable[..., Config], corpus: PieceCorpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(model=STACK | NO_DROPOUT)
    trainer = Trainer(config.training, 1, build_model(config, 20, 20), CPU, torch.float16, lambda epoch: corpus)

    def from_others(sums: Tensor) -> Tensor:
        for parameter in trainer.model.parameters():
            parameter.grad = torch.ones_like(parameter)
        return sums + 1.0

    monkeypatch.setattr(trainer, "_sum_over_processes", from_others)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    assert trainer._learn([], 5, 5, 1, 9).loss == 0.2
    assert not any(map(torch.equal, before, trainer.model.parameters()))


def test_an_update_that_float16_cannot_hold_moves_neither_weights_nor_their_average(
    make_config: Callable[..., Config], corpus: PieceCorpus
) -> None:
    training = {"batch_size": 8, "epochs": 1, "averaging": {"ema": 0.5}}
    trainer = trainer_of(make_config(model=NO_DROPOUT, training=training), corpus)
    updates = trainer.updates()
    next(updates)
    next(updates)
    weights = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    average = [mean.clone() for mean in trainer.average]
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    next(trainer.model.parameters()).register_hook(lambda gradient: torch.full_like(gradient, math.inf))
    assert next(updates).grad_norm == math.inf
    assert all(map(torch.equal, weights, trainer.model.parameters()))
    assert all(map(torch.equal, average, trainer.average))
    assert trainer.scaler.get_scale() == 4.0


def test_masked_smoothing_takes_its_pieces_from_the_target_side(corpus: PieceCorpus) -> None:
    targets = {piece for i in range(24) for piece in (5 + i % 7, 6 + i % 5)}
    assert corpus.tgt_pieces(20).nonzero().flatten().tolist() == sorted({EOS, *targets})


def test_a_trainer_smooths_over_the_pieces_that_it_is_given(
    make_config: Callable[..., Config], corpus: PieceCorpus
) -> None:
    config, smoothed = make_config(), corpus.tgt_pieces(20)
    trainer = Trainer(
        config.training, 1, build_model(config, 20, 20), CPU, torch.float32, lambda epoch: corpus, smoothed=smoothed
    )
    wanted = 0.1 * smoothed / smoothed.sum()
    torch.testing.assert_close(trainer.objective.smoothing, wanted)
    assert next(trainer.updates()).loss > 0
