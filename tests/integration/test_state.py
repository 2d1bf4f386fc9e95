"""The trainer's state of a checkpoint, when it is not what was written: a message, never a traceback or a crash."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nmt.commands.average import run_average
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.errors import CheckpointError, NmtError
from nmt.runs.checkpoint import _digest, kept_checkpoints
from nmt.runs.folder import RunFolder

MakeConfig = Callable[..., Config]


@pytest.fixture
def run(make_config: MakeConfig) -> RunFolder:
    settings = {"epochs": 1, "validation": {"sentences": 0}, "early_stopping": {"metric": "loss"}}
    return run_train(make_config(training=settings))


def more(make_config: MakeConfig) -> Config:
    return make_config(training={"epochs": 2, "validation": {"sentences": 0}, "early_stopping": {"metric": "loss"}})


def rewrite(run: RunFolder, change: Callable[[dict[str, Any]], Any]) -> None:
    """Put another state into the newest checkpoint, with a manifest that fits."""
    folder = kept_checkpoints(run.checkpoints)[-1]
    state = torch.load(folder / "state.pt", weights_only=True)
    changed = change(state)
    torch.save(changed if changed is not None else state, folder / "state.pt")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["state.pt"] = _digest(folder / "state.pt")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def moments(state: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = state["trainer"]["optimizer"]["state"][0]
    return found


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a list": lambda state: [state],
    "no data": lambda state: {"x": 1},
    "no trainer": lambda state: {key: state[key] for key in state if key != "trainer"},
    "trainer a list": lambda state: state.update(trainer=[]),
    "progress none": lambda state: state.update(progress=None),
    "window none": lambda state: state.update(window=None),
    "window of strings": lambda state: state.update(window=dict.fromkeys(state["window"], "1")),
    "machine a number": lambda state: state.update(machine=3),
    "update a string": lambda state: state["trainer"].update(update="3"),
    "epoch negative": lambda state: state["trainer"].update(epoch=-1),
    "position beyond": lambda state: state["trainer"].update(position=10**6),
    "position a fraction": lambda state: state["trainer"].update(position=0.5),
    "schedule of strings": lambda state: state["trainer"].update(schedule={"factor": "1", "best": 0.0, "bad": 0}),
    "short generator": lambda state: state["trainer"].update(random=state["trainer"]["random"][:8]),
    "generator a list": lambda state: state["trainer"].update(random=[1, 2]),
    "no optimizer": lambda state: state["trainer"].update(optimizer={}),
    "moment of another shape": lambda state: moments(state).update(exp_avg=torch.zeros(1)),
    "moment of another type": lambda state: moments(state).update(exp_avg_sq=torch.zeros(3, dtype=torch.int64)),
    "moment missing": lambda state: moments(state).__delitem__("exp_avg"),
    "moment unknown": lambda state: moments(state).update(extra=torch.zeros(1)),
    "step a vector": lambda state: moments(state).update(step=torch.zeros(3)),
    "parameter unknown": lambda state: state["trainer"]["optimizer"]["state"].update({999: moments(state)}),
    "best a string": lambda state: state["progress"].update(best="best"),
    "seconds a string": lambda state: state["progress"].update(seconds="10"),
    "values a list": lambda state: state["progress"].update(values=[1]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_state_of_another_shape_is_refused_with_a_remedy(run: RunFolder, make_config: MakeConfig, name: str) -> None:
    rewrite(run, CHANGES[name])
    with pytest.raises(NmtError, match=r"remove|training data is not|damaged"):
        run_train(more(make_config))


@pytest.mark.parametrize("name", ["a list", "no data", "progress none", "values a list"])
def test_a_state_without_values_is_refused_by_averaging(run: RunFolder, name: str) -> None:
    rewrite(run, CHANGES[name])
    with pytest.raises(CheckpointError, match="damaged"):
        run_average(run, 1, False, "mean")


def test_a_view_that_is_smaller_than_its_shape_is_copied(run: RunFolder, make_config: MakeConfig) -> None:
    """The fused update writes to every place of a moment, so all of them must exist."""
    before = moments(torch.load(kept_checkpoints(run.checkpoints)[-1] / "state.pt", weights_only=True))["exp_avg"]
    rewrite(run, lambda state: moments(state).update(exp_avg=torch.zeros(1, 1).expand(before.shape)))
    run_train(more(make_config))
    after = moments(torch.load(kept_checkpoints(run.checkpoints)[-1] / "state.pt", weights_only=True))["exp_avg"]
    assert after.is_contiguous()


def test_a_resumption_on_another_machine_is_told(
    run: RunFolder, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"epochs": 2, "threads": 2, "validation": {"sentences": 0}, "early_stopping": {"metric": "loss"}}
    threads = torch.get_num_threads()
    run_train(make_config(training=settings | {"max_updates": 4}))
    torch.set_num_threads(threads)
    assert "the machine has changed (threads 1 -> 2), so the numbers will differ by rounding" in caplog.text
    assert "rounding and dropout" not in caplog.text


def test_another_number_of_processes_is_told(
    run: RunFolder, make_config: MakeConfig, caplog: pytest.LogCaptureFixture
) -> None:
    rewrite(run, lambda state: state["machine"].update(processes="2"))
    run_train(more(make_config))
    assert "(processes 2 -> 1), so the numbers will differ by rounding and dropout" in caplog.text
