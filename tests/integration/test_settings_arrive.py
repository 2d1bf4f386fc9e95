"""Settings reach what they are for: each has an effect on a training or on a translation that can be computed."""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from nmt.commands.average import run_average
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.config.decoding import DecodingConfig
from nmt.data.prepare import load_corpora
from nmt.data.tokenizer import UNK, Tokenizer
from nmt.decoding.translator import Translator
from nmt.model.build import build_model
from nmt.model.dropout import Dropout
from nmt.model.seq2seq import Seq2Seq
from nmt.training.objective import LossWeights
from nmt.training.trainer import Trainer
from nmt.training.validation import Validation, Validator
from tests.conftest import SENTENCES
from tests.unit.test_decoder import BATCH

MakeConfig = Callable[..., Config]
CPU = torch.device("cpu")


def trainer_of(config: Config, **options: Any) -> Trainer:
    corpora = load_corpora(config)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size)
    return Trainer(config.training, 1, model, CPU, torch.float32, lambda _: corpora.train, config.guided_loss)


def losses_are(monkeypatch: pytest.MonkeyPatch, *values: float) -> list[Tensor]:
    """Let the validations find these losses; return the list of the output weights that they are called with."""
    left, seen = iter(values), []

    def run(validator: Validator) -> Validation:
        seen.append(validator.trainer.model.output.weight.detach().clone())
        loss = next(left)
        return Validation({"loss": loss, "ppl": math.exp(loss)}, [])

    monkeypatch.setattr(Validator, "run", run)
    return seen


def test_plateau_lowers_the_learning_rate_of_a_training(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses_are(monkeypatch, 1.0, 2.0, 3.0, 4.0)
    training = {
        "epochs": 4,
        "optimizer": {"lr": 0.01},
        "schedule": {"type": "plateau", "patience": 0, "factor": 0.5},
        "validation": {"sentences": 0},
        "early_stopping": {"metric": "loss"},
    }
    run = run_train(make_config(training=training))
    records = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    rates = {record["epoch"]: record["lr"] for record in records if "lr" in record}
    assert [rates[epoch] for epoch in (1, 2, 3, 4)] == pytest.approx([0.01, 0.01, 0.005, 0.0025])


@pytest.mark.parametrize(("which", "averaged"), [("last", [1, 2]), ("best", [0, 2])])
def test_the_mean_that_is_validated_is_that_of_the_last_or_best_checkpoints(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, which: str, averaged: list[int]
) -> None:
    seen = losses_are(monkeypatch, 1.0, 3.0, 2.0, 0.5)
    training = {
        "epochs": 3,
        "keep_last": 3,
        "averaging": {"checkpoints": 2, "which": which},
        "early_stopping": {"metric": "loss"},
        "validation": {"sentences": 0},
    }
    run = run_train(make_config(training=training))
    *steps, mean = seen
    torch.testing.assert_close(mean, sum(steps[at] for at in averaged) / 2)
    # `nmt average` chooses in the same way.
    folder, _ = run_average(run, 2, which == "best", "mine")
    torch.testing.assert_close(load_file(folder / "model.safetensors")["output.weight"], mean)


def test_weights_of_parts_change_what_an_epoch_learns_from(make_config: MakeConfig, tmp_path: Path) -> None:
    for side in ("en", "fr"):
        (tmp_path / f"more.{side}").write_text("one two three\n", encoding="utf-8")
    parts = [{"src": "train.en", "tgt": "train.fr"}, {"src": "more.en", "tgt": "more.fr", "weight": 3}]
    trainer = trainer_of(make_config(data={"train": parts}, training={"epochs": 1}))
    corpus = trainer.corpus_of_epoch(0)
    lengths = corpus.tgt_len + 1
    assert len(lengths) == len(SENTENCES) + 1
    assert sum(update.tgt_tokens for update in trainer.updates()) == lengths[:-1].sum() + 3 * lengths[-1]


def test_guidance_decays_with_the_epochs(make_config: MakeConfig) -> None:
    guided = {"guided_alignment": {"enabled": True, "weight": 0.4, "decay": 0.5}}
    trainer = trainer_of(make_config(training=guided))
    found = []
    for trainer.epoch in range(3):
        found.append(trainer._loss_weights().guided)
    assert found == pytest.approx([0.4, 0.2, 0.1])
    assert trainer_of(make_config())._loss_weights() == LossWeights()


@pytest.mark.parametrize(
    ("name", "weight_decay", "momentum", "expected"),
    [
        ("sgd", 0.0, 0.0, [0.9, 0.8]),
        ("sgd", 0.5, 0.0, [1 - 0.1 * 1.5, 0.85 - 0.1 * (1 + 0.5 * 0.85)]),
        ("sgd", 0.0, 0.5, [0.9, 0.9 - 0.1 * 1.5]),
        ("adamw", 0.5, 0.0, [0.95 - 0.1, 0.85 * 0.95 - 0.1]),
    ],
)
def test_the_optimizer_has_the_settings_of_the_configuration(
    make_config: MakeConfig, name: str, weight_decay: float, momentum: float, expected: list[float]
) -> None:
    optimizer = {"name": name, "lr": 0.1, "weight_decay": weight_decay, "momentum": momentum}
    trainer = trainer_of(make_config(training={"optimizer": {key: value for key, value in optimizer.items() if value}}))
    [group] = trainer.optimizer.param_groups
    parameter = group["params"][0]
    with torch.no_grad():
        parameter.fill_(1.0)
    found = []
    for _ in expected:
        parameter.grad = torch.ones_like(parameter)
        trainer.optimizer.step()
        found.append(float(parameter.detach().flatten()[0]))
    assert found == pytest.approx(expected, rel=1e-5)


def test_word_vectors_are_in_the_model_that_training_begins_with(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "en.vec").write_text("cat " + " ".join(map(str, range(1, 13))) + "\n", encoding="utf-8")
    training = {"pretrained_embeddings": {"src": "en.vec"}, "optimizer": {"lr": 1e-12}, "max_updates": 1}
    run = run_train(make_config(training=training, tokenizer={"type": "word", "vocab_size": 70}))
    corpora = load_corpora(make_config(tokenizer={"type": "word", "vocab_size": 70}))
    [piece] = corpora.tokenizer.encode_src("cat").ids
    row = load_file(run.checkpoint("last") / "model.safetensors")["src_embedding.weight"][piece]
    torch.testing.assert_close(row / row[0], torch.arange(1.0, 13.0), rtol=1e-4, atol=1e-4)


LAYERS = {"encoder": {"hidden_size": 8, "layers": 2, "residual": True}, "decoder": {"hidden_size": 16, "layers": 2}}
STACKS = {
    "encoder": {"type": "self_attention", "layers": 1, "heads": 2, "feed_forward": 20},
    "decoder": {"type": "transformer", "layers": 1, "heads": 2, "feed_forward": 20},
}
ALL_RATES = dict.fromkeys(("embedding", "memory", "output", "layers", "attention"), 0.5)
NO_RATES = dict.fromkeys(("embedding", "memory", "output", "layers"), 0.0)


def dropouts(model: nn.Module) -> Iterator[tuple[str, nn.Dropout]]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout):
            yield name, module


@pytest.mark.parametrize(
    "sizes", [LAYERS, {**LAYERS, "decoder": {**LAYERS["decoder"], "input_feeding": False}}, STACKS]
)
def test_every_dropout_of_a_model_drops_in_training_alone(
    make_model: Callable[..., Seq2Seq], sizes: dict[str, Any]
) -> None:
    rates = {key: rate for key, rate in ALL_RATES.items() if sizes is STACKS or key != "attention"}
    model = make_model(**sizes, dropout=rates)
    names = [name for name, module in dropouts(model) if module.p]
    assert len(names) >= 5
    for name in names:
        for other, module in dropouts(model):
            module.p = 0.5 if other == name else 0.0
        model.train()
        assert not torch.allclose(model(BATCH)[0], model(BATCH)[0]), name
        model.eval()
        assert torch.equal(model(BATCH)[0], model(BATCH)[0]), name
    assert any(isinstance(module, Dropout) for _, module in dropouts(model))


@pytest.mark.parametrize("name", ["recurrent", "layers"])
def test_dropout_inside_the_encoders_lstm_drops(make_model: Callable[..., Seq2Seq], name: str) -> None:
    model = make_model(encoder={"hidden_size": 8, "layers": 2}, dropout=NO_RATES | {name: 0.5})
    model.train()
    assert not torch.allclose(model(BATCH)[0], model(BATCH)[0])


def test_words_are_dropped_and_switched_in_training(make_model: Callable[..., Seq2Seq]) -> None:
    plain = make_model()
    dropping = make_model(dropout=NO_RATES | {"word": 0.999999})
    dropping.load_state_dict(plain.state_dict())
    real_src, real_tgt = BATCH.src_ids > 3, BATCH.tgt_in > 3
    unknown = dataclasses.replace(
        BATCH, src_ids=BATCH.src_ids.masked_fill(real_src, UNK), tgt_in=BATCH.tgt_in.masked_fill(real_tgt, UNK)
    )
    torch.testing.assert_close(dropping.train()(BATCH)[0], plain(unknown)[0])
    torch.testing.assert_close(dropping.eval()(BATCH)[0], plain(BATCH)[0])
    switching = make_model(dropout=NO_RATES | {"switchout": 5.0}).train()
    torch.manual_seed(1)
    assert not torch.allclose(switching(BATCH)[0], switching(BATCH)[0])


def translator_of(model: Seq2Seq, tokenizer: Tokenizer, **settings: Any) -> Translator:
    return Translator(model, tokenizer, DecodingConfig.model_validate(settings), CPU)


def test_settings_of_decoding_reach_the_search(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    model, lines = make_model(), [src for src, _ in SENTENCES]

    def ids(**settings: Any) -> list[list[int]]:
        translations = translator_of(model, tokenizer, max_length_ratio=2.0, **settings).translate(lines)
        return [list(one.tgt.ids) for one in translations]

    greedy = ids(beam_size=1)
    assert any(len(set(row)) < len(row) for row in greedy)
    assert all(len(set(row)) == len(row) for row in ids(beam_size=1, no_repeat_ngram=1))
    assert all(len(row) >= 7 for row in ids(beam_size=1, min_length=7))
    for only in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}):
        assert ids(sampling={"enabled": True, **only}) == greedy
    assert ids(sampling={"enabled": True}) != greedy
    plain, covering = (
        translator_of(model, tokenizer, beam_size=3, coverage_penalty=penalty).force([SENTENCES[0]])[0]
        for penalty in (0.0, 2.0)
    )
    covered = torch.from_numpy(plain.weights).sum(0).clamp(max=1.0).log().sum()
    assert covering.score - plain.score == pytest.approx(2.0 * float(covered), rel=1e-4)
