"""Measure how peak memory, the time to the first update and the speed of batches depend on the size of the corpus.

    python scripts/memory.py --pairs 50000 --pairs 500000 --pairs 5000000

The script generates corpora of made-up words. It trains on each of them twice, for some updates; the second start finds
everything tokenised. Then it plans the batches of an epoch, and reads the first ones. `anonymous` memory belongs to the
process alone. The rest of the peak is mapped files, which the system can take back when it needs room.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from nmt.config.load import load_config
from nmt.data.batching import plan_batches
from nmt.data.prepare import load_corpora
from nmt.data.sampled import sampled_epochs

READ = 2000  # batches that are read
CONFIG = """
data:
  root: {root}
  cache_dir: {root}/cache
  train: {{src: train.src, tgt: train.tgt}}
  valid: {{src: valid.src, tgt: valid.tgt}}
runs_dir: {root}/runs
tokenizer: {{vocab_size: 8000}}
model: {{embedding_size: 256, encoder: {{hidden_size: 128}}, decoder: {{hidden_size: 256}}, attention: {{size: 128}}}}
training:
  max_updates: {updates}
  batch_size: 2048
  log_every: 1
  tensorboard: false
  threads: {threads}
  guided_alignment: {{enabled: false}}
  validation: {{sentences: 0}}
  early_stopping: {{metric: loss}}
"""


def write_corpus(folder: Path, pairs: int) -> None:
    """Write `pairs` training pairs and 500 validation pairs of made-up words.

    Sentences have 4 to 30 words from a lexicon of 30,000, of which some are much more frequent than others.
    """
    random = np.random.default_rng(1)
    letters = np.array(list("aeioulnrstmkdpbvfg"))
    lexicon = np.array(["".join(random.choice(letters, size=random.integers(2, 10))) for _ in range(30_000)])
    for split, count in (("valid", 500), ("train", pairs)):
        with (folder / f"{split}.src").open("w") as src, (folder / f"{split}.tgt").open("w") as tgt:
            for start in range(0, count, 10_000):
                lengths = random.integers(4, 31, size=min(10_000, count - start))
                words = lexicon[(len(lexicon) * random.random(int(lengths.sum())) ** 3).astype(int)].tolist()
                at = 0
                for length in lengths.tolist():
                    sentence, at = words[at : at + length], at + length
                    src.write(" ".join(sentence) + "\n")
                    tgt.write(" ".join(sentence[::-1]) + "\n")


def train(folder: Path, updates: int, threads: int, name: str) -> tuple[float, float, float]:
    """Train for some updates, and measure time and memory.

    Returns:
        The seconds to the first update, and the peaks of resident memory and of its anonymous part in MiB.
    """
    config = folder / "c.yaml"
    config.write_text(CONFIG.format(root=folder, updates=updates, threads=threads))
    command = [sys.executable, "-m", "nmt", "train", "-c", str(config), "--set", f"name={name}"]
    started, first, anonymous, peak = time.monotonic(), 0.0, 0.0, 0.0
    with (folder / "stderr").open("w+") as talk:
        process = subprocess.Popen(command, stderr=talk, stdout=subprocess.DEVNULL)
        while process.poll() is None:
            time.sleep(0.2)
            try:
                status = Path(f"/proc/{process.pid}/status").read_text()
            except OSError:
                break
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            if "RssAnon" not in fields:
                continue
            anonymous = max(anonymous, int(fields["RssAnon"].split()[0]) / 1024)
            peak = max(peak, int(fields["VmHWM"].split()[0]) / 1024)
            if not first and "update 1 " in (folder / "stderr").read_text():
                first = time.monotonic() - started
        if process.wait():
            raise SystemExit((folder / "stderr").read_text())
    return first, peak, anonymous


def plan_and_read(folder: Path, sampling: bool) -> tuple[float, float, float]:
    """Plan the batches of an epoch, and read the first ones.

    Returns:
        The target tokens per second of planning, the seconds of planning, and the target tokens per second of reading.
    """
    config = load_config(folder / "c.yaml", [f"tokenizer.sampling.enabled={sampling}"])
    corpus = sampled_epochs(config, load_corpora(config))(0)
    start = time.perf_counter()
    plan = plan_batches(corpus.src_len, corpus.tgt_len, config.training.batch_size, "tokens", 1, 0)
    planned = time.perf_counter()
    tokens = 0
    for chosen in plan[:READ]:
        corpus.token_counts(chosen)
        tokens += corpus.batch(chosen).tgt_tokens
    read = time.perf_counter()
    return (corpus.tgt_len.sum() + len(corpus)) / (planned - start), planned - start, tokens / (read - planned)


def main(
    pairs: Annotated[list[int], typer.Option(help="Sizes of corpora; repeatable.")],
    updates: Annotated[int, typer.Option(help="Updates trained.")] = 40,
    threads: Annotated[int, typer.Option(help="torch's threads.")] = len(os.sched_getaffinity(0)),
) -> None:
    """Print a Markdown table."""
    batches: list[str] = []
    print("| pairs | start | first update after | peak memory | of it anonymous |")
    print("| ---: | --- | ---: | ---: | ---: |")
    for count in pairs:
        with tempfile.TemporaryDirectory() as name:
            write_corpus(Path(name), count)
            for start in ("first", "second"):
                seconds, peak, anonymous = train(Path(name), updates, threads, start)
                print(f"| {count:,} | {start} | {seconds:.0f} s | {peak:,.0f} MiB | {anonymous:,.0f} MiB |", flush=True)
            for sampling in (False, True):
                planned, seconds, read = plan_and_read(Path(name), sampling)
                kind = "sampled" if sampling else "best"
                batches.append(f"| {count:,} | {kind} | {seconds:.1f} s | {planned:,.0f} | {read:,.0f} |")
    print("\n| pairs | segmentation | planning an epoch | planned tokens/s | read tokens/s |")
    print("| ---: | --- | ---: | ---: | ---: |")
    print("\n".join(batches))


if __name__ == "__main__":
    typer.run(main)
