"""Lines of many clients that are translated together."""

import asyncio
from typing import Any

import pytest

import nmt
from nmt.decoding.request import Request
from nmt.decoding.translation import Translation
from nmt.errors import DataError
from nmt.serve.batcher import Batcher, Busy, Job

LINE = "I love you"


def run_batcher(limit: int, work: Any) -> Any:
    translator = nmt.load("runs/tiny", overrides=["training.threads=1"])._loaded.translator

    async def main() -> Any:
        batcher = Batcher(lambda: translator, limit)
        batcher.start()
        try:
            return await work(batcher)
        finally:
            await batcher.stop()

    return asyncio.run(main())


def test_lines_of_many_clients_are_translated_together_and_a_bad_one_harms_none(model: nmt.Model) -> None:
    lines = [f"I see {word}" for word in ("you", "him", "the cat", "a dog", "it", "them")] * 4
    jobs = [Job(Request(line, prefix="漢字" if at == 5 else "")) for at, line in enumerate(lines)]

    async def work(batcher: Batcher) -> Any:
        answers = await asyncio.gather(*(batcher.translate([job]) for job in jobs))
        return [answer[0] for answer in answers], batcher.lines, batcher.batches

    answers, count, batches = run_batcher(1000, work)
    assert isinstance(answers[5], DataError)
    expected = model.translate(lines)
    for at, (answer, alone) in enumerate(zip(answers, expected, strict=True)):
        assert at == 5 or (isinstance(answer, Translation) and answer.text == alone.text)
    assert count == len(lines)
    assert batches < len(lines) / 4


def test_a_long_line_does_not_hold_up_short_ones() -> None:
    async def work(batcher: Batcher) -> Any:
        order: list[str] = []

        async def ask(name: str, *jobs: Job) -> None:
            await batcher.translate(jobs)
            order.append(name)

        slow = Job(Request("I love the black cat " * 6), n_best=100)
        assert slow.is_long
        await ask("first", Job(Request(LINE)))  # which takes longer than all after it
        long = asyncio.create_task(ask("long", *[slow] * 5))
        await asyncio.sleep(0.05)  # they are being translated
        await ask("short", Job(Request(LINE)))
        await long
        return order

    assert run_batcher(10, work) == ["first", "short", "long"]


def test_too_many_lines_are_refused_and_those_of_clients_that_left_are_dropped() -> None:
    async def work(batcher: Batcher) -> Any:
        with pytest.raises(Busy):
            await batcher.translate([Job(Request(LINE))] * 11)
        gone = asyncio.create_task(batcher.translate([Job(Request("a " * 2000))] * 10))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        waiting = batcher.waiting
        return waiting, await batcher.translate([Job(Request(LINE))] * 10)

    waiting, answers = run_batcher(10, work)
    assert waiting == 0
    assert len(answers) == 10


def test_suggestions_are_counted_and_refused_like_lines() -> None:
    async def work(batcher: Batcher) -> Any:
        batcher.waiting = 10
        with pytest.raises(Busy):
            await batcher.suggest(LINE, "", 3, None)
        batcher.waiting = 9
        found = asyncio.create_task(batcher.suggest(LINE, "", 3, None))
        await asyncio.sleep(0)
        waiting = batcher.waiting
        await found
        after, batcher.waiting = batcher.waiting, 0
        return waiting, after

    assert run_batcher(10, work) == (10, 9)
