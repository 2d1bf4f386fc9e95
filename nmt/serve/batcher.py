"""Translation of lines from many requests in common batches, as they arrive."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from nmt.decoding.request import Request, alternatives
from nmt.decoding.suggest import Suggestion, next_words
from nmt.decoding.translation import Translation
from nmt.decoding.translator import Translator
from nmt.errors import NmtError

log = logging.getLogger(__name__)
_WAIT = 0.003  # seconds without a new line after which a batch begins
_WAIT_AT_MOST = 0.03  # the longest time, in seconds, that a batch waits for further lines
_LINES_AT_ONCE = 64
_CHARACTERS_AT_ONCE = 12_000
_LONG = 2_000  # lines of more characters are translated in a separate thread


class Busy(Exception):
    """Raised if too many lines are waiting already; the client should try again later."""


@dataclass(frozen=True)
class Job:
    """One line to translate.

    Attributes:
        request: the source text and the constraints on its translation.
        n_best: the number of translations.
        with_links: whether to compute the word aligner's links, too.
    """

    request: Request
    n_best: int = 1
    with_links: bool = False

    @property
    def characters(self) -> int:
        """The number of characters in the source text and the prefix, times the number of translations.

        The beam has a bank for each number of required pieces, so required phrases count with their number, too. Every
        step looks for each forbidden phrase, which takes time in proportion to the length of the translation.
        """
        text, require = len(self.request.text), self.request.require
        required = sum(map(len, require)) * len(require)
        forbidden = text * sum(len(alternatives(each)) for each in self.request.forbid) // 10
        return (text + len(self.request.prefix) + required + forbidden) * self.n_best

    @property
    def is_long(self) -> bool:
        """Whether it would delay other lines for seconds."""
        return self.characters > _LONG


@dataclass(eq=False)
class _Waiting:
    job: Job
    answer: "asyncio.Future[Translation | NmtError]"
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """One model, the threads that compute with it, and the lines that wait for it.

    Long lines have a thread of their own, so that short ones do not wait for them.

    Attributes:
        limit: the maximum number of lines that are waiting or being translated.
        waiting: the number of lines that are waiting or being translated.
        lines: the number of lines translated so far.
        batches: the number of batches so far.
    """

    def __init__(self, translator: Callable[[], Translator], limit: int):
        """Start with an empty queue.

        Args:
            translator: returns the translator, which may change between batches.
            limit: the maximum number of lines that are waiting or being translated.
        """
        self._translator, self.limit = translator, limit
        self._queue: list[_Waiting] = []
        kinds = (False, True)  # short lines and long ones
        self._arrived = {is_long: asyncio.Event() for is_long in kinds}
        self._threads = {is_long: ThreadPoolExecutor(1, "translate") for is_long in kinds}
        self._tasks: list[asyncio.Task[None]] = []
        self.waiting = self.lines = self.batches = 0

    def start(self) -> None:
        """Start to translate; this needs a running event loop."""
        self._tasks = [asyncio.create_task(self._run(is_long)) for is_long in self._arrived]

    async def stop(self) -> None:
        """Wait until no lines are left, then stop the tasks and threads."""
        while self.waiting:
            await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        for thread in self._threads.values():
            thread.shutdown(wait=True)

    async def translate(self, jobs: Sequence[Job]) -> list[Translation | NmtError]:
        """Return for each job its translation or its error; an error in one line does not affect the others.

        Raises:
            Busy: if too many lines are waiting already.
        """
        if self.waiting + len(jobs) > self.limit:
            raise Busy
        loop = asyncio.get_running_loop()
        mine = [_Waiting(job, loop.create_future()) for job in jobs]
        self.waiting += len(mine)
        self._queue += mine
        for job in jobs:
            self._arrived[job.is_long].set()
        try:
            return list(await asyncio.gather(*(one.answer for one in mine)))
        finally:  # if the client has disconnected, its lines are dropped
            for one in mine:
                one.answer.cancel()
            self.waiting -= len(mine)

    async def suggest(self, line: str, prefix: str, count: int, look_at: tuple[int, int] | None) -> list[Suggestion]:
        """Return words that could follow the beginning of a translation; see `next_words`.

        Raises:
            Busy: if too many lines are waiting already.
            DataError: for a beginning that the model cannot write.
        """
        if self.waiting >= self.limit:
            raise Busy
        loop = asyncio.get_running_loop()
        arguments = self._translator(), line, prefix, count, look_at
        thread = self._threads[Job(Request(line, prefix)).is_long]
        self.waiting += 1
        try:
            return await loop.run_in_executor(thread, next_words, *arguments)
        finally:
            self.waiting -= 1

    async def _run(self, is_long: bool) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived[is_long].wait()
            await self._all_there()
            batch = self._next_batch(is_long)
            if not batch:
                continue
            answers = await loop.run_in_executor(self._threads[is_long], self._work, [one.job for one in batch])
            self.lines, self.batches = self.lines + len(batch), self.batches + 1
            for one, answer in zip(batch, answers, strict=True):
                if not one.answer.done():
                    one.answer.set_result(answer)

    async def _all_there(self) -> None:
        """Wait until no new line has arrived for a moment, enough lines for a batch wait, or the time is up."""
        began, count = time.monotonic(), -1
        while count < len(self._queue) < _LINES_AT_ONCE and time.monotonic() - began < _WAIT_AT_MOST:
            count = len(self._queue)
            await asyncio.sleep(_WAIT)

    def _next_batch(self, is_long: bool) -> list[_Waiting]:
        """Remove the oldest lines that can be translated together from the queue and return them.

        They are all short or all long, agree in `n_best` and `with_links`, and are not too many or too much text.
        """
        self._queue = [one for one in self._queue if not one.answer.done()]
        batch: list[_Waiting] = []
        characters = 0
        for one in self._queue:
            if one.job.is_long != is_long:
                continue
            if batch and (one.job.n_best, one.job.with_links) != (batch[0].job.n_best, batch[0].job.with_links):
                continue
            characters += one.job.characters
            if batch and (characters > _CHARACTERS_AT_ONCE or len(batch) == _LINES_AT_ONCE):
                break
            batch.append(one)
        chosen = set(map(id, batch))
        self._queue = [one for one in self._queue if id(one) not in chosen]
        if not any(one.job.is_long == is_long for one in self._queue):
            self._arrived[is_long].clear()
        return batch

    def _work(self, jobs: list[Job]) -> list[Translation | NmtError]:
        """Translate jobs in this thread as one batch or, if that fails, one by one; return translations or errors."""
        translator = self._translator()
        try:
            found = translator.translate([job.request for job in jobs], n_best=jobs[0].n_best)
            return list(translator.with_links(found) if jobs[0].with_links else found)
        except NmtError as error:
            if len(jobs) == 1:  # which line it is, only the request knows
                return [type(error)(str(error).removeprefix("line 1: "))]
        except Exception:
            log.exception("a batch of %d lines failed", len(jobs))
            if len(jobs) == 1:
                return [NmtError("the line could not be translated; the server's log says why")]
        return [answer for job in jobs for answer in self._work([job])]
