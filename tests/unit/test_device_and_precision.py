"""The device and the precision that are chosen."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from nmt import runtime
from nmt.errors import ConfigError
from nmt.runtime import choose_device, choose_precision
from nmt.training.validation import Validator

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(("has_gpu", "expected"), [(True, GPU), (False, CPU)])
def test_auto_takes_a_gpu_if_there_is_one(
    monkeypatch: pytest.MonkeyPatch, has_gpu: bool, expected: torch.device
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert choose_device("auto") == expected


@pytest.mark.parametrize("name", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_refused(name: str) -> None:
    assert choose_device("cpu") == CPU
    with pytest.raises(ConfigError, match=f"training.device is '{name}', which this machine does not offer"):
        choose_device(name)


@pytest.mark.parametrize("fast", [True, False])
def test_auto_takes_bfloat16_where_it_is_fast(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast)
    monkeypatch.setattr(runtime, "_cpu_multiplies_bf16", lambda: fast)
    for device in (CPU, GPU):
        assert choose_precision("auto", device) == (torch.bfloat16 if fast else torch.float32)
        assert choose_precision("bf16", device) == torch.bfloat16
        assert choose_precision("fp32", device) == torch.float32
    assert choose_precision("auto", torch.device("meta")) == torch.float32


def test_a_bleu_of_zero_beside_a_good_chrf_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    validator: Any = SimpleNamespace(_warned=False, bleu_tokenize="13a")
    with caplog.at_level(logging.WARNING):
        for bleu, chrf in ((0.0, 5.0), (1.0, 50.0)):
            Validator._warn_of_zero_bleu(validator, {"bleu": bleu, "chrf": chrf})
        assert not caplog.records
        for _ in range(2):
            Validator._warn_of_zero_bleu(validator, {"bleu": 0.0, "chrf": 20.0})
    [record] = caplog.records
    assert "chrF is 20.0: BLEU's tokenizer '13a'" in record.getMessage()
