"""How threads wait for one another."""

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nmt import threads

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OPENBLAS_NUM_THREADS")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process that has not imported torch, with nothing about threads in its environment."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("busy", "settings"),
    [
        (False, {"GOMP_SPINCOUNT": "2000", "OPENBLAS_NUM_THREADS": "1"}),
        (True, {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0", "OPENBLAS_NUM_THREADS": "1"}),
    ],
)
def test_threads_spin_for_a_while_only_where_cores_are_free(
    fresh: pytest.MonkeyPatch, busy: bool, settings: dict[str, str]
) -> None:
    fresh.setattr(threads, "other_programs_run", lambda: busy)
    with threads.thread_environment():
        assert {name: os.environ[name] for name in NAMES if name in os.environ} == settings
    assert not any(name in os.environ for name in NAMES)  # a Python session keeps the environment that it had


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"])
def test_what_the_user_said_of_openmp_holds(fresh: pytest.MonkeyPatch, name: str) -> None:
    fresh.setenv(name, "active")
    with threads.thread_environment():
        assert [other for other in NAMES if other in os.environ] == [name, "OPENBLAS_NUM_THREADS"]
    assert os.environ[name] == "active"


def test_nothing_is_set_when_torch_has_read_its_settings(fresh: pytest.MonkeyPatch) -> None:
    fresh.setitem(sys.modules, "torch", pytest)
    with threads.thread_environment():
        assert not any(name in os.environ for name in NAMES)


@pytest.mark.parametrize(
    ("looks", "cores", "busy"),
    [
        ("1 1 1 1", 2, False),
        ("2 2 3 2", 2, True),
        ("3 1 2 2", 2, False),  # something ran for a moment
        ("2 2 2 2", 64, False),  # ours are limited to two of 64 cores
        ("63 63 63 63", 64, False),
        ("64 64 64 64", 64, True),
    ],
)
def test_other_programs_are_seen_by_what_wants_to_run(
    monkeypatch: pytest.MonkeyPatch, looks: str, cores: int, busy: bool
) -> None:
    left = looks.split()
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: f"0.5 0.5 0.5 {left.pop(0)}/80 123\n")
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert threads.other_programs_run() is busy


def test_a_system_that_does_not_tell_counts_as_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Path, encoding: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    assert not threads.other_programs_run()


def _spin(seconds: float) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        pass


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="only Linux tells how many threads want to run")
def test_busy_processes_on_every_core_are_seen() -> None:
    spinning = [
        multiprocessing.get_context("spawn").Process(target=_spin, args=(10.0,)) for _ in range(os.cpu_count() or 1)
    ]
    for process in spinning:
        process.start()
    try:
        ends = time.monotonic() + 10
        while not (seen := threads.other_programs_run()) and time.monotonic() < ends:
            time.sleep(0.1)
        assert seen
    finally:
        for process in spinning:
            process.kill()


def test_torch_is_imported_with_the_setting_and_the_session_keeps_its_environment() -> None:
    program = "import os, nmt; before = dict(os.environ); nmt.load; import torch; assert dict(os.environ) == before"
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
