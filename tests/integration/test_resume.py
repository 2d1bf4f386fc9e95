"""A run that stopped and went on is the run that would have been."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.commands.dry_run import run_dry_run
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.config.load import save_config
from nmt.errors import CheckpointError, ConfigError
from nmt.runs.checkpoint import load_state
from nmt.runs.folder import RunFolder
from nmt.training.trainer import Trainer
from nmt.training.validation import Validation, Validator

EVERYTHING: dict[str, Any] = {
    "model": {"dropout": {"word": 0.1}, "encoder": {"layers": 2}},
    "tokenizer": {"sampling": {"enabled": True, "alpha": 0.2}},
    "training": {
        "epochs": 4,
        "log_every": 2,
        "batch_size": 2,
        "accumulate": 2,
        "teacher_forcing": {"start": 0.5},
        "schedule": {"type": "plateau", "metric": "ppl", "patience": 0},
        "validation": {"every": 3, "sentences": 3},
    },
}


def weights_of(run: RunFolder) -> bytes:
    return (run.checkpoint("last") / "model.safetensors").read_bytes()


def losses_of(run: RunFolder) -> list[tuple[int, float]]:
    records = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [(record["update"], record["loss"]) for record in records if "loss" in record]


def test_stopped_twice_and_resumed_is_byte_equal(make_config: Callable[..., Config]) -> None:
    through = run_train(make_config(name="through", **EVERYTHING))
    for limit in (3, 5, None):
        stopped = {**EVERYTHING, "training": EVERYTHING["training"] | {"max_updates": limit}}
        run = run_train(make_config(name="stopped", **stopped))
    assert weights_of(through) == weights_of(run)
    states = [torch.load(r.checkpoint("last") / "state.pt", weights_only=True) for r in (through, run)]
    assert torch.equal(states[0]["trainer"]["random"], states[1]["trainer"]["random"])
    assert states[0]["trainer"]["position"] == states[1]["trainer"]["position"]
    assert losses_of(through) == losses_of(run)


def test_a_cosine_without_a_total_is_the_same_after_a_resumption(
    make_config: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    training = {"epochs": 4, "schedule": {"type": "cosine", "min_factor": 0.1}}
    through = run_train(make_config(name="through", training=training))
    assert "the cosine schedule ends at update 12 " in caplog.text
    # The first process dies in epoch 2, and leaves the schedule as it was in its checkpoint.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nmt.training.progress.Progress.reason_to_stop", lambda self, training, epochs, _: "x" * epochs)
        run = run_train(make_config(name="stopped", training=training))
    run_train(make_config(name="stopped", training=training))
    assert weights_of(through) == weights_of(run)
    rates = [json.loads(line).get("lr") for line in run.metrics.read_text().splitlines()]
    assert min(rate for rate in rates if rate is not None) == pytest.approx(1e-4)


def test_a_finished_run_does_nothing_and_more_epochs_go_on(make_config: Callable[..., Config]) -> None:
    run = run_train(make_config())
    before = weights_of(run)
    run_train(make_config())
    assert weights_of(run) == before
    longer = run_train(make_config(training={"epochs": 3}))
    direct = run_train(make_config(name="direct", training={"epochs": 3}))
    assert weights_of(longer) == weights_of(direct) != before


def test_another_configuration_is_refused_by_key(make_config: Callable[..., Config]) -> None:
    run_train(make_config())
    with pytest.raises(ConfigError, match=r"model\.attention\.score: 'additive' -> 'dot'"):
        run_train(make_config(model={"attention": {"score": "dot"}}))


@pytest.mark.parametrize(("split", "name"), [("train", "training"), ("valid", "validation")])
def test_other_data_under_the_same_configuration_is_refused(
    make_config: Callable[..., Config], split: str, name: str
) -> None:
    config = make_config()
    run_train(config)
    longer = make_config(training={"epochs": 3})
    path = Path(str(config.data.root)) / f"{split}.fr"
    path.write_text(path.read_text().replace("chat", "chien"))
    starts: tuple[Callable[[Config], object], ...] = (run_dry_run, run_train)
    for start in starts:
        with pytest.raises(CheckpointError, match=f"the {name} data is not what this run was started with"):
            start(longer)


def test_a_renamed_run_folder_can_be_resumed(make_config: Callable[..., Config]) -> None:
    run = run_train(make_config())
    run.path.rename(run.path.with_name("renamed"))
    longer = run_train(make_config(name="renamed", training={"epochs": 3}))
    assert weights_of(longer) == weights_of(run_train(make_config(name="direct", training={"epochs": 3})))


def test_a_model_without_its_trainers_state_is_never_overwritten(make_config: Callable[..., Config]) -> None:
    run = run_train(make_config())
    before = weights_of(run)
    for state in run.checkpoints.glob("step-*/state.pt"):
        state.unlink()
    with pytest.raises(CheckpointError, match="without the trainer's state"):
        run_train(make_config(training={"epochs": 9}))
    assert weights_of(run) == before


def test_a_refused_resumption_leaves_the_models_configuration_alone(make_config: Callable[..., Config]) -> None:
    run = run_train(make_config())
    before = run.config.read_text()
    with pytest.raises(ConfigError, match="device is 'cuda:7'"):
        run_train(make_config(training={"epochs": 9, "device": "cuda:7"}))
    assert run.config.read_text() == before


def test_best_and_latest_are_relative_links_so_the_folder_can_move(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    run = run_train(make_config())
    assert not (run.checkpoints / "best").readlink().is_absolute()
    assert (run.path.parent / "latest").resolve() == run.path.resolve()
    moved = run.path.rename(tmp_path / "elsewhere")
    assert RunFolder(moved).checkpoint().name == "best"


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_first(
    make_config: Callable[..., Config], tmp_path: Path, kind: signal.Signals, code: int
) -> None:
    config = make_config(training={"epochs": 100_000, "validation": {"every": 10**6}})
    save_config(config, tmp_path / "c.yaml")
    process = subprocess.Popen(
        [sys.executable, "-m", "nmt", "train", "-c", str(tmp_path / "c.yaml")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "update 3" in line:
            process.send_signal(kind)
            break
    rest = process.stderr.read()
    assert process.wait(timeout=60) == code
    assert "saved after update" in rest
    assert "Traceback" not in rest
    assert RunFolder(config.run_dir).checkpoint("last")


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGHUP, 129), (signal.SIGUSR1, 138)])
def test_a_closed_terminal_and_a_clusters_warning_save_first(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch, kind: signal.Signals, code: int
) -> None:
    real = Trainer.updates

    def disturbed(self: Trainer) -> Any:
        for update in real(self):
            if update.number == 2:
                os.kill(os.getpid(), kind)
            yield update

    before = signal.getsignal(kind)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "updates", disturbed)
        with pytest.raises(SystemExit) as ended:
            run_train(make_config())
    assert ended.value.code == code
    assert signal.getsignal(kind) == before
    assert RunFolder(make_config().run_dir).checkpoint("last").resolve().name == "step-000002"


def test_the_last_validation_is_not_counted_as_training(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = Validator.run

    def slowly(self: Validator) -> Validation:
        time.sleep(2.0)
        return validate(self)

    monkeypatch.setattr(Validator, "run", slowly)
    training = {"max_updates": 3, "log_every": 5, "keep_last": 2, "averaging": {"checkpoints": 2}}
    run = run_train(make_config(training=training | {"validation": {"every": 2}}))
    window = load_state(run.checkpoint("last"))["window"]
    assert window["tgt_tokens"] > 0
    assert window["seconds"] < 2.0
