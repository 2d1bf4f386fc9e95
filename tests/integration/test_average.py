"""The mean of the last checkpoints at the end of a training."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nmt.commands.average import run_average
from nmt.commands.runs import run_inspect, run_runs
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.errors import CheckpointError
from nmt.runs.checkpoint import kept_checkpoints
from nmt.runs.folder import RunFolder
from nmt.runs.pointers import point
from nmt.training.validation import Validation, Validator


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def losses_are(monkeypatch: pytest.MonkeyPatch, *values: float) -> None:
    """Let the validations find these losses, one after the other."""
    left = iter(values)
    monkeypatch.setattr(Validator, "run", lambda self: Validation({"loss": next(left), "ppl": 1.0}, []))


TRAINING = {
    "epochs": 4,
    "keep_last": 3,
    "averaging": {"checkpoints": 3},
    "early_stopping": {"metric": "loss"},
    "validation": {"sentences": 0},
}


@pytest.mark.parametrize("of_the_mean", [0.5, 4.5])
def test_the_mean_is_kept_if_it_validates_better(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, of_the_mean: float
) -> None:
    losses_are(monkeypatch, 4.0, 3.0, 2.0, 1.0, of_the_mean)
    run = run_train(make_config(training=TRAINING))
    steps = sorted(
        path for path in run.checkpoints.iterdir() if path.name.startswith("step-") and not path.is_symlink()
    )
    best = (run.checkpoints / "best").resolve()
    if of_the_mean < 1.0:
        assert best.name.startswith("mean-")
        parts = [weights(path) for path in steps[-3:]]
        for name, mean in weights(best).items():
            torch.testing.assert_close(mean, sum(part[name] for part in parts) / 3)
    else:
        assert best.name.startswith("step-")
        assert not list(run.checkpoints.glob("mean-*"))
    described = "\n".join(run_inspect(run.path))
    loss = min(of_the_mean, 1.0)
    assert f"loss {loss}, ppl 1.0" in described  # of the best checkpoint, whichever it is
    assert f"  loss {loss:.2f}  " in "\n".join(run_runs(run.path.parent))


def test_a_mean_that_was_saved_before_the_end_stays(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    losses_are(monkeypatch, 4.0, 3.0, 2.0, 1.0, 0.5, 0.5)  # that of the mean is found once more
    with monkeypatch.context() as patch:
        patch.setattr(  # the process dies as soon as there is a mean
            "nmt.training.reporter.Reporter.draw_curve",
            lambda self: 1 / (not list(self.curve_path.parent.glob("checkpoints/mean-*"))),
        )
        with pytest.raises(ZeroDivisionError):
            run_train(make_config(training=TRAINING))
    run = run_train(make_config(training=TRAINING))
    assert (run.checkpoints / "best").resolve().name.startswith("mean-")
    assert (run.checkpoint("best") / "model.safetensors").exists()


def test_a_kill_before_the_last_link_was_moved_changes_nothing(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    through = run_train(make_config(name="through", training=TRAINING))
    with monkeypatch.context() as patch:
        patch.setattr("nmt.commands.train._Session._average", lambda self, reporter: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_train(make_config(training=TRAINING))
    run = RunFolder(make_config().run_dir)
    point(run.checkpoints / "last", kept_checkpoints(run.checkpoints)[-2].name)
    run_train(make_config(training=TRAINING))
    assert run.checkpoint("last").resolve().name == through.checkpoint("last").resolve().name
    torch.testing.assert_close(weights(run.checkpoint("last")), weights(through.checkpoint("last")), atol=0, rtol=0)


def test_the_moving_average_is_kept_if_it_is_better_and_a_resumed_run_has_the_same(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = TRAINING | {"averaging": {"ema": 0.9}, "optimizer": {"lr": 0.05}}
    losses_are(monkeypatch, 4.0, 3.0, 2.0, 1.0, 0.5)
    whole = run_train(make_config(name="whole", training=training))
    losses_are(monkeypatch, 4.0, 3.0, 5.0, 2.0, 1.0, 0.5)
    parts = run_train(make_config(name="parts", training=training | {"epochs": 2}))
    assert not list(parts.checkpoints.glob("mean-*"))  # it was worse
    run_train(make_config(name="parts", training=training))
    for run in (whole, parts):
        assert (run.checkpoints / "best").resolve().name.startswith("mean-")
    means, last = ([weights(run.checkpoints / name) for run in (whole, parts)] for name in ("best", "last"))
    for name in last[0]:
        assert torch.equal(means[0][name], means[1][name])
        assert torch.equal(last[0][name], last[1][name])
    assert any(not torch.equal(means[0][name], last[0][name]) for name in last[0])


@pytest.mark.parametrize(("fitted_to", "is_kept"), [("mine", False), ("other", True)])
def test_a_calibration_of_the_replaced_mean_is_deleted(
    make_config: Callable[..., Config], fitted_to: str, is_kept: bool
) -> None:
    run = run_train(make_config(training=TRAINING | {"averaging": {"checkpoints": 0}}))
    run.calibration.write_text(json.dumps({"checkpoint": fitted_to}), encoding="utf-8")
    run_average(run, 2, False, "mine")
    assert run.calibration.exists() == is_kept


@pytest.mark.parametrize("name", ["best", "step-000002", "mean-000002", "../x"])
def test_the_names_that_training_uses_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot be the name of a checkpoint"):
        run_average(RunFolder(tmp_path), 2, False, name)
