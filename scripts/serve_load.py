"""Measure `nmt serve` with a trained model: latency, throughput, answers to malformed requests, and memory.

    python scripts/serve_load.py -m runs/my --input test.en --seconds 60 --clients 64

The server runs on this machine with one model, and answers this program only. Its throughput is compared with that of
`nmt translate`.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx

PARTS = [b'{"q":', b'"I love you"', b"}", b"[", b"]", b"\xff\xfe", b"null", b"\\ud800", b"1e999", b"q=%ff&", b"{" * 50]
KINDS = ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""]
PATHS = ["/translate", "/suggest", "/translate/stream", "/detect"]
TYPES: tuple[Any, ...] = (None, -1, 1e9, True, "", "x" * 3000, [], [[]], {}, [None], [1, 2], {"q": 1})
KEYS = ("q", "source", "target", "format", "alternatives", "prefix", "hide", "require", "forbid", "count", "model")


def memory(process: int) -> float:
    """Return the resident memory of a process in MB."""
    status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    return float(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1e3


async def latency(address: str, lines: list[str], count: int) -> list[float]:
    """Send the first `count` lines as single requests, one after the other, and return the seconds of each."""
    seconds = []
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        for line in lines[:count]:
            began = time.perf_counter()
            (await client.post("/translate", json={"q": line})).raise_for_status()
            seconds.append(time.perf_counter() - began)
    return seconds


async def memory_of_quarters(process: int, limit: float) -> list[float]:
    """Return the memory of a process after each quarter of `limit` seconds, in MB."""
    found = []
    for _ in range(4):
        await asyncio.sleep(limit / 4)
        found.append(memory(process))
    return found


async def throughput(
    address: str, lines: list[str], clients: int, limit: float, process: int
) -> tuple[list[float], int, float, list[float]]:
    """Let clients send single lines for some seconds.

    The clients are bare sockets, because they share the cores with the server.

    Args:
        address: the address of the server.
        lines: the lines to send.
        clients: how many clients send at the same time.
        limit: for how many seconds they send.
        process: the number of the server's process.

    Returns:
        The seconds of each answer, the number of answers without status 200, the seconds in all, and the memory after
        each quarter of the time.
    """
    seconds: list[float] = []
    lost = 0
    began = time.perf_counter()

    async def visitor(number: int) -> None:
        nonlocal lost
        place = address.removeprefix("http://").rstrip("/")
        name, _, port = place.partition(":")
        reader, writer = await asyncio.open_connection(name, int(port))
        at = number
        while time.perf_counter() - began < limit:
            body = json.dumps({"q": lines[at % len(lines)]}).encode()
            head = f"POST /translate HTTP/1.1\r\nhost: {place}\r\ncontent-type: application/json\r\n"
            sent = time.perf_counter()
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(answer.partition(b"content-length:")[2].split(b"\r\n")[0])
            await reader.readexactly(size)
            lost += b" 200 " not in answer.split(b"\r\n")[0]
            seconds.append(time.perf_counter() - sent)
            at += clients
        writer.close()

    watch = asyncio.create_task(memory_of_quarters(process, limit))
    await asyncio.gather(*(visitor(number) for number in range(clients)))
    quarters = await watch
    return seconds, lost, time.perf_counter() - began, quarters


async def malformed(address: str, count: int) -> Counter[int]:
    """Send nonsense and return how often each status came back."""
    draw = random.Random(1)
    found: Counter[int] = Counter()
    async with httpx.AsyncClient(base_url=address, timeout=60) as client:
        for _ in range(count):
            body = b"".join(draw.choice(PARTS) for _ in range(draw.randrange(8)))
            if draw.random() < 0.5:
                fields = {key: draw.choice(TYPES) for key in draw.sample(KEYS, draw.randrange(1, 6))}
                body = json.dumps(fields | ({"q": "I love you"} if draw.random() < 0.5 else {})).encode()
            headers = {"content-type": draw.choice(KINDS)}
            found[(await client.post(draw.choice(PATHS), content=body, headers=headers)).status_code] += 1
    return found


def main() -> None:
    """Start the server, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--input", required=True, help="lines of source text")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--malformed", type=int, default=2000)
    options = parser.parse_args()
    lines = [line for line in Path(options.input).read_text(encoding="utf-8").splitlines() if line.strip()]
    program = [sys.executable, "-m", "nmt"]
    command = [*program, "serve", "--port", "0", "-m", options.model]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"NMT_QUIET": "1"}) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        ten = [line for line in lines if len(line.split()) == 10] or lines
        asyncio.run(latency(address, ten, 20))
        single = asyncio.run(latency(address, ten, 100))
        before = memory(server.pid)
        seconds, lost, took, quarters = asyncio.run(
            throughput(address, lines, options.clients, options.seconds, server.pid)
        )
        statuses = asyncio.run(malformed(address, options.malformed))
        at_end = memory(server.pid)
        alive = server.poll() is None
        server.kill()
    rate = len(seconds) / took
    times = []
    for count in (200, len(lines)):  # two sizes, so that the start of the program cancels out
        text = "".join(f"{line}\n" for line in lines[:count])
        began = time.perf_counter()
        subprocess.run(
            [*program, "translate", "-m", options.model], input=text, text=True, check=True, capture_output=True
        )
        times.append((count, time.perf_counter() - began))
    (few, short), (many, long) = times
    alone = (many - few) / (long - short)
    answers = ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items()))
    quantiles = statistics.quantiles(seconds, n=100)
    rows = {
        "one line of ten words, median": f"{1e3 * statistics.median(single):.0f} ms",
        f"{options.clients} clients, lines/s": f"{rate:.1f}",
        "nmt translate, lines/s": f"{alone:.1f} (ratio {rate / alone:.2f})",
        "median, p99 of an answer": f"{1e3 * quantiles[49]:.0f} ms, {1e3 * quantiles[98]:.0f} ms",
        "answers, lost": f"{len(seconds)}, {lost}",
        "memory before, after each quarter": ", ".join(f"{value:.0f}" for value in (before, *quarters)) + " MB",
        f"statuses of {options.malformed} malformed requests": answers,
        "memory after them, server lives": f"{at_end:.0f} MB, {alive}",
    }
    for name, value in rows.items():
        print(f"| {name} | {value} |")


if __name__ == "__main__":
    main()
