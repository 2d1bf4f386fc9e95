"""How fast this machine trains and translates, beside what its matrix products could do.

    python scripts/bench.py                                                   # the built-in phrasebook
    python scripts/bench.py -c configs/multi30k-en-de.yaml --set data.root=...

Settings (score x wiring x precision) take turns, so that what else the machine does falls on all of them; each figure
is the median of the repetitions with the least and the most. A training rate counts target tokens, EOS counted and
padding not. The share of the peak is the rate times the multiply-adds of the matrix products of one token, forward and
backward, over the largest rate of a square product measured in the same run at the same precision; the work of the
attention's own products and of everything that is no product counts as nothing. Translating is done with the untrained
model and a fixed number of pieces for each line, so that figures do not depend on what was learned.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import nn

from nmt.config import Config
from nmt.config_file import load_config
from nmt.decoding.translator import Translator
from nmt.model.build import build_model
from nmt.pipeline.corpora import Corpora, load_corpora
from nmt.runtime import choose_device, choose_precision, set_seed, set_up_machine
from nmt.training.trainer import Trainer

HERE = Path(__file__).parents[1]
SETTINGS = ("general/luong", "additive/luong", "additive/bahdanau", "dot/luong")
WARM, TIMED, LINES, PIECES = 5, 20, 128, 15


@dataclass
class Row:
    """Figures of one setting, a value for each repetition."""

    score: str
    wiring: str
    precision: str
    figures: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Note a value."""
        self.figures.setdefault(name, []).append(value)


def product_peak(precision: torch.dtype) -> float:
    """Multiply-adds per second of a large square product."""
    size = 2048
    a, b = (torch.randn(size, size).to(precision) for _ in range(2))
    best = 0.0
    for _ in range(6):
        started = time.perf_counter()
        torch.mm(a, b)
        best = max(best, size**3 / (time.perf_counter() - started))
    return best


def products_per_token(model: nn.Module) -> int:
    """Multiply-adds of one token's forward and backward pass in layers with weights; embeddings are looked up."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    output = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    weights = {
        id(p): p.numel() for p in model.parameters() if p.dim() == 2 and (id(p) not in embeddings or id(p) in output)
    }
    return 3 * sum(weights.values())


def measure(row: Row, config: Config, corpora: Corpora, peak: float) -> None:
    """One repetition: a short training, then translating."""
    set_seed(config.seed)
    device = choose_device(config.training.device)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size).to(device)
    precision = choose_precision(row.precision, device)
    trainer = Trainer(config.training, config.seed, model, device, precision, lambda epoch: corpora.train)
    updates = trainer.updates()
    for _ in range(WARM):
        next(updates)
    started = time.perf_counter()
    done = [next(updates) for _ in range(TIMED)]
    rate = sum(update.tgt_tokens for update in done) / (time.perf_counter() - started)
    row.add("training, tokens/s", rate)
    row.add("share of peak, %", 100 * rate * products_per_token(model) / peak)
    lines = list(corpora.valid_text[:LINES]["src"])
    fixed = {"min_length": PIECES, "max_length_ratio": 0.0, "max_length_extra": PIECES + 1}
    for name, beam, batch, some in (
        ("greedy, batch 64, lines/s", 1, 64, lines),
        ("beam 5, batch 64, lines/s", 5, 64, lines),
        ("beam 5, batch 1, ms/line", 5, 1, lines[:16]),
    ):
        settings = config.decoding.model_copy(update={**fixed, "beam_size": beam, "batch_size": batch})
        translator = Translator(model, corpora.tokenizer, settings, device)
        seconds = timed(lambda translator=translator, some=some: translator.translate(some))  # type: ignore[misc]
        row.add(name, 1000 * seconds / len(some) if batch == 1 else len(some) / seconds)


def timed(work: Callable[[], Any]) -> float:
    """Seconds that `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def cold_start() -> float:
    """Seconds of `nmt --help` as a whole process."""
    command = [sys.executable, "-m", "nmt", "--help"]
    return timed(lambda: subprocess.run(command, stdout=subprocess.DEVNULL, check=True))


def table(rows: list[Row]) -> str:
    """The figures as Markdown: median, and least to most."""
    names = list(rows[0].figures)
    lines = [f"| score | wiring | precision | {' | '.join(names)} |", f"|---|---|---|{'---:|' * len(names)}"]
    for row in rows:
        cells = []
        for name in names:
            values = row.figures[name]
            digits = 0 if statistics.median(values) >= 100 else 1
            middle, least, most = (f"{v:,.{digits}f}" for v in (statistics.median(values), min(values), max(values)))
            cells.append(f"{middle} ({least} to {most})")
        lines.append(f"| {row.score} | {row.wiring} | {row.precision} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(
    config: Annotated[Path, typer.Option("--config", "-c", help="Whose data and sizes.")] = HERE
    / "configs/quickstart.yaml",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override a setting; repeatable.")] = None,
    setting: Annotated[list[str] | None, typer.Option(help="score/wiring; repeatable.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="fp32 or bf16; repeatable.")] = None,
    repetitions: Annotated[int, typer.Option(min=1, help="Of each setting, taking turns.")] = 3,
    output: Annotated[Path | None, typer.Option("--json", help="Write all values there, too.")] = None,
) -> None:
    """Print a Markdown table."""
    rows, configs = [], []
    for name in setting or SETTINGS:
        score, _, wiring = name.partition("/")
        for kind in precision or ("fp32", "bf16"):
            rows.append(Row(score, wiring, kind))
            choice = [f"model.attention={{score: {score}}}", f"model.decoder.wiring={wiring}"]
            configs.append(load_config(config, [*(overrides or []), *choice]))
    set_up_machine(configs[0].training.threads)
    corpora = load_corpora(configs[0])
    peaks = {
        kind: product_peak(torch.bfloat16 if kind == "bf16" else torch.float32) for kind in {r.precision for r in rows}
    }
    for _ in range(repetitions):
        for row, one in zip(rows, configs, strict=True):
            measure(row, one, corpora, peaks[row.precision])
    print(table(rows))
    starts = [cold_start() for _ in range(5)]
    gigaflops = ", ".join(f"{kind} {2 * peak / 1e9:,.0f} GFLOP/s" for kind, peak in sorted(peaks.items()))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nLargest product rate: {gigaflops}. {torch.get_num_threads()} threads, torch {torch.__version__}.")
    start = statistics.median(starts)
    print(f"`nmt --help` from a cold start: {start:.2f} s. Peak memory of all of this: {memory:,.0f} MiB.")
    if output is not None:
        kept = [vars(row) for row in rows]
        text = json.dumps({"rows": kept, "product_rates": peaks, "cold_start": starts, "peak_mib": memory}, indent=2)
        output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
