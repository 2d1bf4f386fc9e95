"""The small run that `torture.py` disturbs: its corpus, its settings, its process, and what must not differ."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nmt.config import Config
from nmt.errors import NmtError
from nmt.runs.checkpoint import load_state
from nmt.runs.folder import RunFolder

WORDS = {"the": "le", "cat": "chat", "dog": "chien", "sees": "voit", "black": "noir", "small": "petit", "my": "mon"}


def write_corpus(folder: Path) -> None:
    """Write sixty pairs of made-up sentences for each split."""
    for split in ("train", "valid"):
        draw = random.Random(split)
        pairs = [draw.choices(list(WORDS.items()), k=draw.randint(2, 6)) for _ in range(60)]
        for side, suffix in enumerate(("en", "fr")):
            lines = [" ".join(pair[side] for pair in sentence) + "\n" for sentence in pairs]
            (folder / f"{split}.{suffix}").write_text("".join(lines), encoding="utf-8")


def config_of(folder: Path, name: str) -> Config:
    """Return the configuration of a small run in which every source of randomness is on."""
    splits = {split: {"src": f"{split}.en", "tgt": f"{split}.fr"} for split in ("train", "valid")}
    return Config.model_validate(
        {
            "name": name,
            "runs_dir": str(folder / "runs"),
            "data": {"root": str(folder), "cache_dir": str(folder / "cache"), **splits},
            "tokenizer": {"vocab_size": 45, "sampling": {"enabled": True, "alpha": 0.2}},
            "model": {
                "embedding_size": 16,
                "encoder": {"hidden_size": 8, "layers": 2},
                "decoder": {"hidden_size": 16},
                "attention": {"size": 8},
                "dropout": {"word": 0.1},
            },
            "training": {
                "epochs": 4,
                "batch_unit": "sentences",
                "batch_size": 4,
                "accumulate": 2,
                "device": "cpu",
                "threads": 1,
                "log_every": 2,
                "keep_last": 3,
                "tensorboard": False,
                "teacher_forcing": {"start": 0.5},
                "schedule": {"type": "plateau", "metric": "ppl", "patience": 0},
                "validation": {"every": 3, "sentences": 3},
                "averaging": {"checkpoints": 2, "which": "best"},
            },
        }
    )


def in_a_child(work: Callable[[], object], kill_after: float | None = None) -> tuple[int, str]:
    """Do some work in a forked process, and return its exit code and the message that it ended with.

    Args:
        work: what the process does.
        kill_after: the seconds after which it is killed; None to let it end.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        code = 0
        try:
            work()
        except NmtError as error:
            code = 1
            os.write(writing, str(error).encode()[:4000])
        except BaseException as error:  # whatever it is, a user would see a traceback
            code = 99
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
        os._exit(code)
    os.close(writing)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, "rb") as pipe:
        message = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), message


def fingerprint(run: RunFolder) -> dict[str, Any]:
    """Return everything that must be the same, bit for bit, in two equal runs."""
    last = run.checkpoint("last")
    state = load_state(last)
    state["progress"].pop("seconds")  # depends on the clock, not on the run
    state["window"].pop("seconds", None)
    records = [json.loads(line) for line in run.metrics.read_text(encoding="utf-8").splitlines()]
    timed = ("tokens_per_second", "seconds")
    return {
        "weights": (last / "model.safetensors").read_bytes(),
        "best": (run.checkpoint("best") / "model.safetensors").read_bytes(),
        "state": plain(state),
        "metrics": [{key: value for key, value in record.items() if key not in timed} for record in records],
    }


def plain(value: Any) -> Any:
    """Return a value with all tensors as bytes, so that it can be compared."""
    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value
