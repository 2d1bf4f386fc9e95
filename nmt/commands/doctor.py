"""`nmt doctor`: report possible faults in the data, what training would do with it, and how long that takes here."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from nmt.atomic import atomic_write
from nmt.config import USUAL_FILTERS, Config, Filter, Source, TokenizerConfig
from nmt.data.dataset import text_pairs
from nmt.data.examine import Examination, described, examine, overlap, report_row, sides_are_swapped, split_report
from nmt.data.lines import one_line, without_packing
from nmt.data.prepare import load_corpora, load_train_text
from nmt.data.sources import held_out_hashes, judged_pairs, read_texts, texts_of_parts
from nmt.data.tokenizer_training import feasible_sizes
from nmt.errors import DataError
from nmt.evaluation.metrics import choose_tokenizer
from nmt.runtime import set_up_machine
from nmt.training.estimate import duration_rows, measure_duration, size_rows, uncounted_rows


def examine_files(src: Path, tgt: Path) -> Iterator[str]:
    """Report what may be wrong with two parallel files.

    Yields:
        Lines of the report.

    Raises:
        DataError: if they cannot be read, or differ in length (naming the likely place of the first slip).
    """
    yield from split_report(f"{src} | {tgt}", examine(read_texts(Source(src=str(src), tgt=str(tgt)), "train")))


def write_files(src: Path, tgt: Path, folder: Path) -> Iterator[str]:
    """Write a copy of two parallel files into a folder, without the pairs that any filter leaves out.

    Args:
        src: the source file.
        tgt: the target file.
        folder: where the copies are written, and the links if there are any.

    Yields:
        Lines of the report; the files are written as the caller reads these lines.

    Raises:
        NmtError: see `write_filtered`.
    """
    first, second = without_packing(src.name), without_packing(tgt.name)
    names = (first, second) if first != second else (f"source-{first}", f"target-{second}")
    links = f"{names[0]}-{names[1]}.links"
    yield from write_filtered(Source(src=str(src), tgt=str(tgt)), (*names, links), USUAL_FILTERS, folder, {})


def write_training_data(config: Config, folder: Path) -> Iterator[str]:
    """Write a configuration's training data without the pairs that its filters leave out.

    If it has no filters, all but `shared_sides` apply. See `write_filtered`.
    """
    data = config.data
    source = data.source("train")
    assert source is not None  # the schema requires it
    src_lang, tgt_lang = data.languages
    if src_lang == tgt_lang:  # paraphrases, for example
        src_lang, tgt_lang = "src", "tgt"
    names = (f"train.{src_lang}", f"train.{tgt_lang}", "train.links")
    held_out = {"valid": data.source("valid"), "test": data.source("test")}
    yield from write_filtered(source, names, data.filters or USUAL_FILTERS, folder, held_out)


def run_doctor(config: Config) -> Iterator[str]:
    """Report what may be wrong with a configuration's data, what training would do with it, and how long it takes.

    Yields:
        Lines of the report.

    Raises:
        NmtError: for anything that would stop the training.
    """
    train_source = config.data.source("train")
    assert train_source is not None  # the schema requires it
    train = examine(*texts_of_parts(train_source, "train"))
    yield from split_report("train", train)
    for split in ("valid", "test"):
        source = config.data.source(split)
        if source is None:
            continue
        yield ""
        found = examine(*texts_of_parts(source, split))
        yield from split_report(split, found)
        if sides_are_swapped(train, found):
            yield report_row(
                "source and target seem swapped", f"the words of {split}'s source are those of train's target"
            )
        shared = described(overlap(train, read_texts(source, split)))
        filters = [name for name in ("overlap", "shared_sides") if name in config.data.filters]
        kept_out = f"; the filter {filters[0]} keeps them out" if shared != "0" and filters else ""
        yield report_row("pairs that are in train, too", shared + kept_out)
    yield ""
    if isinstance(config.tokenizer, TokenizerConfig) and config.tokenizer.model is None:
        text, _ = load_train_text(config)
        lowest, highest = feasible_sizes(config.tokenizer, lambda: text_pairs(text))
        size = config.tokenizer.vocab_size
        yield report_row("feasible tokenizer.vocab_size", f"{lowest} to {highest}, by sentencepiece; it is {size}")
    yield report_row("BLEU tokenizer", _bleu_tokenizer(config, train))
    set_up_machine(config.training.threads)
    corpora = load_corpora(config, with_guide=False)
    for name, value in size_rows(config, corpora):
        yield report_row(name, value)
    duration = measure_duration(config, corpora)
    if duration is None:
        yield "training is over before its rate can be measured"
        return
    for name, value in [*duration_rows(duration), *uncounted_rows(config)]:
        yield report_row(name, value)


def write_filtered(
    source: Source,
    names: tuple[str, str, str],
    filters: Sequence[Filter],
    folder: Path,
    held_out: Mapping[str, Source | None],
) -> Iterator[str]:
    """Write the pairs that pass all filters, and a table of those that do not.

    The folder gets the files in `names`, the file `lines` with the number of each kept pair in the complete corpus, and
    `left-out.tsv` with the number, reason, source and target of every other pair.

    Args:
        source: the corpus.
        names: the names of the files for source, target and links; links are written only if the corpus has some.
        filters: the names of the filters.
        folder: where to write.
        held_out: the other splits, for the filters `overlap` and `shared_sides`.

    Yields:
        Lines of the report.

    Raises:
        DataError: if the data cannot be read, or a file is there already.
    """
    hashes = held_out_hashes(held_out)
    paths = [folder / name for name in (*names, "lines", "left-out.tsv")]
    there = [path for path in paths if path.exists()]
    if there:
        raise DataError(f"{there[0]} already exists; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    kept, has_links = 0, False
    with contextlib.ExitStack() as stack:
        written = [stack.enter_context(atomic_write(path)) for path in paths]  # all of them, or none
        files = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in written]
        for line, _, pair, reason in judged_pairs(source, "train", filters, hashes):
            if reason is not None:
                counts[reason] += 1
                files[4].write("\t".join(" ".join(text.split()) for text in (str(line), reason, *pair[:2])) + "\n")
                continue
            kept, has_links = kept + 1, has_links or bool(pair[2])
            for file, text in zip(files[:4], (*pair, str(line)), strict=True):
                file.write(one_line(text) + "\n")  # a cell of a table may hold several lines
    if not has_links:
        paths[2].unlink()
    yield f"{folder}: {kept} pairs kept, {counts.total()} left out"
    for kind, count in counts.most_common():
        yield report_row(kind, str(count))


def _bleu_tokenizer(config: Config, train: Examination) -> str:
    """Return the tokenizer that BLEU will use, followed by advice to change it or the reason for the choice, if any."""
    source = config.data.source("valid")
    assert source is not None  # the schema requires it
    targets = [tgt for _, tgt in islice(read_texts(source, "valid"), 1000)]
    chosen = choose_tokenizer(config.evaluation.bleu_tokenize, targets)
    if chosen in ("13a", "intl") and train.is_tokenised[1]:
        return f"{chosen}; the target is tokenised already, so set evaluation.bleu_tokenize=none"
    if chosen != "13a" and config.evaluation.bleu_tokenize == "auto":
        return f"{chosen}, since 13a cannot split the targets' script"
    return chosen
