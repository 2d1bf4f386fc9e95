"""Lines of many requests, translated together as they come."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from nmt.decoding.request import Request
from nmt.decoding.suggest import Suggestion, next_words
from nmt.decoding.translation import Translation
from nmt.decoding.translator import Translator
from nmt.errors import NmtError

log = logging.getLogger(__name__)
_WAIT = 0.003  # seconds that the first line of a batch waits for others
_LINES_AT_ONCE = 64
_CHARACTERS_AT_ONCE = 12_000  # a long line is in a batch with few others, which it would hold up


class Busy(Exception):
    """More lines are waiting than will be taken in; the client should come back later."""


@dataclass(frozen=True)
class Job:
    """One line to translate.

    Attributes:
        request: the source text and what is asked for.
        n_best: how many translations.
        with_links: whether the word aligner is asked, too.
    """

    request: Request
    n_best: int = 1
    with_links: bool = False


@dataclass(eq=False)
class _Waiting:
    job: Job
    answer: "asyncio.Future[Translation | NmtError]"
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """One model, one thread that computes with it, and the lines that wait for it.

    Attributes:
        limit: the most lines that wait or are being translated.
        waiting: the number of lines that are waiting or being translated.
        lines: the number of lines translated so far.
        batches: the number of batches so far.
    """

    def __init__(self, translator: Callable[[], Translator], limit: int):
        """Start without lines.

        Args:
            translator: returns the translator, which may be another one after each batch.
            limit: the most lines that wait or are being translated.
        """
        self._translator, self.limit = translator, limit
        self._queue: list[_Waiting] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "translate")
        self._task: asyncio.Task[None] | None = None
        self.waiting = self.lines = self.batches = 0

    def start(self) -> None:
        """Begin to work; needs a running event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Translate what is waiting, then end."""
        while self.waiting:
            await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=True)

    async def translate(self, jobs: Sequence[Job]) -> list[Translation | NmtError]:
        """Return the translation of each job, or the error that its line met; a bad line does not fail the others.

        Raises:
            Busy: if too many lines are waiting already.
        """
        if self.waiting + len(jobs) > self.limit:
            raise Busy
        loop = asyncio.get_running_loop()
        mine = [_Waiting(job, loop.create_future()) for job in jobs]
        self.waiting += len(mine)
        self._queue += mine
        self._arrived.set()
        try:
            return list(await asyncio.gather(*(one.answer for one in mine)))
        finally:  # a client that went away takes its lines with it
            for one in mine:
                one.answer.cancel()
            self.waiting -= len(mine)

    async def suggest(self, line: str, prefix: str, count: int) -> list[Suggestion]:
        """Return what could follow a beginning; see `next_words`.

        Raises:
            DataError: for a beginning that the model cannot write.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, next_words, self._translator(), line, prefix, count)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            oldest = min((one.since for one in self._queue), default=0.0)
            await asyncio.sleep(max(0.0, oldest + _WAIT - time.monotonic()))
            batch = self._next_batch()
            if not batch:
                continue
            answers = await loop.run_in_executor(self._thread, self._work, [one.job for one in batch])
            self.lines, self.batches = self.lines + len(batch), self.batches + 1
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)

    def _next_batch(self) -> list[_Waiting]:
        """Take the oldest lines out of the queue that go together: as many hypotheses, and not too much text."""
        self._queue = [one for one in self._queue if not one.answer.done()]
        batch: list[_Waiting] = []
        characters = 0
        for one in self._queue:
            if batch and (one.job.n_best, one.job.with_links) != (batch[0].job.n_best, batch[0].job.with_links):
                continue
            characters += (len(one.job.request.text) + len(one.job.request.prefix)) * one.job.n_best
            if batch and (characters > _CHARACTERS_AT_ONCE or len(batch) == _LINES_AT_ONCE):
                break
            batch.append(one)
        chosen = set(map(id, batch))
        self._queue = [one for one in self._queue if id(one) not in chosen]
        if not self._queue:
            self._arrived.clear()
        return batch

    def _work(self, jobs: list[Job]) -> list[Translation | NmtError]:
        """Translate jobs in this thread; where something is wrong with one of them, each by itself."""
        translator = self._translator()
        try:
            found = translator.translate([job.request for job in jobs], n_best=jobs[0].n_best)
            return list(translator.with_links(found) if jobs[0].with_links else found)
        except NmtError as error:
            if len(jobs) == 1:
                return [error]
        except Exception:
            log.exception("a batch of %d lines failed", len(jobs))
            if len(jobs) == 1:
                return [NmtError("the line could not be translated; the server's log says why")]
        return [answer for job in jobs for answer in self._work([job])]
