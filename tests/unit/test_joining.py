"""How a process joins the others that torchrun started, and which GPU it takes; no process group is made here."""

import pytest
import torch
from torch import distributed

from nmt.cli.options import chosen_device
from nmt.errors import ConfigError
from nmt.processes import Processes


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done with the process group and the GPUs; this process is number 1 of 2, on a machine with two GPUs."""
    done: list[str] = []
    environment = {"RANK": 1, "WORLD_SIZE": 2, "LOCAL_RANK": 1, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "localhost"}
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda number: done.append(f"GPU {number}"))
    monkeypatch.setattr(distributed, "init_process_group", lambda backend, timeout: done.append(backend))
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: done.append("ended"))
    return done


def test_only_what_is_on_gpus_goes_over_nccl(calls: list[str]) -> None:
    with Processes.join() as processes:
        assert (processes.rank, processes.size, processes.device("auto")) == (1, 2, "cuda:1")
    assert calls == ["GPU 1", "cpu:gloo,cuda:nccl", "ended"]
    calls.clear()
    with Processes.join("cpu"):
        pass
    assert calls == ["gloo", "ended"]


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"])
def test_a_process_must_know_its_place(calls: list[str], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "first")
    with pytest.raises(ConfigError, match=f"2 processes work together, but {name} is 'first'; start them"):
        Processes.join("cpu").__enter__()
    monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match=f"but {name} is not set"):
        Processes.join("cpu").__enter__()
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ConfigError, match="WORLD_SIZE"):
        Processes.join("cpu").__enter__()
    assert calls == []


def test_after_an_error_a_process_does_not_wait_for_nccl(calls: list[str]) -> None:
    with pytest.raises(ConfigError), Processes.join("cuda"):
        raise ConfigError("no such file")
    assert calls == ["GPU 1", "cpu:gloo,cuda:nccl"]
    calls.clear()
    with pytest.raises(ConfigError), Processes.join("cpu"):
        raise ConfigError("no such file")
    assert calls == ["gloo", "ended"]


def test_each_process_needs_a_gpu_of_its_own(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"training.device is cuda:0, but each of 2 processes uses a GPU of its own"):
        Processes.join("cuda:0").__enter__()
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="process 1 of this machine, counted from 0, has no GPU of its own"):
        Processes.join("auto").__enter__()
    assert calls == []


def test_without_cuda_several_processes_use_the_cpu(calls: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with Processes.join("auto") as processes:
        assert processes.device("auto") == "cpu"
    assert Processes().device("auto") == "auto"
    assert calls == ["gloo", "ended"]
    with pytest.raises(ConfigError, match=r"2 processes cannot share training\.device mps; set it to auto or cpu"):
        Processes.join("mps").__enter__()


def test_the_last_override_of_the_device_counts() -> None:
    assert chosen_device(None) == "auto"
    assert chosen_device(["decoding.beam_size=3"]) == "auto"
    assert chosen_device(["training.device=cuda", "training.threads=1", "training.device=cpu"]) == "cpu"
