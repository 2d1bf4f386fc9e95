"""A run folder: locks, links that move, what it may hold, what is written into it and by whom."""

import errno
import json
import logging
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import pytest
import torch
from safetensors import SafetensorError

from nmt.commands.average import run_average
from nmt.commands.calibrate import run_calibrate
from nmt.commands.evaluate import run_eval
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.errors import CheckpointError, ConfigError, NmtError, TrainingError
from nmt.evaluation.calibration import Calibration
from nmt.runs import weights
from nmt.runs.checkpoint import average_checkpoints, kept_checkpoints
from nmt.runs.folder import RunFolder, find_model
from nmt.runs.load import load_model
from nmt.runs.pointers import point

MakeConfig = Callable[..., Config]
KEEP: dict[str, Any] = {
    "validation": {"every": 2, "sentences": 0},
    "keep_last": 3,
    "early_stopping": {"metric": "loss"},
}


@pytest.fixture
def run(make_config: MakeConfig) -> RunFolder:
    return run_train(make_config(training=KEEP))


def test_a_loaded_model_rounds_no_float32_products(run: RunFolder) -> None:
    torch.backends.cudnn.allow_tf32 = True  # torch's default, for recurrent layers on a GPU
    load_model(run.path)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (False, False)


def test_links_that_move_while_a_command_runs_change_nothing(
    run: RunFolder, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(run.path.parent / "latest")
    best = (run.checkpoints / "best").resolve().name
    shutil.copytree(run.path, run.path.with_name("other"), symlinks=True)
    point(run.path.parent / "latest", "other")
    for link in ("best", "last"):
        point(run.checkpoints / link, kept_checkpoints(run.checkpoints)[0].name)
    report = run_eval(model, "test")
    run_calibrate(model, model.source("valid"), "valid")
    assert report.scores["model"] == "tiny"
    assert report.scores["checkpoint"] == best
    assert best.startswith("step-")
    assert report.json.resolve() == run.path / "eval" / "test.json"
    assert run.calibration.exists()
    assert not (run.path.with_name("other") / "calibration.json").exists()


def test_a_relative_path_to_a_model_stays_one(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path.parent.parent)
    assert find_model(None).path == Path("runs/tiny")


def test_checkpoints_are_not_averaged_while_the_run_is_trained(run: RunFolder) -> None:
    with run.locked(), pytest.raises(CheckpointError, match=r"is busy: process \d+ is training this run already"):
        run_average(run, 2, False, "mean")
    assert not (run.checkpoints / "mean").exists()
    target, _ = run_average(run, 2, False, "mean")
    assert target.exists()


def test_the_second_of_two_trainers_sees_what_the_first_has_done(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nmt")
    config = make_config(training=KEEP)
    run_train(config)
    before = {path: path.stat().st_mtime_ns for path in (config.run_dir / "checkpoints").rglob("*")}
    run_train(config)
    assert "nothing to do" in caplog.text
    assert before == {path: path.stat().st_mtime_ns for path in (config.run_dir / "checkpoints").rglob("*")}


def test_a_file_system_without_locks_is_named(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with pytest.raises(CheckpointError, match=r"\.lock: the run cannot be locked: No locks available"):
        run_train(make_config())


def test_a_first_run_that_fails_before_it_begins_leaves_nothing(make_config: MakeConfig) -> None:
    config = make_config()
    Path(str(config.data.root), "train.en").unlink()
    with pytest.raises(NmtError, match=r"train\.en"):
        run_train(config)
    assert not config.run_dir.exists()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "Free some space"),
        (OSError(errno.EIO, "Input/output error"), r"Input/output error\. Correct that;"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), r"\. Free some space;"),
        (SafetensorError("I/O error: Input/output error"), "Input/output error"),
    ],
)
def test_what_cannot_be_averaged_or_saved_is_a_message_and_leaves_nothing(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(weights, "save_file", fail)
    with pytest.raises(CheckpointError, match=said):
        average_checkpoints(kept_checkpoints(run.checkpoints)[-2:], run.checkpoints / "mean")
    assert not list(run.checkpoints.glob("*mean*"))
    assert not list(run.checkpoints.glob(".*"))


def test_only_a_full_disk_is_said_to_need_room(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/some/file")

    monkeypatch.setattr("nmt.commands.train.load_corpora", fail)
    with pytest.raises(TrainingError, match=r"/some/file: Permission denied\. Correct that") as caught:
        run_train(make_config())
    assert "Free some space" not in str(caught.value)


def test_a_packed_model_has_nothing_to_average(run: RunFolder) -> None:
    for state in run.checkpoints.glob("*/state.pt"):
        state.unlink(missing_ok=True)
    with pytest.raises(CheckpointError, match="is a packed model, or one whose training state was removed"):
        run_average(run, None, False, "mean")


@pytest.mark.parametrize("tie", ["none", "all"])
def test_the_same_weights_are_the_same_bytes_and_the_umask_decides_who_may_read_them(
    make_config: MakeConfig, tie: str
) -> None:
    written = []
    for name in ("one", "two"):
        model = {"tie_embeddings": tie, "decoder": {"hidden_size": 16, "layers": 2}}
        run = run_train(make_config(name=name, model=model, training={"max_updates": 1}))
        path = run.checkpoint("last") / "model.safetensors"
        run_average(run, 1, False, "mean")
        written.append(path.read_bytes())
        for file in (path, run.checkpoints / "mean" / "model.safetensors"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~_umask()
    assert written[0] == written[1]
    header = written[0][8 : 8 + int.from_bytes(written[0][:8], "little")]
    assert "__metadata__" not in json.loads(header)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_weights_with_metadata_of_shared_tensors_are_still_read(make_config: MakeConfig) -> None:
    from safetensors.torch import save_model

    from nmt.model.build import build_model

    config = make_config(model={"tie_embeddings": "all", "decoder": {"hidden_size": 16}})
    one, two = build_model(config, 50, 50), build_model(config, 50, 50)
    folder = Path(str(config.data.root))
    save_model(one, str(folder / "model.safetensors"))
    weights.check_weights(folder, two)
    weights.load_weights(folder, two)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


VICTIMS = [".lock", "train.log", "curve.png", "metrics.jsonl", "tensorboard", "checkpoints"]


@pytest.mark.parametrize("name", VICTIMS)
def test_training_follows_no_link_out_of_the_run_folder(
    run: RunFolder, make_config: MakeConfig, tmp_path: Path, name: str
) -> None:
    victim, link = tmp_path / "victim", run.path / name
    if name in ("tensorboard", "checkpoints"):
        victim.mkdir()
        (victim / ".step-000001.tmp").write_text("mine")
    else:
        victim.write_text("mine")
    before = {path: path.is_dir() or path.read_text() for path in [victim, *victim.rglob("*")]}
    shutil.rmtree(link, ignore_errors=True)
    link.unlink(missing_ok=True)
    link.symlink_to(victim)
    with pytest.raises(CheckpointError, match="leads out of the model folder"):
        run_train(make_config(training=KEEP | {"epochs": 3, "tensorboard": True}))
    assert before == {path: path.is_dir() or path.read_text() for path in [victim, *victim.rglob("*")]}


def test_a_run_folder_may_itself_be_a_link(run: RunFolder, make_config: MakeConfig, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    run.path.rename(elsewhere)
    run.path.symlink_to(elsewhere)
    run_train(make_config(training=KEEP | {"epochs": 3}))
    assert kept_checkpoints(elsewhere / "checkpoints")[-1].name == "step-000009"


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer/joint.model", "checkpoints/best/manifest.json", "x"])
def test_pipes_are_refused_and_not_waited_for(run: RunFolder, name: str) -> None:
    path = run.path / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="pipe or a device"):
        load_model(run.path)


def grow(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse, so it takes no room


@pytest.mark.parametrize(
    "name", ["config.yaml", "tokenizer/joint.model", "manifest.json", "model.safetensors", "state.pt"]
)
def test_giant_files_are_refused_and_not_read(run: RunFolder, make_config: MakeConfig, name: str) -> None:
    for checkpoint in kept_checkpoints(run.checkpoints):
        grow(checkpoint / name if (checkpoint / name).exists() else run.path / name)
    with pytest.raises(NmtError, match=r"larger than|damaged|no checkpoint|without the trainer's state"):
        load_model(run.path, "best") if name != "state.pt" else run_train(make_config(training=KEEP | {"epochs": 3}))


def test_a_giant_calibration_is_damaged(run: RunFolder) -> None:
    run.calibration.touch()
    grow(run.calibration)
    with pytest.raises(CheckpointError, match="run nmt calibrate again"):
        _ = load_model(run.path).calibration


def test_links_in_a_circle_are_named(run: RunFolder, make_config: MakeConfig) -> None:
    (run.path / "eval").symlink_to("eval")
    for use in (lambda: load_model(run.path), lambda: run_train(make_config(training=KEEP | {"epochs": 3}))):
        with pytest.raises(CheckpointError, match="form a circle"):
            use()


def test_a_header_of_a_million_names_is_refused_unparsed(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run.checkpoint("best") / "model.safetensors"
    header = b"{" + b" " * (11 << 20) + b"}"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="its header has"):
        weights.load_weights(path.parent, torch.nn.Linear(1, 1))


def test_unknown_names_are_refused_before_their_tensors_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights.write_weights({f"w{number}": torch.zeros(1) for number in range(50)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="holds 'w0', which a model of this configuration does not have"):
        weights.check_weights(tmp_path, torch.nn.Linear(1, 1))


def test_a_calibration_belongs_to_a_checkpoint_a_beam_and_a_precision(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_model(run.path)
    model.keep_calibration(Calibration(2.0, 0.5))
    assert load_model(run.path).calibration == Calibration(2.0, 0.5)
    assert caplog.text == ""
    other = next(path.name for path in kept_checkpoints(run.checkpoints) if path.name != model.checkpoint.name)
    for loaded, said in (
        (load_model(run.path, other), f"checkpoint {model.checkpoint.name} there, {other} here"),
        (load_model(run.path, None, ["decoding.beam_size=2"]), "beam_size 5 there, 2 here"),
        (load_model(run.path, None, ["decoding.precision=bf16"]), "precision fp32 there, bf16 here"),
        (load_model([run.path, run.path]), "models 1 there, 2 here"),
    ):
        caplog.clear()
        assert loaded.calibration == Calibration()
        assert said in caplog.text
        assert "run nmt calibrate again" in caplog.text


def test_the_data_of_a_strangers_configuration_is_not_read(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nmt")
    load_model(run.path).source("valid")
    assert f"reading {tmp_path / 'valid.en'} and {tmp_path / 'valid.fr'}" in caplog.text
    secret = tmp_path.parent / "secret"
    for written in (str(secret), "../secret"):
        text = run.config.read_text()
        run.config.write_text(text.replace("src: valid.en", f"src: {written}"))
        with pytest.raises(ConfigError, match=r"data\.valid names .*secret, which is outside .*--set data\.root="):
            load_model(run.path, None, ["data.cache_dir=cache", "decoding.beam_size=1"]).source("valid")
        assert load_model(run.path).source("test")
        assert load_model(run.path, None, [f"data.root={tmp_path.parent}"]).source("valid")
        run.config.write_text(text)


def test_loading_a_model_from_python_leaves_the_process_as_it_was(run: RunFolder) -> None:
    import random

    import nmt

    torch.manual_seed(5)
    torch.set_num_threads(1)
    before = torch.get_rng_state(), random.getstate(), dict(os.environ)
    nmt.load(run.path, overrides=["training.threads=2"])
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1], before[2]) == (random.getstate(), dict(os.environ))
    assert torch.get_num_threads() == 1


def test_a_model_without_bounds_is_refused_by_its_sizes(make_config: MakeConfig) -> None:
    from nmt.commands.dry_run import run_dry_run

    config = make_config(model={"decoder": {"hidden_size": 1_000_000_000}})
    for use in (run_dry_run, run_train):
        with pytest.raises(ConfigError, match=r"model\.decoder\.hidden_size=1000000000"):
            use(config)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_run_on_a_gpu_is_resumed_on_another_number_of_gpus(make_config: MakeConfig) -> None:
    settings = KEEP | {"device": "cuda:0", "max_updates": 2}
    run = run_train(make_config(training=settings))
    state = torch.load(kept_checkpoints(run.checkpoints)[-1] / "state.pt", weights_only=True)
    assert state["trainer"]["random_cuda"].dim() == 1  # of the device that is used, and not one of each
    run_train(make_config(training=settings | {"max_updates": 4}))
    assert kept_checkpoints(run.checkpoints)[-1].name == "step-000004"


def test_a_gpus_generator_in_a_checkpoint_is_no_obstacle_without_one(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nmt.training.trainer import Trainer

    real = Trainer.state_dict
    with monkeypatch.context() as patch:
        patch.setattr(
            Trainer, "state_dict", lambda self: real(self) | {"random_cuda": torch.zeros(16, dtype=torch.uint8)}
        )
        run_train(make_config(training=KEEP | {"max_updates": 2}))
    run = run_train(make_config(training=KEEP | {"max_updates": 4}))
    assert kept_checkpoints(run.checkpoints)[-1].name == "step-000004"
