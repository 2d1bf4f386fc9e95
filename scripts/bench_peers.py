"""Other toolkits that take turns with ours in `bench.py`: OpenNMT-py, JoeyNMT and CTranslate2."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nmt.config import Config
from nmt.data.tokenizer import Tokenizer
from nmt.export.ctranslate2_files import write_ctranslate2

LINES, PIECES = 1000, 15  # lines of the test set that are translated, and pieces generated for each
PEERS = {"onmt": "OpenNMT-py", "joey": "JoeyNMT"}
_UPDATES = 60  # of a peer; the first 20 are not counted


def seconds_of(work: Callable[[], Any]) -> float:
    """Return the seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ctranslate2_rates(model: nn.Module, tokenizer: Tokenizer, config: Config, lines: list[str]) -> dict[str, float]:
    """Return the lines per second of CTranslate2 with the same Transformer, by the name of the figure.

    Cutting the text into pieces is not counted. There are no figures for other models, or without CTranslate2.
    """
    if config.model.decoder.type != "transformer" or find_spec("ctranslate2") is None:
        return {}
    from ctranslate2 import Translator as Other

    rates = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        folder.mkdir()
        write_ctranslate2(model, tokenizer, config, folder)
        pieces = [tokenizer.encode_src(line).pieces for line in lines]
        for kind in ("float32", "int8"):
            other = Other(str(folder), compute_type=kind, inter_threads=1, intra_threads=torch.get_num_threads())
            fixed = {"beam_size": 5, "min_decoding_length": PIECES, "max_decoding_length": PIECES}
            translate = partial(other.translate_batch, max_batch_size=64, **fixed)
            translate(pieces[:1])
            seconds = seconds_of(partial(translate, pieces))
            rates[f"CTranslate2, {kind}, beam 5, batch 64, lines/s"] = len(lines) / seconds
    return rates


def train_peer(folder: Path, peer: str, threads: int) -> float:
    """Train a peer, and return its target tokens per second without the first 20 updates."""
    text = (folder / f"{peer}.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^(train_steps|save_checkpoint_steps| *updates): .*", rf"\1: {_UPDATES}", text)
    config = folder / f"bench-{peer}.yaml"
    config.write_text(text, encoding="utf-8")
    bin_folder = folder / f"venv-{peer}" / "bin"
    command = {
        "onmt": [str(bin_folder / "onmt_train"), "-config", str(config)],
        "joey": [str(bin_folder / "python"), "-m", "joeynmt", "train", str(config), "--skip-test"],
    }[peer]
    said = _run(command, folder, threads)
    if peer == "onmt":  # source/target/sentences a batch, then source/target tokens a second
        found = re.findall(r"bsz: +\d+/ *(\d+)/ *\d+; *\d+/ *(\d+) tok/s", said)
    else:
        found = [("1", rate) for rate in re.findall(r"Tokens per Sec: +([\d,]+)", said)]
    windows = [(float(tokens), float(rate.replace(",", ""))) for tokens, rate in found][1:]
    if not windows:
        raise SystemExit(f"{peer} told no rates:\n{said[-2000:]}")
    return sum(tokens for tokens, _ in windows) / sum(tokens / rate for tokens, rate in windows)


def _run(command: list[str], folder: Path, threads: int) -> str:
    """Run a peer's command, and return everything that it printed."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} failed:\n{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def translate_with_onmt(folder: Path, threads: int) -> float:
    """Return the lines per second of OpenNMT-py with beam 5, 64 lines per batch and `PIECES` pieces per line.

    The start of the program is not counted.
    """
    model = folder / f"onmt-run_step_{_UPDATES}.pt"
    lines = (folder / "test.sp.en").read_text(encoding="utf-8").splitlines()
    seconds = []
    for count in (1, LINES):
        source = folder / "bench.src"
        source.write_text("".join(line + "\n" for line in lines[:count]), encoding="utf-8")
        fixed = ["-min_length", str(PIECES), "-max_length", str(PIECES), "-beam_size", "5", "-batch_size", "64"]
        command = [str(folder / "venv-onmt/bin/onmt_translate"), "-model", str(model), "-src", str(source)]
        command += ["-output", str(folder / "bench.hyp"), *fixed]
        seconds.append(seconds_of(lambda command=command: _run(command, folder, threads)))  # type: ignore[misc]
    return (LINES - 1) / (seconds[1] - seconds[0])
