"""`nmt init`: look at the data, set test sentences aside, and write a configuration that fits."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from nmt.atomic import atomic_write
from nmt.config import USUAL_FILTERS, Filter, Source, TokenizerConfig
from nmt.config.load import load_config
from nmt.config.presets import CorpusSize, Preset, max_length, preset_settings
from nmt.config.yaml_text import flow
from nmt.data.examine import Examination, examine, overlap, report_row, sides_are_swapped, split_report
from nmt.data.filters import judged, pair_hash
from nmt.data.lines import without_packing
from nmt.data.prepare import load_corpora
from nmt.data.sources import held_out_hashes, read_pairs, read_texts, texts_of_parts
from nmt.data.tables import TableFormat, column_names
from nmt.data.tokenizer_training import feasible_sizes
from nmt.errors import ConfigError, DataError
from nmt.runtime import set_up_machine
from nmt.training.estimate import duration_rows, measure_duration, uncounted_rows

Held = Literal["valid", "test"]
_HELD_OUT: tuple[Held, ...] = ("valid", "test")
_FEWEST, _SHARE, _MOST = 20, 20, 1_000  # a split that is set aside has 20 to 1,000 pairs, one in 20 if possible
_SMALL = 50_000  # with at most this number of pairs, sentencepiece is asked which vocabulary sizes are possible
_SIBLINGS: dict[Held, tuple[str, ...]] = {"valid": ("valid", "val", "dev", "validation"), "test": ("test", "tst")}
_TABLES = tuple(f".{kind}" for kind in get_args(TableFormat))
_MEANINGS = {
    "data": None,
    "tokenizer": "sentencepiece, trained on the training text",
    "model": "nmt config model prints everything that can be chosen",
    "training": "the learning rate falls to nothing in the last epoch",
    "decoding": None,
    "evaluation": "the text is tokenised already, so BLEU must not tokenise it again",
}


@dataclass
class InitOptions:
    """The user's choices; everything else is found in the data.

    Attributes:
        files: two text files, a table, or the name of a hub dataset after ``hub:``.
        output: the configuration to write.
        columns: source and target column of a table or of a hub dataset; None to find them.
        langs: names of the languages; None to take the files' endings or the columns' names.
        given: the validation and test files, as far as the user has them.
        preset: the kind of model.
        estimate: whether to estimate the training time.
    """

    files: Sequence[str]
    output: Path
    columns: tuple[str, str] | None = None
    langs: tuple[str | None, str | None] = (None, None)
    given: dict[Held, tuple[str, str]] = field(default_factory=dict)
    preset: Preset = "recurrent"
    estimate: bool = True


def run_init(options: InitOptions) -> Iterator[str]:
    """Examine the data, set validation and test pairs aside if there are none, and write a configuration.

    Yields:
        Lines of the report.

    Raises:
        NmtError: if the data cannot be used, or the configuration is there already.
    """
    if options.output.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--output {options.output}: the name of a configuration must end with .yaml or .yml")
    if options.output.exists():
        raise ConfigError(f"{options.output} already exists; choose another name with --output")
    if not options.output.parent.is_dir():
        raise ConfigError(f"{options.output.parent} is not a folder; create it first, or choose another --output")
    if options.columns is not None and options.columns[0] == options.columns[1]:
        raise ConfigError(f"--columns: source and target are both column {options.columns[0]}; give each side its own")
    train, langs = _source_of(options)
    for lang in langs:
        if Path(lang).name != lang:
            raise ConfigError(
                f"'{lang}' cannot be the name of a language, because files are named after it; give --src-lang and "
                f"--tgt-lang"
            )
    found = examine(*texts_of_parts(train, "train"))
    yield from split_report("train", found)
    splits: dict[Held, Source] = {}
    for split in _HELD_OUT:
        source = _other_split(options, train, split)
        if source is None:
            continue
        splits[split] = source
        other = examine(*texts_of_parts(source, split))
        yield from split_report(split, other)
        if sides_are_swapped(found, other):
            raise DataError(
                f"the {split} data seems to have its sides swapped: the words of its source are those of the training "
                f"target; give the two files in the other order"
            )
        shared = overlap(found, read_texts(source, split))
        if shared.count:
            yield report_row("pairs that are in train, too", str(shared.count))
            found.filters.add("overlap")
    missing = [split for split in _HELD_OUT if split not in splits]
    comments = dict.fromkeys(splits, "")
    if missing:
        folder = options.output.with_suffix("")
        count = _size_of_split(found.pairs)
        splits |= _set_aside(train, folder, missing, count, langs, held_out_hashes(splits))
        found.filters.add("overlap")
        comments |= dict.fromkeys(missing, f"{count} pairs of the training data, which `overlap` keeps out of it")
        yield f"{folder}: {count} pairs each for {' and '.join(missing)}, taken from the training data"
    text = _configuration(options, found, train, langs, {split: splits[split] for split in _HELD_OUT}, comments)
    with atomic_write(options.output) as tmp_path:
        tmp_path.write_text(text, encoding="utf-8")
    yield f"{options.output}: written for {found.pairs:,} pairs"
    if options.estimate:
        config = load_config(options.output)
        set_up_machine(config.training.threads)
        duration = measure_duration(config, load_corpora(config, with_guide=False))
        if duration is not None:
            yield from (report_row(*row) for row in [*duration_rows(duration), *uncounted_rows(config)])
    yield f"next: nmt train {options.output}"


def _source_of(options: InitOptions) -> tuple[Source, tuple[str, str]]:
    """Return the training data, and the names of its languages."""
    first = options.files[0]
    if len(options.files) == 2:
        src, tgt = options.files
        langs = _ending(src) or "src", _ending(tgt) or "tgt"
        source = Source(src=src, tgt=tgt)
    else:
        is_hub = first.startswith("hub:")
        if not is_hub and not without_packing(first).endswith(_TABLES):
            known = f"give two parallel text files, a table ({', '.join(_TABLES)}), or hub:NAME"
            raise ConfigError(f"{first} is one file; {known}{_advice(first)}")
        columns = options.columns or _columns_of(first, is_hub)
        langs = columns[0].rpartition(".")[2], columns[1].rpartition(".")[2]
        if is_hub:
            source = Source(hub=first.removeprefix("hub:"), src=columns[0], tgt=columns[1])
        elif _are_numbers(columns, first):
            source, langs = Source(path=first, src=columns[0], tgt=columns[1], header=False), ("src", "tgt")
        else:
            source = Source(path=first, src=columns[0], tgt=columns[1])
    chosen = options.langs[0] or langs[0], options.langs[1] or langs[1]
    if chosen[0] == chosen[1]:
        if any(options.langs):
            raise ConfigError(f"both languages are called {chosen[0]}; give both --src-lang and --tgt-lang")
        chosen = "src", "tgt"
    return source, chosen


def _advice(name: str) -> str:
    """Return how to turn a file of another kind into a table; empty if that is not known."""
    suffix = Path(name).suffix.lower()
    if suffix in (".xlsx", ".xls", ".ods"):
        return ". Save a spreadsheet as .csv (UTF-8, separated by commas) in the program that made it"
    if suffix == ".tmx":
        return ". Convert a translation memory to two text files or a .tsv first, for example with the Okapi tools"
    try:
        with open(name, encoding="utf-8") as file:
            head = list(islice(file, 20))
    except (OSError, UnicodeDecodeError):
        return ""
    if head and all("\t" in line for line in head):
        return ". Its lines have tabs, so if it is a table, give it a name that ends with .tsv"
    return ""


def _columns_of(name: str, is_hub: bool) -> tuple[str, str]:
    """Return the two columns of a table.

    Raises:
        ConfigError: if it has more than two, so that they have to be named, or if its first line names no columns.
    """
    names = None if is_hub else column_names(Path(name))
    for column in names or ():
        if len(column.split()) > 2 or column.rstrip().endswith((".", "?", "!")):
            raise ConfigError(
                f"{name}: its first line should name the columns, but '{column[:60]}' seems to be a sentence; if the "
                f"file has no such line, give the numbers of the columns: --columns 1 2"
            )
    if names is not None and len(names) == 1 and ";" in names[0]:
        raise ConfigError(f"{name}: its columns seem to be separated by semicolons; save it with commas, or as .tsv")
    if names is None or len(names) != 2:
        which = f" ({', '.join(names)})" if names else ""
        raise ConfigError(f"{name}: say which columns are source and target{which}: --columns SRC TGT")
    return names[0], names[1]


def _are_numbers(columns: tuple[str, str], name: str) -> bool:
    """Return whether the columns of a text table are numbered, because its first line does not name them."""
    is_text = without_packing(name).endswith((".tsv", ".csv"))
    return is_text and all(map(str.isdecimal, columns)) and not set(columns) <= set(column_names(Path(name)) or ())


def _ending(name: str) -> str:
    return Path(without_packing(name)).suffix.removeprefix(".")


def _other_split(options: InitOptions, train: Source, split: Held) -> Source | None:
    """Return the validation or test data, as given or found with the training data; None if there is none."""
    if split in options.given:
        given_src, given_tgt = options.given[split]
        return Source(src=given_src, tgt=given_tgt)
    if train.hub is not None:
        source = Source(hub=train.hub, src=train.src, tgt=train.tgt)
        try:
            next(iter(read_pairs(source, split)), None)
        except DataError:
            return None
        return source
    names = [name for name in ([train.path] if train.path is not None else [train.src, train.tgt]) if name is not None]
    if not all("train" in Path(name).name for name in names):
        return None
    for word in _SIBLINGS[split]:
        paths = [path.with_name(path.name.replace("train", word)) for path in map(Path, names)]
        if all(path.is_file() for path in paths):
            found = {"path": str(paths[0])} if train.path is not None else {"src": str(paths[0]), "tgt": str(paths[1])}
            return train.model_copy(update=found)
    return None


def _size_of_split(pairs: int) -> int:
    """Return how many pairs are set aside for one split.

    Raises:
        DataError: if there are too few.
    """
    if pairs < 5 * _FEWEST:
        raise DataError(
            f"there are {pairs} pairs, too few to set {_FEWEST} aside for validation and {_FEWEST} for testing; give "
            f"at least {5 * _FEWEST}, or files of your own with --valid and --test"
        )
    return min(_MOST, max(_FEWEST, pairs // _SHARE))


def _set_aside(
    train: Source,
    folder: Path,
    splits: Sequence[Held],
    count: int,
    langs: tuple[str, str],
    known: frozenset[int],
) -> dict[Held, Source]:
    """Draw pairs without faults at random from the training data, write them to separate files, and return the splits.

    Args:
        train: the training data.
        folder: the folder for the files.
        splits: the splits to set aside.
        count: the number of pairs of each split.
        langs: the endings of the files.
        known: hashes of the pairs of other splits, which are not drawn.

    Raises:
        ConfigError: if such a file is there already.
        DataError: if too few pairs are without faults.
    """
    clean = (
        (pair_hash(pair[0], pair[1]), line, pair[0], pair[1])
        for line, pair, reason in judged(read_pairs(train, "train"), USUAL_FILTERS, known)
        if reason is None and pair[0].strip() and pair[1].strip()
    )
    # The order of hashes is as good as random, and always the same for the same pairs.
    drawn = heapq.nsmallest(count * len(splits), clean)
    if len(drawn) < count * len(splits):
        raise DataError(f"only {len(drawn)} pairs are without faults (see above), too few to set test sentences aside")
    placed: dict[Held, Source] = {}
    texts: dict[Path, bytes] = {}
    for at, split in enumerate(splits):
        rows = sorted(drawn[at :: len(splits)], key=lambda row: row[1])
        paths = [folder / f"{split}.{lang}" for lang in langs]
        texts |= {
            path: "".join(f"{row[column]}\n" for row in rows).encode()
            for path, column in zip(paths, (2, 3), strict=True)
        }
        placed[split] = Source(src=str(paths[0]), tgt=str(paths[1]))
    for path, text in texts.items():
        if path.exists() and path.read_bytes() != text:  # the same pairs, from an earlier call, may stay
            raise ConfigError(
                f"{path} already exists and is not overwritten; choose another --output, since the folder is named "
                f"after it, or delete the folder if it is of an earlier nmt init"
            )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        with atomic_write(path) as tmp_path:
            tmp_path.write_bytes(text)
    return placed


def _configuration(
    options: InitOptions,
    found: Examination,
    train: Source,
    langs: tuple[str, str],
    splits: dict[Held, Source],
    comments: dict[Held, str],
) -> str:
    """Return the text of the configuration."""
    changed = found.changed / found.pairs
    size = CorpusSize(found.pairs, found.scripts, found.long_share, found.is_tokenised[1], changed)
    settings = preset_settings(options.preset, size)
    filters = sorted(found.filters, key=USUAL_FILTERS.index)
    if found.pairs <= _SMALL:
        texts = _training_texts(train, filters, splits)
        settings["tokenizer"]["vocab_size"] = _possible_vocabulary(settings["tokenizer"], texts)
    data: list[tuple[str, Any, str]] = [("train", _plain(train), f"{found.pairs:,} pairs")]
    data += [(split, _plain(source), comments[split]) for split, source in splits.items()]
    data += [("src_lang", langs[0], ""), ("tgt_lang", langs[1], "")]
    if max_length(size) != 100:
        data.append(("max_length", max_length(size), "pieces; longer pairs are left out"))
    data.append(("filters", filters, "pairs that are left out of the training data; nmt doctor counts them"))
    lines = [
        f"# Written by `nmt init` for {found.pairs:,} pairs. Every setting can be changed, and has a default if it is",
        "# taken out; `nmt config` prints them all.",
        "data:",
        *(f"  {flow({key: value})}" + (f"  # {comment}" if comment else "") for key, value, comment in data),
    ]
    for name, section in settings.items():
        lines.append(f"{name}:" + (f"  # {_MEANINGS[name]}" if _MEANINGS[name] else ""))
        lines += [f"  {flow({key: value})}" for key, value in section.items()]
    return "\n".join(lines) + "\n"


def _plain(source: Source) -> dict[str, Any]:
    return source.model_dump(exclude_defaults=True)


def _training_texts(train: Source, filters: Sequence[Filter], splits: dict[Held, Source]) -> list[tuple[str, str]]:
    """Return the pairs that training will see."""
    judgements = judged(read_texts(train, "train"), filters, held_out_hashes(splits))
    return [pair for _, pair, reason in judgements if reason is None]


def _possible_vocabulary(tokenizer: dict[str, Any], texts: Sequence[tuple[str, str]]) -> int:
    """Return the wanted vocabulary size, or the nearest that sentencepiece can reach with some pieces to spare."""
    settings = TokenizerConfig(**tokenizer)
    lowest, highest = feasible_sizes(settings, lambda: texts)
    return max(min(settings.vocab_size, highest * 9 // 10), lowest)
