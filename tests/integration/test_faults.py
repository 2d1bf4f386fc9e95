"""Damage, crafted folders, missing memory: a message and a way on, and never another model than was trained."""

import json
import logging
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nmt.config import Config
from nmt.config_file import load_config, save_config
from nmt.errors import CheckpointError, ConfigError, NmtError, TrainingError
from nmt.pipeline.average import run_average
from nmt.pipeline.begin import fresh_name
from nmt.pipeline.load import load_model
from nmt.pipeline.train import run_train
from nmt.run_folder import RunFolder, point
from nmt.training.checkpoint import average_checkpoints, damage, newest, tidy
from nmt.training.trainer import Trainer

MakeConfig = Callable[..., Config]
KEEP = {"training": {"validation": {"every": 2}, "keep_last": 3}}


def weights_of(run: RunFolder) -> bytes:
    return (run.checkpoint("last") / "model.safetensors").read_bytes()


def translate(run: RunFolder) -> str:
    return load_model(run.path).translator.translate(["the black cat"])[0].tgt.text


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("victim", ["model.safetensors", "state.pt", "manifest.json"])
@pytest.mark.parametrize("harm", [flip, lambda path: path.write_bytes(path.read_bytes()[:-9]), Path.unlink])
def test_a_damaged_checkpoint_is_passed_over_and_the_result_is_the_same(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture, victim: str, harm: Callable[[Path], Any]
) -> None:
    caplog.set_level(logging.WARNING, "nmt")
    through = run_train(make_config(name="through", training=KEEP["training"] | {"epochs": 4}))
    run = run_train(make_config(**KEEP))
    last = newest(run.checkpoints)
    assert last is not None
    harm(last / victim)
    assert translate(run)
    resumed = run_train(make_config(training=KEEP["training"] | {"epochs": 4}))
    assert weights_of(resumed) == weights_of(through)
    assert last.name in caplog.text
    assert damage(newest(run.checkpoints) or last) is None


def test_a_damaged_checkpoint_that_was_asked_for_is_refused(make_config: MakeConfig) -> None:
    run = run_train(make_config(**KEEP))
    flip(run.checkpoint("last") / "model.safetensors")
    with pytest.raises(CheckpointError, match="checksum differs"):
        load_model(run.path, "last")


def test_vanished_links_are_made_good(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    run = run_train(make_config(**KEEP))
    said = translate(run)
    for link in ("best", "last"):
        (run.checkpoints / link).unlink()
    assert translate(run) == said or "no usable best checkpoint" in caplog.text
    longer = run_train(make_config(training=KEEP["training"] | {"epochs": 3}))
    assert (longer.checkpoints / "best").exists()
    assert (longer.checkpoints / "last").exists()


def test_what_a_dead_process_left_is_cleared_away(make_config: MakeConfig) -> None:
    run = run_train(make_config(**KEEP))
    last = newest(run.checkpoints)
    assert last is not None
    (run.checkpoints / ".step-000999.tmp").mkdir()
    last.rename(last.with_name(f".{last.name}.old"))  # died between two renames
    tidy(run.checkpoints)
    assert newest(run.checkpoints) == last
    assert not list(run.checkpoints.glob(".*"))


def test_a_process_that_died_in_its_first_checkpoint_is_no_obstacle(make_config: MakeConfig) -> None:
    through = run_train(make_config(name="through"))
    unfinished = RunFolder(make_config().run_dir).checkpoints / ".step-000003.tmp"
    unfinished.mkdir(parents=True)
    (unfinished / "model.safetensors").write_bytes(b"half")
    (unfinished.parents[1] / "train.log").touch()
    assert weights_of(run_train(make_config())) == weights_of(through)


def test_a_newer_format_is_refused_with_advice(make_config: MakeConfig) -> None:
    run = run_train(make_config())
    manifest = run.checkpoint("best") / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": 99}))
    with pytest.raises(CheckpointError, match=r"newer nmt.*upgrade"):
        load_model(run.path)


def test_fresh_begins_beside_the_old_run(make_config: MakeConfig) -> None:
    config = make_config()
    first = run_train(config)
    before = weights_of(first)
    second = run_train(fresh_name(config))
    assert second.path.name == "tiny-2"
    assert fresh_name(config).name == "tiny-3"
    assert weights_of(first) == before == weights_of(second)


def test_a_run_can_begin_with_anothers_weights(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "nmt")
    first = run_train(make_config())
    tuned = run_train(
        make_config(name="tuned", training={"max_updates": 1, "optimizer": {"lr": 1e-6}}), init_from=first.path
    )
    parts = [load_file(run.checkpoint("best") / "model.safetensors") for run in (first, tuned)]
    for name, weight in parts[0].items():
        torch.testing.assert_close(parts[1][name], weight, atol=1e-5, rtol=0)
    assert (tuned.tokenizer / "joint.model").read_bytes() == (first.tokenizer / "joint.model").read_bytes()
    resumed = run_train(make_config(name="tuned", training={"optimizer": {"lr": 1e-6}}), init_from=first.path)
    assert caplog.text.count("beginning with the weights") == 1  # a resumed run goes on with its own
    assert resumed.path == tuned.path
    with pytest.raises(ConfigError, match=r"model\.attention\.score: 'additive' -> 'dot'"):
        run_train(make_config(name="other", model={"attention": {"score": "dot"}}), init_from=first.path)


def run_short_of_memory(
    config: Config, monkeypatch: pytest.MonkeyPatch, fails: Callable[[int, int], bool]
) -> RunFolder:
    real = Trainer._sum_losses

    def losses(self: Trainer, batches: list[Any], *rest: Any) -> tuple[float, float]:
        if fails(self.update, max(len(batch.src_ids) for batch in batches)):
            real(self, batches[:1], *rest)  # leaves gradients behind
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return real(self, batches, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_sum_losses", losses)
        return run_train(config)


def test_a_batch_without_memory_is_halved_and_teaches_the_same(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"model": {"dropout": dict.fromkeys(("embedding", "memory", "output"), 0.0)}}
    whole = run_train(make_config(name="whole", **settings))
    short = run_short_of_memory(make_config(**settings), monkeypatch, lambda update, size: update == 2 and size > 2)
    parts = [load_file(run.checkpoint("last") / "model.safetensors") for run in (whole, short)]
    for name, weight in parts[0].items():
        torch.testing.assert_close(parts[1][name], weight, atol=1e-5, rtol=1e-4)
    assert caplog.text.count("cut in half") == 1


def test_memory_that_stays_out_stops_with_the_key_to_lower(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match=r"lower training\.batch_size"):
        run_short_of_memory(make_config(), monkeypatch, lambda update, size: True)


AVERAGED = {"validation": {"every": 2}, "keep_last": 2, "averaging": {"checkpoints": 2}, "epochs": 3}


@pytest.mark.parametrize("which", ["last", "best"])
@pytest.mark.parametrize("leave_at", [3, 5, 9])
def test_an_interrupted_run_averages_the_same_checkpoints(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture, which: str, leave_at: int
) -> None:
    caplog.set_level(logging.INFO, "nmt")
    training = AVERAGED | {"averaging": {"checkpoints": 2, "which": which}}
    run_train(make_config(name="through", training=training))
    real = Trainer.updates

    def interrupted(self: Trainer) -> Any:
        for update in real(self):
            if update.number == leave_at:
                os.kill(os.getpid(), signal.SIGINT)
            yield update

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "updates", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_train(make_config(training=training))
    resumed = run_train(make_config(training=training))
    means = [line for line in caplog.text.splitlines() if "mean of the" in line]
    assert len(means) == 2
    assert means[0].split("mean of")[1] == means[1].split("mean of")[1]
    assert resumed.curve.exists()
    before = len(caplog.text)
    run_train(make_config(training=training))
    assert "nothing to do" in caplog.text[before:]


def test_damaged_checkpoints_are_not_averaged(make_config: MakeConfig) -> None:
    run = run_train(make_config(**KEEP))
    last = newest(run.checkpoints)
    assert last is not None
    flip(last / "model.safetensors")
    with pytest.raises(CheckpointError, match="cannot be averaged, it is damaged"):
        average_checkpoints([last], run.checkpoints / "mean")


def test_a_link_that_was_not_moved_in_time_is_moved(make_config: MakeConfig) -> None:
    run = run_train(
        make_config(training={"validation": {"every": 2}, "keep_last": 3, "early_stopping": {"metric": "loss"}})
    )
    best = (run.checkpoints / "best").resolve().name
    other = next(path.name for path in run.checkpoints.glob("step-*") if path.name != best)
    point(run.checkpoints / "best", other)  # died between the checkpoint and the link
    run_train(make_config(training={"validation": {"every": 2}, "keep_last": 3, "early_stopping": {"metric": "loss"}}))
    assert (run.checkpoints / "best").resolve().name == best


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
    from nmt.training.checkpoint import _digest

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
    with pytest.raises(CheckpointError, match=r"by config\.yaml and tokenizer it is F32 of"):
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
        from nmt.training.checkpoint import _digest

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
    with pytest.raises(CheckpointError, match="no folders in it"):
        load_model(stranger.path, "../../elsewhere")


def test_a_manifest_cannot_name_other_files(stranger: RunFolder) -> None:
    manifest = stranger.checkpoint("best") / "manifest.json"
    manifest.write_text(json.dumps({"format": 1, "sha256": {"../../config.yaml": "0"}}))
    with pytest.raises(CheckpointError, match="names other files"):
        load_model(stranger.path, "best")
