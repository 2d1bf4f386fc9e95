"""Measure how fast this machine trains and translates, compared with its matrix products and with other toolkits.

    python scripts/bench.py                                                   # the built-in phrasebook
    python scripts/bench.py -c configs/yardstick.yaml --set data.root=...     # the model that others are measured with
    python scripts/bench.py -c configs/yardstick.yaml --set data.root=... --peers DIR --setting additive/luong

Settings (score x wiring x precision) and peers take turns, so that other load on the machine affects all of them. Each
figure is the median of the repetitions, with the least and the most in brackets.

A training rate counts target tokens, including EOS but not padding. The share of the peak is this rate, times the
multiply-adds of the matrix products for one token (forward and backward), divided by the largest rate of a square
product that was measured in the same run at the same precision. The attention's own products, and everything that is
not a product, are not counted. Waiting is the share of the time in which an update waits for its batch. Translating
uses a model that has learned next to nothing, and generates a fixed number of pieces for each line, so that the figures
do not depend on what was learned.

`--peers DIR` compares with OpenNMT-py 3 and JoeyNMT 2. DIR holds a virtual environment for each (venv-onmt, venv-joey)
and a training configuration of the same model that logs every 20 updates (onmt.yaml, joey.yaml). To translate with
OpenNMT-py, it also holds test.sp.en, the test set in pieces.
"""

import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from bench_peers import LINES, PEERS, PIECES, ctranslate2_rates, seconds_of, train_peer, translate_with_onmt
from torch import nn

from nmt.config import Config
from nmt.config.load import load_config
from nmt.data.batching import plan_batches
from nmt.data.dataset import PieceCorpus
from nmt.data.prepare import Corpora, load_corpora
from nmt.data.sources import read_pairs
from nmt.decoding.precision import in_precision
from nmt.decoding.translator import Translator
from nmt.model.build import build_model
from nmt.runtime import choose_device, choose_precision, release_memory, set_seed, set_up_machine
from nmt.training.trainer import Trainer

HERE = Path(__file__).parents[1]
SETTINGS = ("general/luong", "additive/luong", "additive/bahdanau", "dot/luong")


@dataclass
class Row:
    """The figures of one setting, with one value for each repetition."""

    score: str
    wiring: str
    precision: str
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Add a value to the figure `name`."""
        self.figures.setdefault(name, []).append(value)


class Waited(PieceCorpus):
    """A corpus that records how long the trainer waits for its batches."""

    def __init__(self, corpus: PieceCorpus):
        self.__dict__.update(vars(corpus))
        self.seconds = 0.0

    def batch(self, chosen: Any) -> Any:
        """See `PieceCorpus.batch`."""
        started = time.perf_counter()
        batch = super().batch(chosen)
        self.seconds += time.perf_counter() - started
        return batch


def product_peak(precision: torch.dtype) -> float:
    """Return the largest rate of a square matrix product, in multiply-adds per second."""
    size = 2048
    a, b = (torch.randn(size, size).to(precision) for _ in range(2))
    best = 0.0
    for _ in range(6):
        started = time.perf_counter()
        torch.mm(a, b)
        best = max(best, size**3 / (time.perf_counter() - started))
    return best


def products_per_token(model: nn.Module) -> int:
    """Return the multiply-adds of one token's forward and backward pass in layers with weights.

    Embedding tables are only looked up, so they do not count unless the output layer shares them.
    """
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    output = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    weights = {
        id(p): p.numel() for p in model.parameters() if p.dim() == 2 and (id(p) not in embeddings or id(p) in output)
    }
    return 3 * sum(weights.values())


def measure(
    row: Row, config: Config, corpora: Corpora, peak: float, warm: int, timed: int, with_ctranslate2: bool
) -> dict[str, float]:
    """Train for a short time, then translate, and add the figures of this repetition to a row.

    Args:
        row: the row of the setting.
        config: the configuration of the setting.
        corpora: the training pairs and the tokenizer.
        peak: the largest rate of a square product at the row's precision.
        warm: updates that are not counted.
        timed: updates that are.
        with_ctranslate2: whether CTranslate2 translates with the same model.

    Returns:
        The rates of CTranslate2, if it translates; see `ctranslate2_rates`.
    """
    set_seed(config.seed)
    device = choose_device(config.training.device)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size).to(device)
    precision, train = choose_precision(row.precision, device), Waited(corpora.train)
    trainer = Trainer(config.training, config.seed, model, device, precision, lambda epoch: train, config.guided_loss)
    updates = trainer.updates()
    for _ in range(warm):
        next(updates)
    train.seconds, started = 0.0, time.perf_counter()
    done = [next(updates) for _ in range(timed)]
    seconds = time.perf_counter() - started
    rate = sum(update.tgt_tokens for update in done) / seconds
    row.add("training, tokens/s", rate)
    row.add("share of peak, %", 100 * rate * products_per_token(model) / peak)
    row.add("waiting, %", 100 * train.seconds / seconds)
    row.add("loss", done[-1].loss)
    del trainer, updates
    source = config.data.source("test") or config.data.source("valid")
    assert source is not None
    lines = [src for src, _, _ in islice(read_pairs(source, "test"), LINES)]
    beside = ctranslate2_rates(model, corpora.tokenizer, config, lines) if with_ctranslate2 else {}
    for name, kind, beam, batch, some in (
        ("greedy, batch 64, lines/s", row.precision, 1, 64, lines),
        ("beam 5, batch 64, lines/s", row.precision, 5, 64, lines),
        ("beam 5, batch 1, ms/line", row.precision, 5, 1, lines[:16]),
        ("beam 5, batch 64, int8, lines/s", "int8", 5, 64, lines),  # last: it changes the model for good
    ):
        translator_model = in_precision(model, kind, device)  # type: ignore[arg-type]
        translator = Translator(translator_model, corpora.tokenizer, fixed_length(config, beam, batch), device)
        translator.translate(some[:1])
        seconds = seconds_of(lambda translator=translator, some=some: translator.translate(some))  # type: ignore[misc]
        row.add(name, 1000 * seconds / len(some) if batch == 1 else len(some) / seconds)
    release_memory()
    return beside


def fixed_length(config: Config, beam: int, batch: int) -> Any:
    """Return settings of a search that generates `PIECES` pieces for every line."""
    fixed = {"min_length": PIECES, "max_length_ratio": 0.0, "max_length_extra": PIECES + 1}
    return config.decoding.model_copy(update={**fixed, "beam_size": beam, "batch_size": batch})


def cold_start() -> float:
    """Return the seconds that `nmt --help` takes in a new process."""
    command = [sys.executable, "-m", "nmt", "--help"]
    return seconds_of(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))


def padding_share(train: PieceCorpus, config: Config) -> float:
    """Return the share of padding among all positions of an epoch's batches, both sides together."""
    plan = plan_batches(
        train.src_len, train.tgt_len, config.training.batch_size, config.training.batch_unit, config.seed, 0
    )
    lengths = (train.src_len, train.tgt_len + 1)
    padded = sum(int(side[chosen].max()) * len(chosen) for chosen in plan for side in lengths)
    return 1.0 - sum(int(side.sum()) for side in lengths) / padded


def described(values: list[float]) -> str:
    """Return the median of the values, with the least and the most in brackets."""
    digits = 0 if statistics.median(values) >= 100 else 2 if statistics.median(values) < 10 else 1
    middle, least, most = (f"{v:,.{digits}f}" for v in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({least} to {most})"


def table(rows: list[Row]) -> str:
    """Return the figures as a Markdown table."""
    names = list(rows[0].figures)
    lines = [f"| score | wiring | precision | {' | '.join(names)} |", f"|---|---|---|{'---:|' * len(names)}"]
    for row in rows:
        cells = [described(row.figures[name]) for name in names]
        lines.append(f"| {row.score} | {row.wiring} | {row.precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


def peer_lines(ours: Row, peers: dict[str, list[float]]) -> Iterator[str]:
    """Yield the lines of a table that compares the peers' figures with those of our last setting.

    The ratios are those of the single turns.
    """
    yield "| | value | nmt | times as fast |"
    yield "|---|---:|---:|---:|"
    for name, values in peers.items():
        same = "beam 5, batch 64" if "lines/s" in name else "training"
        for figure, mine in ours.figures.items():
            if figure.startswith(same):
                ratios = [own / other for own, other in zip(mine, values, strict=True)]
                kind = "int8" if "int8" in figure else ours.precision
                yield f"| {name} | {described(values)} | {described(mine)}, {kind} | {described(ratios)} |"


def machine() -> str:
    """Return the processor's name, the number of threads and the version of torch."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", info.read_text()) if info.exists() else []
    return f"{names[0] if names else 'unknown processor'}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main(
    config: Annotated[Path, typer.Option("--config", "-c", help="Whose data and sizes.")] = HERE
    / "configs/quickstart.yaml",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override a setting; repeatable.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="score/wiring; repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32 or bf16; repeatable.")] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Of each setting, taking turns.")] = 3,
    warm: Annotated[int, typer.Option(min=1, help="Updates that are not counted.")] = 5,
    timed: Annotated[int, typer.Option(min=1, help="Updates that are.")] = 20,
    peers: Annotated[Path | None, typer.Option(help="Folder with other toolkits, to take turns with.")] = None,
    output: Annotated[Path | None, typer.Option("--json", help="Write all values there, too.")] = None,
) -> None:
    """Print a Markdown table."""
    rows, configs = [], []
    is_transformer = load_config(config, overrides or []).model.decoder.type == "transformer"
    for name in ["transformer"] if is_transformer else setting or SETTINGS:
        score, _, wiring = name.partition("/")
        for kind in precision or ("fp32", "bf16"):
            rows.append(Row(score, wiring, kind))
            choice = [f"model.attention.score={score}", f"model.decoder.wiring={wiring}"] if wiring else []
            configs.append(load_config(config, [*(overrides or []), *choice]))
    set_up_machine(configs[0].training.threads)
    corpora = load_corpora(configs[0])
    peaks = {
        kind: product_peak(torch.bfloat16 if kind == "bf16" else torch.float32) for kind in {r.precision for r in rows}
    }
    others: dict[str, list[float]] = {}
    for _ in range(repetitions):
        for row, one in zip(rows, configs, strict=True):
            beside = measure(row, one, corpora, peaks[row.precision], warm, timed, row is rows[-1])
            for title, rate in beside.items():
                others.setdefault(title, []).append(rate)
        for peer, title in PEERS.items() if peers else ():
            if peers and (peers / f"venv-{peer}").is_dir():
                rate = train_peer(peers.resolve(), peer, torch.get_num_threads())
                others.setdefault(f"{title}, training, tokens/s", []).append(rate)
        if peers and (peers / "venv-onmt").is_dir():
            lines_a_second = translate_with_onmt(peers.resolve(), torch.get_num_threads())
            others.setdefault("OpenNMT-py, beam 5, batch 64, lines/s", []).append(lines_a_second)
    print(table(rows))
    if others:
        print("\n" + "\n".join(peer_lines(rows[-1], others)))
    starts = [cold_start() for _ in range(5)]
    gigaflops = ", ".join(f"{kind} {2 * peak / 1e9:,.0f} GFLOP/s" for kind, peak in sorted(peaks.items()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{machine()}. Largest product rate: {gigaflops}.")
    padding = padding_share(corpora.train, configs[0])
    print(f"Padding in training batches: {100 * padding:.1f} % of all positions.")
    start = statistics.median(starts)
    print(f"`nmt --help` from a cold start: {start:.2f} s. Peak memory of all of this: {memory:,.0f} MiB.")
    kept = {
        "rows": [vars(row) for row in rows],
        "peers": others,
        "product_rates": peaks,
        "padding": padding,
        "cold_start": starts,
        "peak_mib": memory,
    }
    if output is not None:
        output.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
