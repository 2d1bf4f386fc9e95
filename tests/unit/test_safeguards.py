"""Too little memory, lines that are cut, and messages that would command a terminal."""

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch

import nmt.runtime
from nmt.config import DecodingConfig
from nmt.data.batching import Batch
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.safeguards import in_halves
from nmt.decoding.translator import Translator
from nmt.errors import DataError, escape_controls, out_of_memory
from nmt.model.memory import Memory
from nmt.model.seq2seq import Seq2Seq
from nmt.runtime import set_up_machine

LINES = ["the black cat sees me", "", "a cat", "two big dogs eat", "is it raining?", "I love you", "a big cat"]


def translator_of(model: Seq2Seq, tokenizer: Tokenizer, **settings: object) -> Translator:
    decoding = DecodingConfig.model_validate({"beam_size": 2, "max_length_ratio": 1.0} | settings)
    return Translator(model, tokenizer, decoding, torch.device("cpu"))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_a_batch_that_memory_does_not_hold_is_translated_in_parts(
    make_model: Callable[..., Seq2Seq],
    tokenizer: Tokenizer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    translator = translator_of(make_model(), tokenizer)
    pairs = [(line, "un chat noir") for line in LINES]
    whole, forced = translator.translate(LINES), translator.force(pairs)
    real, most = Seq2Seq.encode, []

    def encode(self: Seq2Seq, batch: Batch) -> Memory:
        if len(batch.src_ids) > 2:
            raise error
        most.append(len(batch.src_ids))
        return real(self, batch)

    monkeypatch.setattr(Seq2Seq, "encode", encode)
    for before, after in ((whole, translator.translate(LINES)), (forced, translator.force(pairs))):
        assert [one.tgt for one in before] == [one.tgt for one in after]
        for one, two in zip(before, after, strict=True):
            assert one.token_log_probs == pytest.approx(two.token_log_probs, abs=1e-5)
            np.testing.assert_allclose(one.weights, two.weights, atol=1e-5)
    assert max(most) == 2
    assert "memory ran out for 6 lines at once, so they are processed in halves" in caplog.text


def test_memory_that_does_not_hold_one_line_and_other_errors_are_raised() -> None:
    def work(items: object) -> list[int]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with pytest.raises(RuntimeError, match="allocate memory"):
        in_halves(work, [1, 2, 3])
    assert out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert out_of_memory(
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."
        )
    )
    assert out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 9 GB, max allowed: 9 GB)"))
    assert not out_of_memory(RuntimeError("shapes differ"))


def test_only_the_first_cut_lines_are_named(
    make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "nmt")
    translator_of(make_model(), tokenizer, max_src_length=3).translate(["the black cat sees me"] * 12)
    said = [record.getMessage() for record in caplog.records]
    assert [line.split(" has ")[0] for line in said[:5]] == [f"line {number}" for number in range(1, 6)]
    assert said[5:] == ["and 7 more lines were cut (decoding.max_src_length)"]


def test_a_target_over_the_limit_is_refused_by_line(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    translator = translator_of(make_model(), tokenizer, max_tgt_length=20)
    with pytest.raises(DataError, match=r"line 2 of the target has \d+ pieces.* decoding\.max_tgt_length = 20"):
        translator.force([("a cat", "un chat"), ("a cat", "chat " * 40)])


def test_messages_hold_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    assert escape_controls("a\tb\nc\x1b]0;x\x07\x00\x7f\x9b é") == "a\tb\nc\\x1b]0;x\\x07\\x00\\x7f\\x9b é"
    nmt.runtime.set_up_logging()
    logging.getLogger("nmt").warning("%s", "\x1b[31mred")
    assert capsys.readouterr().err == "\\x1b[31mred\n"


def test_a_system_that_refuses_a_large_threshold_gets_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Libc:
        def mallopt(self, option: int, value: int) -> int:
            asked.append((option, value >> 20))
            return int(value <= 32 << 20)

    monkeypatch.setattr(nmt.runtime, "_glibc", Libc)
    threads = torch.get_num_threads()
    set_up_machine(1)
    torch.set_num_threads(threads)
    assert asked == [(-1, 1024), (-1, 32), (-3, 1024), (-3, 32)]


@pytest.mark.parametrize("uses_gpu", [True, False])
def test_memory_is_released_on_a_gpu_too(monkeypatch: pytest.MonkeyPatch, uses_gpu: bool) -> None:
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: uses_gpu)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    nmt.runtime.release_memory()
    assert emptied == [True] * uses_gpu
