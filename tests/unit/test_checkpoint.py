import os
from pathlib import Path

import pytest
import torch
from torch import nn

from nmt.errors import CheckpointError
from nmt.runs.checkpoint import load_state, newest_checkpoint, prune, save_checkpoint
from nmt.runs.folder import RunFolder, find_model
from nmt.runs.pointers import point
from nmt.runs.weights import load_weights


def test_weights_and_state_come_back(tmp_path: Path) -> None:
    model, other = nn.Linear(3, 4), nn.Linear(3, 4)
    folder = save_checkpoint(tmp_path, 12, model, {"numbers": [1.5, 2], "tensor": torch.arange(3)})
    load_weights(folder, other)
    assert torch.equal(model.weight, other.weight)
    state = load_state(folder)
    assert state["numbers"] == [1.5, 2]
    assert torch.equal(state["tensor"], torch.arange(3))
    assert (tmp_path / "last").readlink() == Path("step-000012")
    assert newest_checkpoint(tmp_path) == folder


def test_a_crash_while_writing_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, 2)
    good = save_checkpoint(tmp_path, 1, model, {"x": 1})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(tmp_path, 2, model, {"x": 2})
    assert newest_checkpoint(tmp_path) == good
    assert (tmp_path / "last").resolve() == good


def test_only_the_last_and_the_best_are_kept(tmp_path: Path) -> None:
    for update in range(1, 6):
        save_checkpoint(tmp_path, update, nn.Linear(1, 1), {})
        if update == 2:
            point(tmp_path / "best", "step-000002")
        prune(tmp_path, 2, [f"step-{done:06d}" for done in range(1, update + 1)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best",
        "last",
        "step-000002",
        "step-000004",
        "step-000005",
    ]


def test_what_was_saved_between_validations_goes_with_the_next_one(tmp_path: Path) -> None:
    validated = []
    for update in (2, 3, 4, 6):  # 3 was an interruption
        save_checkpoint(tmp_path, update, nn.Linear(1, 1), {})
        validated += [f"step-{update:06d}"] if update != 3 else []
        prune(tmp_path, 2, validated)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-000004", "step-000006"]


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for update in (999_999, 1_000_000):
        save_checkpoint(tmp_path, update, nn.Linear(1, 1), {})
    prune(tmp_path, 1, ["step-999999", "step-1000000"])
    assert newest_checkpoint(tmp_path) == tmp_path / "step-1000000"
    assert not (tmp_path / "step-999999").exists()


def test_a_second_trainer_is_kept_away(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    busy = rf"process {os.getpid()} is training this run already"
    with run.locked(), pytest.raises(CheckpointError, match=busy), run.locked():
        pass
    with run.locked():
        pass


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_state_with_code_in_it_is_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    (tmp_path / "state.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match="damaged"):
        load_state(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_damaged_or_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_weights(tmp_path, nn.Linear(1, 1))
    folder = save_checkpoint(tmp_path, 1, nn.Linear(3, 3), {})
    with pytest.raises(CheckpointError, match="not of this configuration"):
        load_weights(folder, nn.Linear(2, 2))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:20])
    with pytest.raises(CheckpointError, match="damaged"):
        load_weights(folder, nn.Linear(3, 3))


def test_without_a_model_the_message_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Train one with: nmt train"):
        find_model(None, tmp_path)
    with pytest.raises(CheckpointError, match="not a model folder"):
        find_model(tmp_path, tmp_path)
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        RunFolder(tmp_path).checkpoint()
