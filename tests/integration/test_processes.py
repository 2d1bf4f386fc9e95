"""Several processes train one model: the same data, the same gradients, the same run."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.config import Config
from nmt.data.prepare import load_corpora
from nmt.model.build import build_model
from nmt.processes import Processes
from nmt.training.trainer import Trainer

CONFIG = """
name: c
data: {train: builtin:phrasebook, valid: builtin:phrasebook, test: builtin:phrasebook, cache_dir: cache}
tokenizer: {vocab_size: 300}
model:
  embedding_size: 16
  encoder: {hidden_size: 8}
  decoder: {hidden_size: 16}
  attention: {size: 8}
  dropout: {embedding: DROPOUT, layers: 0.0, memory: 0.0, output: DROPOUT}
training:
  {max_updates: 12, batch_size: 200, accumulate: 2, precision: fp32, device: cpu, threads: 1, tensorboard: false,
   log_every: 1, validation: {every: 6, sentences: 5}}
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


class Captured(Exception):
    """What a process would have added to those of the others."""


class Share(Processes):
    """One of several processes that shows what it would exchange."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        raise Captured(values.clone())


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradients_of_the_shares_add_up_to_the_gradient(
    make_config: Callable[..., Config], size: int, accumulate: int
) -> None:
    dropout = dict.fromkeys(("embedding", "layers", "memory", "output"), 0.0)
    config = make_config(
        training={"accumulate": accumulate, "label_smoothing": 0.1, "clip_norm": 0.0}, model={"dropout": dropout}
    )
    corpora = load_corpora(config)

    def exchanged(processes: Processes) -> torch.Tensor:
        torch.manual_seed(3)
        model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size).double()
        trainer = Trainer(
            config.training,
            config.seed,
            model,
            torch.device("cpu"),
            torch.float32,
            lambda epoch: corpora.train,
            processes=processes,
        )
        with pytest.raises(Captured) as caught:
            next(trainer.updates())
        values: torch.Tensor = caught.value.args[0]
        return values

    parts = [exchanged(Share(rank, size)) for rank in range(size)]
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size)
    count = len(list(model.parameters()))
    total = torch.stack(parts).sum(0)[count:]
    torch.manual_seed(3)
    single = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size).double()
    trainer = Trainer(
        config.training, config.seed, single, torch.device("cpu"), torch.float32, lambda epoch: corpora.train
    )
    kept: list[torch.Tensor] = []
    step = trainer._step

    def keep() -> None:
        kept.extend(
            torch.zeros_like(one).flatten() if one.grad is None else one.grad.flatten().clone()
            for one in single.parameters()
        )
        step()

    trainer._step = keep  # type: ignore[method-assign]
    update = next(trainer.updates())
    torch.testing.assert_close(total[0] / update.tgt_tokens, torch.tensor(update.loss).double(), rtol=1e-6, atol=0)
    gradient = torch.cat(kept)
    assert float((total[2:] - gradient).norm() / gradient.norm()) < 1e-6


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write(0.0)


def write(dropout: float) -> None:
    Path("c.yaml").write_text(CONFIG.replace("DROPOUT", str(dropout)), encoding="utf-8")


def command(name: str, processes: int, *more: str) -> list[str]:
    start = [sys.executable, "-m", "nmt", "train", "c.yaml", "--set", f"name={name}", *more]
    return [*start, "--processes", str(processes)] if processes > 1 else start


def train(name: str, processes: int, *more: str) -> str:
    done = subprocess.run(
        command(name, processes, *more), env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"runs/{name}"]  # one process says it
    return done.stderr


def losses(name: str) -> list[float]:
    records = [json.loads(line) for line in Path(f"runs/{name}/metrics.jsonl").read_text().splitlines()]
    return [(record.get("valid") or record)["loss"] for record in records]


def test_two_processes_do_what_one_does_and_repeat_it_to_the_byte() -> None:
    train("one", 1)
    said = train("two", 2)
    assert "in each of 2 processes" in said
    assert losses("two") == pytest.approx(losses("one"), rel=1e-5)
    write(0.2)
    for name in ("first", "again"):
        train(name, 2)
    weights = [Path(f"runs/{name}/checkpoints/last/model.safetensors").read_bytes() for name in ("first", "again")]
    assert weights[0] == weights[1]


def test_a_run_goes_on_with_another_number_of_processes() -> None:
    train("whole", 1)
    train("parts", 2, "--set", "training.max_updates=4")
    train("parts", 3, "--set", "training.max_updates=8")
    train("parts", 1, "--set", "training.max_updates=12")
    by_update: dict[str, dict[int, Any]] = {}
    for name in ("whole", "parts"):
        records = [json.loads(line) for line in Path(f"runs/{name}/metrics.jsonl").read_text().splitlines()]
        by_update[name] = {record["update"]: record["loss"] for record in records if "valid" not in record}
    assert list(by_update["parts"]) == list(range(1, 13))
    for update, loss in by_update["whole"].items():
        assert by_update["parts"][update] == pytest.approx(loss, rel=1e-4)


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.1)


def workers(parent: int) -> list[int]:
    """The processes that torchrun has started."""
    children = subprocess.run(["pgrep", "-P", str(parent)], capture_output=True, text=True, check=False).stdout.split()
    return [int(child) for child in children]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes")
def test_a_process_that_dies_ends_all_and_ctrl_c_saves_once() -> None:
    long = ("--set", "training.max_updates=100000", "--set", "training.epochs=1000")
    metrics = Path("runs/long/metrics.jsonl")
    with subprocess.Popen(command("long", 2, *long), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as running:
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") > 8)
        os.kill(workers(running.pid)[-1], signal.SIGKILL)
        _, said = running.communicate(timeout=60)
    assert running.returncode in (1, 128 + signal.SIGKILL)  # the one that says why, or the one that was killed
    assert "another process has ended" in said or "was ended by signal 9" in said
    assert "Traceback" not in said
    with subprocess.Popen(command("long", 2, *long), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as running:
        before = metrics.read_text().count("\n")
        wait_for(lambda: metrics.read_text().count("\n") > before + 3)
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate(timeout=60)
    assert said.count("interrupted; saved after update") == 1
    assert (running.returncode, "Traceback" in said) == (128 + signal.SIGTERM, False)
    assert "resuming runs/long after update" in said


def ask(*arguments: str, expected: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "nmt", *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, done.stderr
    return done


def test_lines_are_shared_out_and_written_in_order() -> None:
    write(0.0)
    train("one", 1)
    lines = [f"I see the {word} cat" for word in ("black", "old", "small", "new")] * 4 + ["", "she sings", "a dog"]
    Path("lines.en").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    command = ["translate", "-m", "runs/one", "-i", "lines.en", "--set", "decoding.beam_size=2"]
    options = ["--glossary", "terms", "--n-best", "2"]
    Path("terms").write_text("cat\tchat\n", encoding="utf-8")
    alone = ask(*command, *options, "--alignments", "one.pharaoh")
    together = ask(*command, *options, "--alignments", "three.pharaoh", "--processes", "3")
    assert together.stdout == alone.stdout
    assert len(alone.stdout.splitlines()) == 2 * len(lines)
    assert Path("three.pharaoh").read_text() == Path("one.pharaoh").read_text()
    assert "satisfied: 16 of 16 required phrases" in together.stderr
    ask(*command, "--processes", "2", "-o", "out.fr", "--json")
    numbers = [json.loads(line)["line"] for line in Path("out.fr").read_text(encoding="utf-8").splitlines()]
    assert numbers == list(range(1, len(lines) + 1))
    Path("lines.fr").write_text("".join(f"le chat {n}\n" for n in range(len(lines))), encoding="utf-8")
    pairs = ["score", "-m", "runs/one", "--src", "lines.en", "--tgt", "lines.fr"]
    few, many = (ask(*pairs, *more).stdout.split() for more in ([], ["--processes", "2"]))
    assert [float(value) for value in many] == pytest.approx([float(value) for value in few], abs=1e-4)
    for options in (["-m", "runs/one"], ["--cache-dir", "cache"]):
        align = ["align", *options, "--src", "lines.en", "--tgt", "lines.fr"]
        few_links, many_links = ask(*align), ask(*align, "--processes", "2")
        assert many_links.stdout == few_links.stdout
        assert len(many_links.stdout.splitlines()) == len(lines)
        assert f"{len(lines)} pairs" in many_links.stderr
    refused = ask("translate", "-m", "runs/one", "--processes", "2", expected=2)
    assert "several processes cannot share standard input" in refused.stderr
