"""Draw how the cost of training and translating grows with length, vocabulary, batch, hidden size and beam.

    python scripts/growth.py -c configs/yardstick.yaml --set data.root=... --picture docs/pictures/growth.png

One size is varied at a time. Training uses made-up pieces. Unless they are varied, a sentence has 15 pieces, the
vocabulary 8,000, a batch 64 sentences, and the decoder 512 units; all other sizes are those of the configuration.
Translating uses the configuration's own sizes and validation text, and generates 15 pieces for every line, as in
bench.py.
"""

import statistics
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from bench import HERE, fixed_length
from bench_peers import seconds_of

from nmt.config import Config
from nmt.config.load import load_config
from nmt.data.batching import batch_of
from nmt.data.prepare import Corpora, load_corpora
from nmt.decoding.translator import Translator
from nmt.model.build import build_model
from nmt.runtime import choose_device, choose_precision, release_memory, set_seed, set_up_machine
from nmt.training.trainer import Trainer


def growth(config: Config, corpora: Corpora) -> dict[str, list[tuple[int, float]]]:
    """Return, for each size that is varied, its values and the cost at each of them."""
    found: dict[str, list[tuple[int, float]]] = {}

    def note(name: str, value: int, cost: float) -> None:
        found.setdefault(name, []).append((value, cost))

    for length in (10, 25, 50, 100, 200):
        note("pieces of source and target", length, update_seconds(config, length=length))
    for vocabulary in (2000, 8000, 16000, 32000, 64000):
        note("vocabulary", vocabulary, update_seconds(config, vocabulary=vocabulary))
    for batch in (8, 16, 32, 64, 128, 256):
        note("sentences in a batch", batch, update_seconds(config, batch=batch))
    for hidden in (128, 256, 512, 1024):
        note("hidden size", hidden, update_seconds(config, hidden=hidden))
    for beam in (1, 2, 5, 10, 20):
        note("beam (translating)", beam, search_seconds(config, corpora, beam))
    return found


def update_seconds(
    config: Config, length: int = 15, vocabulary: int = 8000, batch: int = 64, hidden: int = 512
) -> float:
    """Return the milliseconds of an update per target token."""
    release_memory()
    sizes = {"decoder": config.model.decoder.model_copy(update={"hidden_size": hidden})}
    one = config.model_copy(update={"model": config.model.model_copy(update=sizes)})
    device = choose_device(one.training.device)
    model = build_model(one, vocabulary, vocabulary).to(device)
    precision = choose_precision(one.training.precision, device)
    trainer = Trainer(one.training, one.seed, model, device, precision, lambda epoch: None)  # type: ignore[arg-type, return-value]
    random = np.random.default_rng(1)
    pieces = random.integers(4, vocabulary, size=(2, batch, length))
    made_up = batch_of(list(zip(pieces[0], pieces[1], strict=True))).to(device)
    times = [
        seconds_of(lambda: trainer._learn([made_up], made_up.src_tokens, made_up.tgt_tokens, 1, 1)) for _ in range(6)
    ]
    return 1000 * statistics.median(times[2:]) / made_up.tgt_tokens


def search_seconds(config: Config, corpora: Corpora, beam: int) -> float:
    """Return the milliseconds of translating a line, in batches of 64 lines."""
    device = choose_device(config.training.device)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size).eval().to(device)
    translator = Translator(model, corpora.tokenizer, fixed_length(config, beam, 64), device)
    lines = list(corpora.valid_text[:64]["src"])
    times = [seconds_of(lambda: translator.translate(lines)) for _ in range(3)]
    return 1000 * statistics.median(times) / len(lines)


def draw_growth(found: dict[str, list[tuple[int, float]]], picture: Path) -> None:
    """Draw a picture with one panel for each size that is varied."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(found), 3.0), layout="constrained")
    FigureCanvasAgg(figure)
    for axis, (name, points) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        values, costs = zip(*points, strict=True)
        axis.plot(values, costs, marker="o")
        axis.set_xscale("log", base=2)
        axis.set_xticks(values, [f"{value // 1000}k" if value >= 2000 else str(value) for value in values])
        axis.minorticks_off()
        unit = "ms per line" if "translating" in name else "ms per target token"
        axis.set(xlabel=name, ylabel=unit, ylim=(0, None))
        axis.grid(alpha=0.3)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=90)


def main(
    config: Annotated[Path, typer.Option("--config", "-c", help="Whose data and sizes.")] = HERE
    / "configs/quickstart.yaml",
    overrides: Annotated[list[str] | None, typer.Option("--set", help="Override a setting; repeatable.")] = None,
    picture: Annotated[Path, typer.Option(help="Where to draw.")] = HERE / "docs/pictures/growth.png",
) -> None:
    """Measure, print the figures as Markdown and draw them."""
    loaded = load_config(config, overrides or [])
    set_up_machine(loaded.training.threads)
    set_seed(loaded.seed)
    found = growth(loaded, load_corpora(loaded))
    for name, points in found.items():
        typer.echo(f"| {name} | {' | '.join(f'{value}: {cost:.3f}' for value, cost in points)} |")
    draw_growth(found, picture)


if __name__ == "__main__":
    typer.run(main)
