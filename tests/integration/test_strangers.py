"""Model folders from strangers: nothing is run, nothing outside is read, no more memory is taken than weights need."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nmt.commands.average import run_average
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.config.load import load_config, save_config
from nmt.errors import CheckpointError, ConfigError, NmtError
from nmt.runs.folder import RunFolder
from nmt.runs.load import load_model

MakeConfig = Callable[..., Config]


def translate(run: RunFolder) -> str:
    return load_model(run.path).translator.translate(["the black cat"])[0].tgt.text


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


@pytest.fixture
def stranger(make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> RunFolder:
    """A model folder from somebody else, in a working directory that code could leave traces in."""
    run = run_train(make_config())
    monkeypatch.chdir(tmp_path)
    return RunFolder(run.path.rename(tmp_path / "sent"))


def publish(run: RunFolder, weights: dict[str, torch.Tensor]) -> None:
    """Put other weights in place, with a manifest that fits."""
    checkpoint = run.checkpoint("best").resolve()
    save_file(weights, checkpoint / "model.safetensors")
    from nmt.runs.checkpoint import _digest

    manifest = {"format": 1, "sha256": {"model.safetensors": _digest(checkpoint / "model.safetensors")}}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def test_a_moved_folder_without_state_and_write_permission_works(stranger: RunFolder) -> None:
    for state in stranger.checkpoints.glob("step-*/state.pt"):
        state.unlink()
    for path in [*stranger.path.rglob("*"), stranger.path]:
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert translate(stranger)
    finally:
        for path in [stranger.path, *stranger.path.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)


def test_pickles_are_never_opened(stranger: RunFolder) -> None:
    bomb = pickle.dumps(Bomb())
    checkpoint = stranger.checkpoint("best").resolve()
    (checkpoint / "state.pt").write_bytes(bomb)
    (checkpoint / "pytorch_model.bin").write_bytes(bomb)
    for file in ("model.safetensors", "manifest.json"):
        kept = (checkpoint / file).read_bytes()
        (checkpoint / file).write_bytes(bomb)
        with pytest.raises(NmtError):
            load_model(stranger.path, "best")
        (checkpoint / file).write_bytes(kept)
    for file in stranger.tokenizer.iterdir():
        file.write_bytes(bomb)
    with pytest.raises(NmtError):
        load_model(stranger.path)
    assert not Path("exploded").exists()


@pytest.mark.parametrize(
    "text",
    ["!!python/object/apply:os.mkdir [exploded]", "a: &a [x]\nb: [*a, *a]", "[" * 100_000, "x: 1\n" * 300_000],
)
def test_a_configuration_that_attacks_is_refused(stranger: RunFolder, text: str) -> None:
    stranger.config.write_text(text)
    with pytest.raises(ConfigError):
        load_model(stranger.path)
    assert not Path("exploded").exists()


def test_sizes_that_the_weights_do_not_have_take_no_memory(stranger: RunFolder) -> None:
    config = load_config(stranger.config)
    model = config.model.model_copy(update={"embedding_size": 10**9})
    save_config(config.model_copy(update={"model": model}), stranger.config)
    with pytest.raises(CheckpointError, match=r"according to config\.yaml and the tokenizer, it must be F32 of"):
        load_model(stranger.path)


def test_other_names_shapes_and_types_are_refused(stranger: RunFolder) -> None:
    weights = load_file(stranger.checkpoint("best") / "model.safetensors")
    name = next(iter(weights))
    for wrong, message in (
        (weights | {"extra": torch.zeros(2)}, "holds 'extra'"),
        (weights | {name: torch.zeros(3, 3)}, f"'{name}' is F32 of shape"),
        (weights | {name: weights[name].half()}, f"'{name}' is F16"),
        ({key: value for key, value in weights.items() if key != name}, "not all weights are there"),
    ):
        publish(stranger, wrong)
        with pytest.raises(CheckpointError, match=message):
            load_model(stranger.path, "best")


def test_a_header_that_promises_too_much_is_refused(stranger: RunFolder) -> None:
    path = stranger.checkpoint("best").resolve() / "model.safetensors"
    header = json.dumps({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    weights = path.read_bytes()
    for data in (weights, (2**60).to_bytes(8, "little") + b"{}"):
        path.write_bytes(data)
        from nmt.runs.checkpoint import _digest

        manifest = {"format": 1, "sha256": {"model.safetensors": _digest(path)}}
        path.with_name("manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError, match="damaged"):
            load_model(stranger.path, "best")


@pytest.mark.parametrize("name", ["config.yaml", "tokenizer", "tokenizer/joint.model", "checkpoints/best"])
def test_links_out_of_the_folder_are_not_followed(stranger: RunFolder, tmp_path: Path, name: str) -> None:
    target, link = tmp_path / "outside", stranger.path / name
    if link.is_dir():
        shutil.copytree(link, target)
    else:
        target.write_bytes(link.read_bytes())
    shutil.rmtree(link) if link.is_dir() and not link.is_symlink() else link.unlink()
    link.symlink_to(f"../{'../' if '/' in name else ''}outside")
    with pytest.raises(CheckpointError, match="leads out of the model folder"):
        load_model(stranger.path)


def test_no_link_in_the_folder_may_lead_out(stranger: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (stranger.path / "eval").symlink_to(tmp_path / "elsewhere")
    for use in (lambda: load_model(stranger.path), lambda: run_average(stranger, 1, False, "mean")):
        with pytest.raises(CheckpointError, match="leads out of the model folder"):
            use()


@pytest.mark.parametrize("size", [4 * 10**18, 10**21])
def test_impossible_sizes_are_refused(stranger: RunFolder, size: int) -> None:
    config = load_config(stranger.config)
    model = config.model.model_copy(update={"embedding_size": size})
    save_config(config.model_copy(update={"model": model}), stranger.config)
    with pytest.raises(CheckpointError, match="no model can have the sizes"):
        load_model(stranger.path)


@pytest.mark.parametrize("text", ['{"format": Infinity}', "[" * 100_000, '{"format": 1, "sha256": 3}'])
def test_a_manifest_that_is_none_is_damaged(stranger: RunFolder, text: str) -> None:
    (stranger.checkpoint("best") / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(stranger.path, "best")


@pytest.mark.parametrize("temperature", ["0", "-1", "NaN", "1" + "0" * 400, '"x"'])
def test_a_calibration_that_is_none_is_refused(stranger: RunFolder, temperature: str) -> None:
    stranger.calibration.write_text(f'{{"temperature": {temperature}, "offset": 0}}')
    with pytest.raises(CheckpointError, match="run nmt calibrate again"):
        _ = load_model(stranger.path).calibration


def test_threads_of_another_machine_do_not_count(stranger: RunFolder) -> None:
    stranger.config.write_text(stranger.config.read_text().replace("threads: 0", "threads: 1000"))
    assert load_model(stranger.path).config.training.threads == 0


def test_a_checkpoints_name_cannot_climb(stranger: RunFolder) -> None:
    with pytest.raises(CheckpointError, match="cannot contain folders"):
        load_model(stranger.path, "../../elsewhere")


def test_a_manifest_cannot_name_other_files(stranger: RunFolder) -> None:
    manifest = stranger.checkpoint("best") / "manifest.json"
    manifest.write_text(json.dumps({"format": 1, "sha256": {"../../config.yaml": "0"}}))
    with pytest.raises(CheckpointError, match="names other files"):
        load_model(stranger.path, "best")
