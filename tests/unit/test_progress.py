"""When training is over, and which validation is the best."""

from collections.abc import Callable

import pytest

from nmt.commands.train import run_train
from nmt.config import Config, Metric, TrainingConfig
from nmt.training.progress import Progress
from nmt.training.validation import Validation, Validator


def observe(progress: Progress, loss: float, update: int, averaged: bool = False) -> bool:
    return progress.observe("loss", {"loss": loss}, update, averaged)


def test_the_mean_of_checkpoints_does_not_count_for_patience() -> None:
    progress = Progress()
    observe(progress, 2.0, 1), observe(progress, 3.0, 2)
    assert (progress.bad_validations, progress.validated) == (1, 2)
    assert not observe(progress, 4.0, 2, averaged=True)
    assert (progress.bad_validations, progress.validated) == (1, 2)
    assert observe(progress, 1.0, 2, averaged=True)
    assert (progress.bad_validations, progress.validated) == (1, 2)
    assert progress.best is not None
    assert progress.best.averaged


@pytest.mark.parametrize(("metric", "best"), [("bleu", 2), ("chrf", 2), ("loss", 1), ("ppl", 1)])
def test_the_best_validation_is_the_highest_or_the_lowest(metric: Metric, best: int) -> None:
    progress = Progress()
    for update, value in enumerate((10.0, 30.0, 20.0), start=1):
        progress.observe(metric, {"loss": 1.0} | {metric: value}, update)
    assert progress.best is not None
    assert progress.best.update == best


def test_a_mean_that_is_better_than_all_does_not_use_up_the_patience_of_a_resumed_run() -> None:
    progress = Progress()
    observe(progress, 3.0, 1)
    assert observe(progress, 1.0, 1, averaged=True)
    progress = Progress.from_state(progress.state_dict())
    for update, loss in ((2, 2.8), (3, 2.6), (4, 2.4)):
        assert not observe(progress, loss, update)  # the mean is still the best model
        assert progress.bad_validations == 0
    observe(progress, 2.5, 5)
    assert progress.bad_validations == 1
    old = progress.state_dict()
    del old["best_checkpoint"]  # as earlier versions wrote it
    assert Progress.from_state(old).best_checkpoint is None


@pytest.mark.parametrize(
    ("training", "progress", "updates", "reason"),
    [
        ({"max_updates": 5}, Progress(), 4, None),
        ({"max_updates": 5}, Progress(), 5, "training.max_updates reached"),
        ({"max_minutes": 2.0}, Progress(seconds=119.0), 1, None),
        ({"max_minutes": 2.0}, Progress(seconds=120.0), 1, "training.max_minutes reached"),
        ({"early_stopping": {"patience": 3}}, Progress(bad_validations=2), 1, None),
        ({"early_stopping": {"patience": 3}}, Progress(bad_validations=3), 1, "no better bleu in 3 validations"),
        ({"early_stopping": {"patience": 0}}, Progress(bad_validations=99), 1, None),
    ],
)
def test_every_reason_to_stop(
    training: dict[str, object], progress: Progress, updates: int, reason: str | None
) -> None:
    config = TrainingConfig.model_validate({"epochs": 10} | training)
    assert progress.reason_to_stop(config, 9, updates) == reason
    assert progress.reason_to_stop(config, 10, updates) == "all epochs done"


def test_a_run_stops_when_patience_is_over_and_says_why(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "nmt")
    losses = iter([3.0, 2.0, 2.5, 2.5, 9.0])
    monkeypatch.setattr(Validator, "run", lambda self: Validation({"loss": next(losses), "ppl": 1.0}, []))
    stopping = {"metric": "loss", "patience": 2}
    run_train(make_config(training={"epochs": 50, "early_stopping": stopping, "validation": {"every": 1}}))
    assert "finished (no better loss in 2 validations) after 4 updates" in caplog.text
    assert next(losses) == 9.0


@pytest.mark.parametrize(("limit", "updates"), [({"max_updates": 2}, 2), ({"max_minutes": 1e-9}, 0)])
def test_a_run_stops_at_its_limits(
    make_config: Callable[..., Config], limit: dict[str, float], updates: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "nmt")
    run_train(make_config(training={"epochs": 50} | limit))
    assert f"finished (training.{next(iter(limit))} reached) after {updates} update" in caplog.text
