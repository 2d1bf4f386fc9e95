"""Set how the threads of torch and numpy wait for one another, before these libraries are imported."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_OPENMP = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@contextlib.contextmanager
def thread_environment() -> Iterator[None]:
    """Set how the threads of the libraries imported in this block wait, unless the environment already sets it.

    A thread that has finished its part of an operation checks repeatedly whether the others have finished, too, and
    gives up its core only after some time. libgomp, which comes with torch on Linux, checks 300,000 times. This is
    fastest on an idle machine. If another program is busy, however, the thread that the others wait for may have no
    core, and two threads may train many times more slowly than one. With 2,000 checks, the loss on an idle machine is
    too small to measure, and three quarters of one thread's rate remain if a program starts later. If too few cores are
    free at the start, threads do not check at all (docs/speed.md has the figures).

    This has no effect if torch has already been imported, because its OpenMP has then read its settings.
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
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def other_programs_run() -> bool:
    """Return whether, with one thread for each available core, some cores would be taken by other programs right now.

    The answer is False if the system does not provide this information; only Linux does.
    """
    running = None
    for _ in range(4):  # the least of four readings, so that programs that run only for a few milliseconds do not count
        try:
            now = int(Path("/proc/loadavg").read_text(encoding="ascii").split()[3].partition("/")[0])
        except (OSError, IndexError, ValueError):
            return False
        running = now if running is None else min(running, now)
        time.sleep(0.001)
    assert running is not None
    others = running - 1  # this process is one of them
    return others + available_cores() > (os.cpu_count() or 1)
