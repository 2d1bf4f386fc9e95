"""`nmt doctor`: what may be wrong with the data, what training would do with it, and how long that takes here."""

import math
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from nmt.commands.dry_run import run_dry_run
from nmt.config import Config, Source
from nmt.data.examine import Examination, described, examine, finding_rows, overlap
from nmt.data.prepare import load_corpora
from nmt.data.sources import read_pairs
from nmt.data.tokenizer import feasible_sizes
from nmt.errors import DataError
from nmt.model.build import build_model
from nmt.runtime import choose_device, choose_precision, set_seed, set_up_machine
from nmt.training.trainer import Trainer

_WARM, _TIMED = 3, 8  # updates that are thrown away, and that are timed


def examine_files(src: Path, tgt: Path) -> Iterator[str]:
    """What may be wrong with two parallel files.

    Yields:
        Lines of the report.

    Raises:
        DataError: if they cannot be read, or differ in length (naming the likely place of the first slip).
    """
    yield from _split_report(f"{src} | {tgt}", examine(_texts(Source(src=str(src), tgt=str(tgt)), "train")))


def run_doctor(config: Config) -> Iterator[str]:
    """What may be wrong with a configuration's data, what training would do with it, how long that takes here.

    Yields:
        Lines of the report.

    Raises:
        NmtError: for what would stop a training.
    """
    train_source = config.data.source("train")
    assert train_source is not None  # the schema requires it
    train = examine(_texts(train_source, "train"))
    yield from _split_report("train", train)
    for split in ("valid", "test"):
        source = config.data.source(split)
        if source is None:
            continue
        yield ""
        yield from _split_report(split, examine(_texts(source, split)))
        yield _row("pairs that are in train, too", described(overlap(train, _texts(source, split))))
    yield ""
    lowest, highest = feasible_sizes(config.tokenizer, lambda: _texts(train_source, "train"))
    yield _row(
        "feasible tokenizer.vocab_size", f"{lowest} to {highest}, by sentencepiece; it is {config.tokenizer.vocab_size}"
    )
    yield run_dry_run(config)
    yield from _estimate(config)


def _texts(source: Source, split: str) -> Iterable[tuple[str, str]]:
    return ((src, tgt) for src, tgt, _ in read_pairs(source, split))


def _split_report(name: str, found: Examination) -> Iterator[str]:
    if found.pairs == 0:
        raise DataError(f"{name}: there is no sentence pair")
    yield f"{name}: {found.pairs} pairs, {found.words[0]} source and {found.words[1]} target words"
    for kind, text in finding_rows(found):
        yield _row(kind, text)
    if not found.findings:
        yield "  nothing suspicious"
    widest = max(found.lengths)
    for label, count in found.histogram():
        yield _row(label, f"{count:>8} {'#' * round(30 * count / widest)}")


def _row(name: str, value: str) -> str:
    return f"  {name:<64} {value}"


def _estimate(config: Config) -> Iterator[str]:
    """Train for a moment, with nothing kept, and say how long all of it would take."""
    set_up_machine(config.training.threads)
    set_seed(config.seed)
    corpora = load_corpora(config)
    device = choose_device(config.training.device)
    precision = choose_precision(config.training.precision, device)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size).to(device)
    trainer = Trainer(config.training, config.seed, model, device, precision, lambda epoch: corpora.train)
    updates = trainer.updates()
    for _ in islice(updates, _WARM):
        pass
    started = time.perf_counter()
    tokens = sum(update.tgt_tokens for update in islice(updates, _TIMED))
    if not tokens:
        yield "training is over before its rate can be measured"
        return
    rate = tokens / (time.perf_counter() - started)
    epoch = float((corpora.train.tgt_len + 1).sum()) / rate / 60
    yield f"training rate here      {rate:,.0f} target tokens/s, over {_TIMED} updates"
    training, updates_done = config.training, trainer.update
    total = min(epoch * training.epochs, training.max_minutes or math.inf)
    if training.max_updates is not None:
        total = min(total, training.max_updates * tokens / (updates_done - _WARM) / rate / 60)
    yield f"estimated time          {epoch:.1f} minutes an epoch, {total:.0f} in all, validation aside"
