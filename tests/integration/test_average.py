"""The mean of the last checkpoints at the end of a training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nmt.config import Config
from nmt.pipeline.train import run_train


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("rate", [0.0001, 8.0])
def test_the_mean_is_kept_if_it_validates_better(make_config: Callable[..., Config], rate: float) -> None:
    training = {
        "epochs": 4,
        "keep_last": 3,
        "averaging": {"checkpoints": 3},
        "optimizer": {"name": "sgd", "lr": rate},
        "clip_norm": 0.0,
        "early_stopping": {"metric": "loss"},
        "validation": {"sentences": 0},
    }
    run = run_train(make_config(training=training))
    steps = sorted(
        path for path in run.checkpoints.iterdir() if path.name.startswith("step-") and not path.is_symlink()
    )
    best = (run.checkpoints / "best").resolve()
    if rate == 8.0:  # wild steps are better in the mean; slow ones downhill are best at their end
        assert best.name.startswith("mean-")
        parts = [weights(path) for path in steps[-3:]]
        for name, mean in weights(best).items():
            torch.testing.assert_close(mean, sum(part[name] for part in parts) / 3)
    else:
        assert best.name.startswith("step-")
        assert not list(run.checkpoints.glob("mean-*"))


def test_a_mean_that_was_saved_before_the_end_stays(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    training = {
        "epochs": 4,
        "keep_last": 3,
        "averaging": {"checkpoints": 3},
        "optimizer": {"name": "sgd", "lr": 8.0},
        "clip_norm": 0.0,
        "early_stopping": {"metric": "loss"},
        "validation": {"sentences": 0},
    }
    with monkeypatch.context() as patch:
        patch.setattr("nmt.training.reporter.Reporter.draw_curve", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_train(make_config(training=training))
    run = run_train(make_config(training=training))
    assert (run.checkpoints / "best").resolve().name.startswith("mean-")
    assert (run.checkpoint("best") / "model.safetensors").exists()
