"""How the threads of torch and numpy wait for one another; it has to be said before these libraries are imported."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@contextlib.contextmanager
def thread_environment() -> Iterator[None]:
    """Set, for what is imported inside, how threads wait, unless the environment says so already.

    A thread that has finished its part of an operation looks again and again whether the others have, too, and gives
    its core away only after some time. libgomp, which torch brings on Linux, looks 300,000 times. That is the fastest
    way on a quiet machine, but beside another busy program the thread that is waited for has no core meanwhile, and
    two threads may train many times more slowly than one. 2,000 looks cost nothing that can be measured on a quiet
    machine and keep three quarters of one thread's rate when a program comes later. Where too few cores are free at
    the start, threads do not look at all (docs/speed.md has the figures).

    Nothing changes when torch has been imported before: its OpenMP has read its settings by then.
    """
    settings = {} if "torch" in sys.modules else _settings()
    os.environ.update(settings)
    try:
        yield
    finally:
        for name in settings:
            os.environ.pop(name, None)


def _settings() -> dict[str, str]:
    # numpy's products here are small, and the word aligner already uses every core; threads of numpy's own would only
    # wait for one another.
    settings = {} if "OPENBLAS_NUM_THREADS" in os.environ else {"OPENBLAS_NUM_THREADS": "1"}
    if any(name in os.environ for name in _OPENMP):
        return settings
    if other_programs_run():
        return settings | {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
    return settings | {"GOMP_SPINCOUNT": "2000"}


def available_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def other_programs_run() -> bool:
    """Whether a thread for each of our cores would find some of them taken by other programs at this moment.

    The answer is False where the system does not tell, which only Linux does.
    """
    running = None
    for _ in range(4):  # the least of four looks: what runs for less than a few milliseconds does not count
        try:
            now = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])
        except (OSError, IndexError, ValueError):
            return False
        running = now if running is None else min(running, now)
        time.sleep(0.001)
    assert running is not None
    others = running - 1  # this process is one of them
    return others + available_cores() > (os.cpu_count() or 1)
