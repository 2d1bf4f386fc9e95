"""`nmt doctor`: what may be wrong with the data, what training would do with it, and how long that takes here."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from nmt.config import Config, Source, TokenizerConfig
from nmt.data.examine import Examination, described, examine, finding_rows, overlap, sides_are_swapped, slip
from nmt.data.prepare import load_corpora
from nmt.data.sources import read_pairs
from nmt.data.tokenizer import feasible_sizes
from nmt.errors import DataError
from nmt.evaluation.metrics import choose_tokenizer
from nmt.runtime import set_up_machine
from nmt.training.estimate import TIMED, measure_duration, size_rows


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
        found = examine(_texts(source, split))
        yield from _split_report(split, found)
        if sides_are_swapped(train, found):
            yield _row("source and target seem exchanged", f"the words of {split}'s source are those of train's target")
        yield _row("pairs that are in train, too", described(overlap(train, _texts(source, split))))
    yield ""
    if isinstance(config.tokenizer, TokenizerConfig):
        lowest, highest = feasible_sizes(config.tokenizer, lambda: _texts(train_source, "train"))
        size = config.tokenizer.vocab_size
        yield _row("feasible tokenizer.vocab_size", f"{lowest} to {highest}, by sentencepiece; it is {size}")
    yield _row("BLEU tokenizer", _bleu_tokenizer(config, train))
    set_up_machine(config.training.threads)
    corpora = load_corpora(config, with_guide=False)
    for name, value in size_rows(config, corpora):
        yield _row(name, value)
    duration = measure_duration(config, corpora)
    if duration is None:
        yield "training is over before its rate can be measured"
        return
    yield _row("training rate here", f"{duration.tokens_per_second:,.0f} target tokens/s, over {TIMED} updates")
    epoch, total = _span(duration.epoch_minutes), _span(duration.total_minutes)
    yield _row("estimated time", f"{epoch} minutes an epoch, {total} in all, validation aside")


def _span(bounds: tuple[float, float]) -> str:
    """Return two numbers as a range, or as one number if they read the same."""
    digits = 1 if bounds[1] < 10 else 0
    low, high = (f"{bound:.{digits}f}" for bound in bounds)
    return low if low == high else f"{low} to {high}"


def _bleu_tokenizer(config: Config, train: Examination) -> str:
    """Return the tokenizer that BLEU will use, and what speaks for another one."""
    source = config.data.source("valid")
    assert source is not None  # the schema requires it
    targets = [tgt for _, tgt in islice(_texts(source, "valid"), 1000)]
    chosen = choose_tokenizer(config.evaluation.bleu_tokenize, targets)
    if chosen in ("13a", "intl") and train.is_tokenised[1]:
        return f"{chosen}; the target is tokenised already, so set evaluation.bleu_tokenize=none"
    if chosen != "13a" and config.evaluation.bleu_tokenize == "auto":
        return f"{chosen}, since 13a cannot split the targets' script"
    return chosen


def _texts(source: Source, split: str) -> Iterable[tuple[str, str]]:
    return ((src, tgt) for src, tgt, _ in read_pairs(source, split))


def _split_report(name: str, found: Examination) -> Iterator[str]:
    if found.pairs == 0:
        raise DataError(f"{name}: there is no sentence pair")
    yield f"{name}: {found.pairs} pairs, {found.words[0]} source and {found.words[1]} target words"
    for kind, text in finding_rows(found):
        yield _row(kind, text)
    for side, is_cut in zip(("source", "target"), found.is_tokenised, strict=True):
        if is_cut:
            yield _row(f"the {side} is tokenised already", "use --level tokens for its words")
    slipped = slip(found)
    if slipped is not None:
        line, where = slipped[0], "low" if slipped[1] > 0 else "high"
        yield _row("the sides seem shifted", f"the target lies a line too {where}, near line {line}")
    if not found.findings and slipped is None:
        yield "  nothing suspicious"
    widest = max(found.lengths)
    for label, count in found.histogram():
        yield _row(label, f"{count:>8} {'#' * round(30 * count / widest)}")


def _row(name: str, value: str) -> str:
    return f"  {name:<64} {value}"
