"""What validation says beside its numbers."""

import logging
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nmt.commands.train import run_train
from nmt.config import Config
from nmt.data.prepare import load_corpora
from nmt.errors import ModelError
from nmt.model.build import build_model
from nmt.processes import Processes
from nmt.training.trainer import Trainer
from nmt.training.validation import Validation, Validator
from tests.conftest import SENTENCES


def validator_of(config: Config, processes: Processes | None = None) -> Validator:
    corpora = load_corpora(config)
    size = corpora.tokenizer.src_size
    model = build_model(config, size, size)
    cpu = torch.device("cpu")
    trainer = Trainer(config.training, 1, model, cpu, torch.float32, lambda _: corpora.train, processes=processes)
    return Validator(config, corpora, trainer)


def test_a_bleu_of_zero_beside_some_chrf_is_said_once(
    make_config: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    validator = validator_of(make_config())
    validator._warn_of_zero_bleu({"bleu": 0.0, "chrf": 9.0})
    validator._warn_of_zero_bleu({"bleu": 0.1, "chrf": 30.0})
    assert "BLEU is 0.00" not in caplog.text
    for _ in range(2):
        validator._warn_of_zero_bleu({"bleu": 0.0, "chrf": 30.0})
    assert caplog.text.count("BLEU is 0.00 although chrF is 30.0: BLEU's tokenizer '13a'") == 1


def test_targets_without_spaces_get_another_tokenizer_and_it_is_said(
    make_config: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    config = make_config()
    (tmp_path / "valid.fr").write_text("这是一只黑色的猫\n" * len(SENTENCES), encoding="utf-8")
    assert validator_of(config).bleu_tokenize == "zh"
    assert "BLEU is computed with sacrebleu's tokenizer 'zh'" in caplog.text


def test_validation_is_plain_search(make_config: Callable[..., Config]) -> None:
    decoding = {"sampling": {"enabled": True, "temperature": 9.0}, "mbr": {"candidates": 4}}
    found = []
    for more in ({}, decoding):
        torch.manual_seed(1)
        found.append(validator_of(make_config(decoding=more)).run().metrics)
    assert found[0] == found[1]


def test_masked_smoothing_leaves_out_pieces_of_the_source_alone_also_in_validation(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    smoothings, losses = [], []

    class Spy(Validator):
        def run(self) -> Validation:
            found = super().run()
            smoothings.append(self.trainer.objective.smoothing)
            losses.append(found.metrics["loss"])
            return found

    monkeypatch.setattr("nmt.commands.train.Validator", Spy)
    for which in ("all", "target"):
        run_train(make_config(name=which, training={"smoothed_pieces": which, "max_updates": 1}))
    uniform, masked = smoothings
    assert (uniform > 0).all()
    assert 0 < int((masked == 0).sum()) < len(masked)
    torch.testing.assert_close(torch.stack([uniform.sum(), masked.sum()]), torch.tensor([0.1, 0.1]))
    assert losses[0] != losses[1]


def test_long_pairs_with_gold_links_do_not_end_the_run(
    make_config: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = make_config(decoding={"max_tgt_length": 12}, training={"validation": {"sentences": len(SENTENCES)}})
    (tmp_path / "gold").write_text("0-0\n" * len(SENTENCES), encoding="utf-8")
    linked = config.data.valid.model_copy(update={"links": str(tmp_path / "gold")})
    config = config.model_copy(update={"data": config.data.model_copy(update={"valid": linked})})
    validator = validator_of(config)
    assert 0 < len(validator.gold) < len(SENTENCES)
    assert "the AER leaves out validation pairs that are too long" in caplog.text
    assert 0.0 <= validator.run().metrics["aer"] <= 1.0
    caplog.clear()
    assert len(validator_of(config, Processes(rank=1, size=2)).gold) == len(validator.gold)
    assert "too long" not in caplog.text  # the first process has said it


def test_the_perplexity_is_that_of_the_forced_references(make_config: Callable[..., Config]) -> None:
    torch.manual_seed(4)
    validator = validator_of(make_config())
    forced = validator.translator.force(SENTENCES)
    log_probs = [value for one in forced for value in one.token_log_probs]
    metrics = validator.run().metrics
    assert metrics["ppl"] == pytest.approx(math.exp(-math.fsum(log_probs) / len(log_probs)), rel=1e-5)
    assert abs(metrics["loss"] - math.log(metrics["ppl"])) > 2e-5  # it is smoothed


def test_the_sentences_that_are_decoded_are_spread_over_the_split(make_config: Callable[..., Config]) -> None:
    validator = validator_of(make_config(training={"validation": {"sentences": 4, "beam_size": 3}}))
    assert list(zip(validator.srcs, validator.refs, strict=True)) == SENTENCES[::2]
    assert validator.translator.settings.beam_size == 3


def test_a_loss_that_is_not_finite_is_an_error(make_config: Callable[..., Config]) -> None:
    validator = validator_of(
        make_config(training={"validation": {"sentences": 0}, "early_stopping": {"metric": "loss"}})
    )
    with torch.no_grad():
        validator.trainer.model.output.weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="no finite probabilities"):
        validator.run()
