"""`nmt serve` as a process of its own, and the official client of LibreTranslate."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import nmt

LINE = "I love you"


@pytest.fixture(scope="module")
def process(home: Path) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    command = [sys.executable, "-m", "nmt", "serve", "-m", "runs/tiny", "--port", "0", "--set", "training.threads=1"]
    with subprocess.Popen(
        command, cwd=home, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        yield running.stdout.readline().strip(), running
        running.kill()


def test_the_official_client_works_unchanged(process: "tuple[str, subprocess.Popen[str]]", model: nmt.Model) -> None:
    library = pytest.importorskip("libretranslatepy")
    client = library.LibreTranslateAPI(process[0])
    assert client.translate(LINE, "src", "tgt") == model.translate([LINE])[0].text
    assert client.languages()[0]["code"] == "src"
    assert client.detect(LINE)[0]["language"] == "src"


def test_the_program_finishes_what_is_in_flight_and_ends(process: "tuple[str, subprocess.Popen[str]]") -> None:
    address, running = process
    answers: list[Any] = []

    def ask() -> None:
        body = json.dumps({"q": "\n".join([LINE] * 400)}).encode()
        request = urllib.request.Request(address + "translate", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            answers.append(json.loads(answer.read())["translatedText"].count("\n"))

    thread = threading.Thread(target=ask)
    thread.start()
    ends = time.monotonic() + 30
    while not answers and time.monotonic() < ends:
        with urllib.request.urlopen(address + "metrics", timeout=30) as metrics:
            if 'nmt_waiting{model="latest"} 400' in metrics.read().decode():
                break
    running.send_signal(signal.SIGTERM)
    thread.join(60)
    assert answers == [399]
    assert running.wait(30) in (0, -signal.SIGTERM)


def test_the_program_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from nmt.cli import app
    from nmt.cli import serve as module

    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    said = CliRunner().invoke(app, ["serve"])
    assert said.exit_code == 1
    assert "nmt serve needs starlette and uvicorn: pip install starlette uvicorn" in said.output
