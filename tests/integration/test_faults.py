"""Damage, crafted folders, missing memory: a message and a way on, and never another model than was trained."""

import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nmt.commands.dry_run import run_dry_run
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.errors import CheckpointError, ConfigError, DataError, NmtError, TrainingError
from nmt.runs.checkpoint import average_checkpoints, find_damage, newest_checkpoint, remove_leftovers
from nmt.runs.folder import RunFolder
from nmt.runs.load import load_model
from nmt.runs.pointers import point
from nmt.runs.resume import InitFrom, fresh_name
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
    last = newest_checkpoint(run.checkpoints)
    assert last is not None
    harm(last / victim)
    assert translate(run)
    resumed = run_train(make_config(training=KEEP["training"] | {"epochs": 4}))
    assert weights_of(resumed) == weights_of(through)
    assert last.name in caplog.text
    assert find_damage(newest_checkpoint(run.checkpoints) or last) is None


def test_a_damaged_checkpoint_that_was_asked_for_is_refused(make_config: MakeConfig) -> None:
    run = run_train(make_config(**KEEP))
    flip(run.checkpoint("last") / "model.safetensors")
    with pytest.raises(CheckpointError, match="checksum differs"):
        load_model(run.path, "last")


def test_vanished_links_are_made_good(make_config: MakeConfig, caplog: pytest.LogCaptureFixture) -> None:
    run = run_train(make_config(**KEEP))
    for link in ("best", "last"):
        (run.checkpoints / link).unlink()
    newest = newest_checkpoint(run.checkpoints)
    assert newest is not None
    assert load_model(run.path).checkpoint == newest
    assert f"there is no usable best checkpoint; {newest.name} is used" in caplog.text
    longer = run_train(make_config(training=KEEP["training"] | {"epochs": 3}))
    assert (longer.checkpoints / "best").exists()
    assert (longer.checkpoints / "last").exists()


def test_what_a_dead_process_left_is_cleared_away(make_config: MakeConfig) -> None:
    run = run_train(make_config(**KEEP))
    last = newest_checkpoint(run.checkpoints)
    assert last is not None
    (run.checkpoints / ".step-000999.tmp").mkdir()
    last.rename(last.with_name(f".{last.name}.old"))  # died between two renames
    remove_leftovers(run.checkpoints)
    assert newest_checkpoint(run.checkpoints) == last
    assert not list(run.checkpoints.glob(".*"))


def test_a_process_that_died_in_its_first_checkpoint_is_no_obstacle(make_config: MakeConfig) -> None:
    through = run_train(make_config(name="through"))
    unfinished = RunFolder(make_config().run_dir).checkpoints / ".step-000003.tmp"
    unfinished.mkdir(parents=True)
    (unfinished / "model.safetensors").write_bytes(b"half")
    (unfinished.parents[1] / "train.log").touch()
    (unfinished.parents[1] / "tokenizer").mkdir()
    (unfinished.parents[1] / "tokenizer" / "other.model").write_bytes(b"of another configuration")
    run = run_train(make_config())
    assert weights_of(run) == weights_of(through)
    assert {path.name for path in run.tokenizer.iterdir()} == {path.name for path in through.tokenizer.iterdir()}


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"device": "cuda:7"}, "training.device"),
        ({"precision": "fp16", "device": "cpu"}, "fp16"),
        ({"pretrained_embeddings": {"src": "en.vec"}}, "en.vec"),
    ],
)
def test_a_run_that_cannot_begin_leaves_no_folder(
    make_config: MakeConfig, tmp_path: Path, training: dict[str, Any], message: str
) -> None:
    (tmp_path / "en.vec").write_text("the 1 2 3\n", encoding="utf-8")
    config = make_config(training=training)
    with pytest.raises(NmtError, match=message):
        run_train(config)
    assert not config.run_dir.exists()
    config.run_dir.mkdir(parents=True)
    RunFolder(config.run_dir).log.write_text("of an earlier start\n", encoding="utf-8")
    with pytest.raises(NmtError, match=message):
        run_train(config)
    assert "of an earlier start" in RunFolder(config.run_dir).log.read_text(encoding="utf-8")


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
        make_config(name="tuned", training={"max_updates": 1, "optimizer": {"lr": 1e-6}}),
        init_from=InitFrom(first.path),
    )
    parts = [load_file(run.checkpoint("best") / "model.safetensors") for run in (first, tuned)]
    for name, weight in parts[0].items():
        torch.testing.assert_close(parts[1][name], weight, atol=1e-5, rtol=0)
    assert (tuned.tokenizer / "joint.model").read_bytes() == (first.tokenizer / "joint.model").read_bytes()
    resumed = run_train(make_config(name="tuned", training={"optimizer": {"lr": 1e-6}}), init_from=InitFrom(first.path))
    assert caplog.text.count("starting from the weights") == 1  # a resumed run goes on with its own
    assert resumed.path == tuned.path
    with pytest.raises(ConfigError, match=r"model\.attention\.score: 'additive' -> 'dot'"):
        run_train(make_config(name="other", model={"attention": {"score": "dot"}}), init_from=InitFrom(first.path))


def test_a_run_can_begin_with_anothers_weights_and_a_vocabulary_of_its_own(
    make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nmt")
    first = run_train(make_config(training={"max_updates": 1}))
    settings = {"name": "other", "tokenizer": {"vocab_size": 90}, "training": {"optimizer": {"lr": 1e-9}}}
    with pytest.raises(ConfigError, match=r"tokenizer\.vocab_size: 120 -> 90"):
        run_train(make_config(**settings), InitFrom(first.path))
    begins = InitFrom(first.path, new_vocabulary=True, reset=("encoder",))
    assert "starts from" in run_dry_run(make_config(**settings), begins)
    other = run_train(make_config(**settings), begins)
    assert "of 90 target pieces" in caplog.text
    parts = [load_file(run.checkpoint("last") / "model.safetensors") for run in (first, other)]
    assert parts[1]["src_embedding.weight"].shape[0] == 90
    for name, weight in parts[0].items():
        if weight.shape == parts[1][name].shape and not name.endswith(("bias_ih_l0", "bias_hh_l0")):
            is_alike = torch.allclose(weight, parts[1][name], atol=1e-5)
            assert is_alike == (not name.startswith("encoder.")), name
    assert load_model(other.path).translator.translate(["a cat"])


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
    last = newest_checkpoint(run.checkpoints)
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


def test_memory_that_runs_out_while_an_update_is_applied_is_an_advice(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch.optim.Adam, "step", fail)
    with pytest.raises(TrainingError, match=r"ran out while update 1 was applied; lower training\.batch_size"):
        run_train(make_config())


@pytest.mark.parametrize("text", ["CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling", "?"])
def test_every_way_of_saying_that_memory_ran_out_is_understood(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(Trainer, "_sum_losses", fail)
    with pytest.raises(RuntimeError if text == "?" else TrainingError):
        run_train(make_config())


def test_a_dry_run_looks_at_the_model_that_it_is_to_begin_with(make_config: MakeConfig, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a model folder"):
        run_dry_run(make_config(), InitFrom(tmp_path / "nowhere"))
    first = run_train(make_config(training={"max_updates": 1}))
    assert "starts from" in run_dry_run(make_config(name="other"), InitFrom(first.path))
    with pytest.raises(ConfigError, match=r"model\.attention\.score"):
        run_dry_run(make_config(name="other", model={"attention": {"score": "dot"}}), InitFrom(first.path))


def test_training_in_a_thread_works(make_config: MakeConfig) -> None:
    found: list[RunFolder] = []
    thread = threading.Thread(target=lambda: found.append(run_train(make_config(training={"max_updates": 1}))))
    thread.start()
    thread.join()
    assert found[0].checkpoint("last").exists()


def test_a_dry_run_looks_for_the_file_of_links(make_config: MakeConfig, tmp_path: Path) -> None:
    guided = {"guided_alignment": {"enabled": True, "links": "links.txt"}}
    with pytest.raises(DataError, match=r"links\.txt"):
        run_dry_run(make_config(training=guided))
    (tmp_path / "links.txt").write_text("0-0\n")
    assert "new" in run_dry_run(make_config(training=guided))
