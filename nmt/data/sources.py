"""Parallel text from files, tables, the hub or the built-in grammar."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nmt.alignment.links import transposed
from nmt.config import Source
from nmt.data.cache import cached_table, digest
from nmt.data.lines import read_lines
from nmt.errors import DataError

if TYPE_CHECKING:
    import datasets


Pair = tuple[str, str, str]  # source text, target text, gold word links in Pharaoh notation ("" where there are none)


_FORMAT = 1  # raise it when the cached tables change


_TABLES = (".tsv", ".csv", ".jsonl", ".parquet")


def load_text(source: Source, split: str, cache_dir: Path) -> tuple["datasets.Dataset", str]:
    """One split's sentence pairs as a memory-mapped table.

    Args:
        source: where the text comes from, with paths resolved.
        split: ``train``, ``valid`` or ``test``; picks the split of a built-in corpus and names the data in messages.
        cache_dir: where tables are kept.

    Returns:
        The table with columns `src`, `tgt`, `links` (strings), and its fingerprint.

    Raises:
        DataError: naming file, line and remedy.
    """
    fingerprint = digest(_FORMAT, _identity(source, split))
    columns = {"src": "string", "tgt": "string", "links": "string"}

    def rows() -> Iterator[dict[str, Any]]:
        for src, tgt, links in read_pairs(source, split):
            yield {"src": src, "tgt": tgt, "links": links}

    table = cached_table(cache_dir / f"text-{fingerprint}.arrow", columns, rows())
    if len(table) == 0:
        raise DataError(f"the {split} data is empty: {_describe(source)} holds no sentence pair")
    return table, fingerprint


def read_pairs(source: Source, split: str) -> Iterator[Pair]:
    """The pairs of a source, one by one; nothing is dropped here."""
    if source.builtin is not None:
        from nmt.data.builtin.grammar import phrasebook

        pairs = phrasebook(split)
        yield from pairs if source.src != "fr" else ((tgt, src, transposed(links)) for src, tgt, links in pairs)
    elif source.hub is not None:
        yield from _read_hub(source, split)
    elif source.path is not None:
        yield from _read_table(Path(source.path).expanduser(), str(source.src), str(source.tgt))
    else:
        yield from _read_files(Path(str(source.src)).expanduser(), Path(str(source.tgt)).expanduser())


def _read_files(src: Path, tgt: Path) -> Iterator[Pair]:
    for number, (src_line, tgt_line) in enumerate(zip_longest(read_lines(src), read_lines(tgt)), start=1):
        if src_line is None or tgt_line is None:
            raise DataError(_unequal(src, tgt, number - 1))
        yield src_line, tgt_line, ""


def _unequal(src: Path, tgt: Path, common: int) -> str:
    """The message for files of unequal length, with the likely place of the first slip."""
    counts = {path: sum(1 for _ in read_lines(path)) for path in (src, tgt)}
    ratios: list[float] = []
    place = f"one file ends after line {common}"
    pairs = list(zip(read_lines(src), read_lines(tgt), strict=False))
    known = [(len(a) + 1) / (len(b) + 1) for a, b in pairs]
    usual = sorted(known)[len(known) // 2] if known else 1.0
    for number, ratio in enumerate(known, start=1):
        ratios.append(max(ratio / usual, usual / ratio))
        recent = ratios[-8:]
        # After a slip unrelated sentences face each other: most length ratios in a window are far from the usual one.
        if len(recent) == 8 and sum(value > 1.7 for value in recent) >= 4:
            first = next(i for i, value in enumerate(recent) if value > 1.7)
            place = f"lengths stop matching near line {max(1, number - 7 + first)}; look for a missing or split line"
            break
    return (
        f"{src} has {counts[src]} lines and {tgt} has {counts[tgt]}; line i of one must translate line i of the other. "
        f"Likely slip: {place}"
    )


def _read_table(path: Path, src: str, tgt: str) -> Iterator[Pair]:
    kind = next((suffix for suffix in _TABLES if path.name.removesuffix(".gz").endswith(suffix)), None)
    if kind is None:
        raise DataError(f"{path}: unknown table format; use one of {', '.join(_TABLES)} (text formats also as .gz)")
    if kind == ".parquet":
        yield from _read_parquet(path, src, tgt)
    elif kind == ".jsonl":
        yield from _read_jsonl(path, src, tgt)
    else:
        yield from _read_delimited(path, src, tgt, tabs=kind == ".tsv")


def _read_delimited(path: Path, src: str, tgt: str, tabs: bool) -> Iterator[Pair]:
    """TSV (no quoting: a tab is always a column's end) or CSV (quoted as RFC 4180 has it)."""
    lines = read_lines(path)
    rows = _tab_rows(lines) if tabs else _csv_rows(lines, path)
    _, header = next(rows, (1, None))
    if header is None:
        raise DataError(f"{path}: the file is empty; its first line must name the columns")
    src_at, tgt_at = (_column(path, header, name) for name in (src, tgt))
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {number}: {len(row)} columns, but the first line names {len(header)}")
        yield row[src_at], row[tgt_at], ""


def _tab_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    yield from ((number, line.split("\t")) for number, line in enumerate(lines, start=1))


def _csv_rows(lines: Iterable[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows with the number of their last line; a quoted field may hold several lines."""
    reader = csv.reader((line + "\n" for line in lines), strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from None


def _read_jsonl(path: Path, src: str, tgt: str) -> Iterator[Pair]:
    for number, line in enumerate(read_lines(path), start=1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}, line {number}: not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a JSON object with the keys {src} and {tgt} is expected")
        yield _pair_of(row, src, tgt, f"{path}, line {number}")


def _read_parquet(path: Path, src: str, tgt: str) -> Iterator[Pair]:
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        number = 0
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield _pair_of(row, src, tgt, f"{path}, row {number}")
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None


def _read_hub(source: Source, split: str) -> Iterator[Pair]:
    import datasets

    wanted = source.split or {"valid": "validation"}.get(split, split)
    try:
        table = datasets.load_dataset(str(source.hub), source.config, split=wanted)
    except Exception as error:  # the library raises many kinds: network, missing, malformed
        raise DataError(
            f"the dataset {source.hub} (config {source.config}, split {wanted}) cannot be loaded: {error}"
        ) from None
    for number, row in enumerate(table, start=1):
        nested = row.get("translation")
        yield _pair_of(
            nested if isinstance(nested, dict) else row, str(source.src), str(source.tgt), f"{source.hub}, row {number}"
        )


def _pair_of(row: dict[str, Any], src: str, tgt: str, place: str) -> Pair:
    values = []
    for name in (src, tgt):
        if name not in row:
            raise DataError(f"{place}: no column '{name}'; the columns are {', '.join(map(str, row))}")
        if not isinstance(row[name], str):
            raise DataError(f"{place}: column '{name}' holds {row[name]!r}, which is not a text")
        values.append(row[name])
    return values[0], values[1], ""


def _column(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise DataError(f"{path}: no column '{name}'; the first line names {', '.join(header)}")
    return header.index(name)


def _identity(source: Source, split: str) -> dict[str, Any]:
    """What decides the text that `source` gives: the bytes of its files, or the name and split of a dataset."""
    identity: dict[str, Any] = source.model_dump(exclude={"path"})
    if source.builtin is not None:
        code = b"".join(
            (Path(__file__).parent / "builtin" / name).read_bytes() for name in ("lexicon.py", "grammar.py")
        )
        return identity | {"split": split, "code": hashlib.sha256(code).hexdigest()}
    if source.hub is not None:
        local = Path(source.hub)
        files = sorted(path for path in local.rglob("*") if path.is_file()) if local.is_dir() else []
        return identity | {"split": source.split or split, "files": [_file_digest(path) for path in files]}
    if source.path is not None:
        return identity | {
            "kind": source.path.removesuffix(".gz").rpartition(".")[2],
            "file": _file_digest(Path(source.path)),
        }
    return {"src": _file_digest(Path(str(source.src))), "tgt": _file_digest(Path(str(source.tgt)))}


def _file_digest(path: Path) -> str:
    path = path.expanduser()
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() + path.suffix
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check the path, or set data.root") from None


def _describe(source: Source) -> str:
    if source.builtin is not None:
        return f"builtin:{source.builtin}"
    return source.hub or source.path or f"{source.src} | {source.tgt}"


def export_text(source: Source, split: str, folder: Path, src_lang: str, tgt_lang: str) -> list[Path]:
    """Write a split as plain text files ``SPLIT.SRC``, ``SPLIT.TGT`` and, where there is gold, ``SPLIT.links``.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = list(read_pairs(source, split))
    written = []
    for column, suffix in enumerate((src_lang, tgt_lang, "links")):
        if suffix == "links" and not any(pair[2] for pair in pairs):
            continue
        path = folder / f"{split}.{suffix}"
        path.write_text("".join(pair[column] + "\n" for pair in pairs), encoding="utf-8", newline="\n")
        written.append(path)
    return written
