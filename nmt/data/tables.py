"""Sentence pairs from the columns of a table: .tsv, .csv, .jsonl or .parquet."""

import csv
import json
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Literal, assert_never, get_args

from nmt.data.lines import read_lines, without_packing
from nmt.errors import DataError

TableFormat = Literal["tsv", "csv", "jsonl", "parquet"]
_SEPARATORS = {";": "';'", "\t": "tabs", ",": "','", "|": "'|'"}


def table_format(path: Path) -> TableFormat:
    """Return the format of a table by the suffix of its file name.

    Raises:
        DataError: if its ending is unknown.
    """
    name = without_packing(path.name)
    for known in get_args(TableFormat):
        if name.endswith(f".{known}"):
            return known  # type: ignore[no-any-return]
    known_suffixes = ", ".join(f".{known}" for known in get_args(TableFormat))
    raise DataError(f"{path}: unknown table format; use one of {known_suffixes} (text formats also as .gz or .zst)")


def column_names(path: Path) -> list[str]:
    """Return the names of a table's columns; for JSON Lines, return the keys of the first object.

    The names of columns inside an object are those of `texts_of`, such as ``translation.en``.

    Raises:
        DataError: if the file cannot be read.
    """
    kind = table_format(path)
    match kind:
        case "parquet":
            import pyarrow
            from pyarrow import parquet

            try:
                return list(parquet.read_schema(path).names)
            except (OSError, pyarrow.ArrowException) as error:
                raise DataError(f"{path}: cannot be read as Parquet: {error}") from None
        case "jsonl":
            first = next(read_lines(path), "{}")
            try:
                row = json.loads(first)
            except (json.JSONDecodeError, RecursionError) as error:
                raise DataError(f"{path}, line 1: not valid JSON: {error}") from None
            keys = row.items() if isinstance(row, dict) else ()
            return [
                name
                for key, value in keys
                for name in ([f"{key}.{inner}" for inner in value] if isinstance(value, dict) else [str(key)])
            ]
        case "tsv":
            return next(_tab_rows(read_lines(path)), (1, []))[1]
        case "csv":
            return next(_csv_rows(read_lines(path), path), (1, []))[1]
        case _:
            assert_never(kind)


def read_table(path: Path, src: str, tgt: str, header: bool = True) -> Iterator[tuple[str, str]]:
    """Yield the source and target text of each row.

    Args:
        path: the table.
        src: name of the source column; see `texts_of`.
        tgt: name of the target column.
        header: whether the first line names the columns; otherwise their names are "1", "2" and so on.

    Raises:
        DataError: if the table cannot be read; the message names file, line and remedy.
    """
    kind = table_format(path)
    if not header and kind not in ("tsv", "csv"):
        raise DataError(f"{path}: a .{kind} file names its columns itself; take header: false out")
    match kind:
        case "parquet":
            yield from _read_parquet(path, src, tgt)
        case "jsonl":
            yield from _read_jsonl(path, src, tgt)
        case "tsv":  # there is no quoting: a tab is always the end of a column
            yield from _read_columns(path, src, tgt, _tab_rows(read_lines(path)), "\t", header)
        case "csv":  # fields are quoted as in RFC 4180
            yield from _read_columns(path, src, tgt, _csv_rows(read_lines(path), path), ",", header)
        case _:
            assert_never(kind)


def _read_columns(
    path: Path, src: str, tgt: str, rows: Iterator[tuple[int, list[str]]], separator: str, has_header: bool
) -> Iterator[tuple[str, str]]:
    number, first = next(rows, (1, None))
    if first is None:
        raise DataError(f"{path}: the file is empty" + ("; its first line must name the columns" if has_header else ""))
    if has_header:
        header = first
    else:
        header = [str(column) for column in range(1, len(first) + 1)]
        rows = chain([(number, first)], rows)
    missing = [name for name in (src, tgt) if name not in header]
    if missing and has_header:
        raise DataError(_missing_columns(path, header, missing, (src, tgt), separator))
    if missing:
        raise DataError(f"{path}: there is no column {missing[0]}; the first line has only {len(header)}")
    src_at, tgt_at = header.index(src), header.index(tgt)
    for number, row in rows:
        if len(row) != len(header):
            raise DataError(f"{path}, line {number}: {len(row)} columns, but the first line has {len(header)}")
        yield row[src_at], row[tgt_at]


def _missing_columns(path: Path, header: list[str], missing: list[str], wanted: tuple[str, str], separator: str) -> str:
    """Return the message for a first line that does not name the columns."""
    first_line = separator.join(header)
    for other, name in _SEPARATORS.items():
        if other != separator and set(wanted) <= {cell.strip('"') for cell in first_line.split(other)}:
            expected = _SEPARATORS[separator]
            remedies = {"\t": "name the file .tsv", ",": "name the file .csv"}
            remedy = remedies.get(other, f"save the table with {expected}, or as .tsv with tabs")
            return f"{path}: the columns are separated by {name}, but in this format by {expected}; {remedy}"
    named = ", ".join(cell if len(cell) <= 40 else f"{cell[:40]}..." for cell in header)
    message = f"{path}: no column '{missing[0]}'; the first line names {named}"
    if len(missing) == 2:
        shown = separator.replace("\t", "<tab>").join(wanted)
        message += (
            f". If that line is already a sentence pair, set header: false and give src and tgt as numbers of columns, "
            f"or add a header line to the file: {shown}"
        )
    return message


def _tab_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    yield from ((number, line.split("\t")) for number, line in enumerate(lines, start=1))


def _csv_rows(lines: Iterable[str], path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's last line and the row; a quoted field may span several lines."""
    reader = csv.reader((line + "\n" for line in lines), strict=True)
    try:
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: not valid CSV: {error}") from None


def _read_jsonl(path: Path, src: str, tgt: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_lines(path), start=1):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(f"{path}, line {number}: not valid JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number}: a JSON object with the keys {src} and {tgt} is expected")
        yield texts_of(row, src, tgt, f"{path}, line {number}")


def _read_parquet(path: Path, src: str, tgt: str) -> Iterator[tuple[str, str]]:
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        file = parquet.ParquetFile(path)
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield texts_of(row, src, tgt, f"{path}, row {number}")
    except UnicodeDecodeError:
        raise DataError(f"{path}: a text after row {number} is not UTF-8") from None
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None


def texts_of(row: dict[str, Any], src: str, tgt: str, place: str) -> tuple[str, str]:
    """Return the texts of two columns of a row.

    A column is named by its key. A column inside an object is named by both keys with a dot between them, as in
    ``translation.en``. If the object is called ``translation``, the second key is enough.

    Args:
        row: column name → value.
        src: name of the source column.
        tgt: name of the target column.
        place: the name of the row in error messages.

    Raises:
        DataError: if a column is missing, or its value is not a text.
    """
    return _text_of(row, src, place), _text_of(row, tgt, place)


def _text_of(row: dict[str, Any], name: str, place: str) -> str:
    value = _value_of(row, name, place)
    if not isinstance(value, str):
        raise DataError(f"{place}: column '{name}' holds {value!r}, which is not a text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{place}: column '{name}' holds half a character at position {error.start + 1} (the lone surrogate "
            f"\\u{ord(value[error.start]):04x}), which is not a text; take it out, or write the whole character"
        ) from None
    return value


def _value_of(row: dict[str, Any], name: str, place: str) -> Any:
    if name in row:
        return row[name]
    outer, _, inner = name.rpartition(".")
    nested = row.get(outer or "translation")
    if isinstance(nested, dict) and inner in nested:
        return nested[inner]
    names = ", ".join(
        ", ".join(f"{key}.{inside}" for inside in value) if isinstance(value, dict) else str(key)
        for key, value in row.items()
    )
    raise DataError(f"{place}: no column '{name}'; the columns are {names}")
