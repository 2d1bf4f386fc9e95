"""The machine: which device and precision are chosen, and what is said of those that are not there."""

from pathlib import Path

import pytest
import torch

from nmt import runtime
from nmt.errors import ConfigError
from nmt.runtime import choose_device, choose_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("there", "kind"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_a_gpu_if_there_is_one(monkeypatch: pytest.MonkeyPatch, there: bool, kind: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert choose_device("auto").type == kind


@pytest.mark.parametrize(
    ("name", "built_with", "message"),
    [
        ("gpu", "12.4", "a GPU is called cuda"),
        ("GPU:1", "12.4", "a GPU is called cuda"),
        ("cuda", None, "built without CUDA"),
        ("cuda:1", "12.4", "torch finds no CUDA GPU on this machine"),
        ("abacus", None, "which this machine does not offer"),
    ],
)
def test_a_device_that_is_not_there_is_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, built_with: str | None, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", built_with)
    with pytest.raises(ConfigError, match=message):
        choose_device(name)


@pytest.mark.parametrize(
    ("name", "device", "is_fast", "chosen"),
    [
        ("fp32", CPU, True, torch.float32),
        ("bf16", CPU, False, torch.bfloat16),
        ("auto", CPU, True, torch.bfloat16),
        ("auto", CPU, False, torch.float32),
        ("auto", GPU, True, torch.bfloat16),
        ("auto", GPU, False, torch.float32),
    ],
)
def test_auto_takes_bf16_only_where_it_is_fast(
    monkeypatch: pytest.MonkeyPatch, name: str, device: torch.device, is_fast: bool, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(runtime, "_cpu_multiplies_bf16", lambda: is_fast)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: is_fast)
    assert choose_precision(name, device) == chosen


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("avx512f avx512_bf16", torch.float32),
        ("avx512f avx512_bf16 amx_tile amx_bf16", torch.bfloat16),
        ("neon", torch.float32),
    ],
)
def test_a_cpu_takes_bf16_only_with_amx(monkeypatch: pytest.MonkeyPatch, flags: str, chosen: torch.dtype) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: f"flags : {flags}\n")
    assert choose_precision("auto", CPU) == chosen
