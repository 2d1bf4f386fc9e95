"""The machine: which device and precision are chosen, and what is said of those that are not there."""

import threading
from pathlib import Path

import pytest
import torch

from nmt import runtime
from nmt.errors import ConfigError
from nmt.runtime import choose_device, choose_precision, one_ahead

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
        ("abacus", None, "which this machine does not have"),
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
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16", torch.float32),
        ("vendor_id : GenuineIntel\nflags : avx512f avx512_bf16 amx_tile amx_bf16", torch.bfloat16),
        ("vendor_id : AuthenticAMD\nflags : avx512f avx512_bf16", torch.bfloat16),
        ("vendor_id : AuthenticAMD\nflags : avx2", torch.float32),
        ("Features : neon", torch.float32),
    ],
)
def test_a_cpu_takes_bf16_where_training_is_faster_with_it(
    monkeypatch: pytest.MonkeyPatch, flags: str, chosen: torch.dtype
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: f"{flags}\n")
    assert choose_precision("auto", CPU) == chosen


def test_the_next_item_is_made_while_the_last_is_used() -> None:
    made: list[int] = []

    second = threading.Event()

    def make(item: int) -> int:
        made.append(item)
        if item == 1:
            second.set()
        if item == 3:
            raise ValueError("three")
        return 10 * item

    results = one_ahead(make, [0, 1, 2, 3, 4])
    assert next(results) == 0
    assert second.wait(10)  # while the caller uses the first result
    assert [next(results), next(results)] == [10, 20]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert made[:4] == [0, 1, 2, 3]
    assert list(one_ahead(make, [])) == []
    assert list(one_ahead(make, [7])) == [70]


def test_apples_gpu_is_taken_where_there_is_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    assert choose_precision("auto", torch.device("mps")) == torch.float32


def test_float16_on_apples_gpu_needs_a_torch_that_scales_its_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "__version__", "2.7.1")
    with pytest.raises(ConfigError, match=r"fp16 needs torch 2\.8 on Apple's GPUs"):
        choose_precision("fp16", torch.device("mps"))
    monkeypatch.setattr(torch, "__version__", "2.10.0")
    assert choose_precision("fp16", torch.device("mps")) == torch.float16


def test_only_tf32_rounds_float32_products() -> None:
    with pytest.raises(ConfigError, match="fp16 needs a GPU"):
        choose_precision("fp16", CPU)
    assert choose_precision("fp16", GPU) == torch.float16
    assert choose_precision("tf32", GPU) == torch.float32
    assert torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32
    assert choose_precision("bf16", GPU) == torch.bfloat16
    assert not torch.backends.cuda.matmul.allow_tf32
    assert torch.backends.cudnn.allow_tf32  # recurrent layers run in float32 there
    assert choose_precision("fp32", GPU) == torch.float32
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
