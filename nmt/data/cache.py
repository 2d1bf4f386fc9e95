"""The cache: tables and folders that are made once, checked whenever they are opened, and rebuilt if damaged."""

import errno
import io
import json
import logging
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, overload

import numpy as np

from nmt.atomic import atomic_write, sync_file, temporary_name
from nmt.data.checksums import file_checksum
from nmt.data.remembered import remember, remembered
from nmt.errors import DataError

if TYPE_CHECKING:
    import pyarrow

log = logging.getLogger(__name__)

BATCH_ROWS = 100_000  # rows of one record batch; with few batches, looking up a row is fast in a large table
_ROWS_IN_PYTHON = 10_000  # rows that are held as Python objects while a table is written
_TRAILER_MARK = b"nmt-crc-32"  # a table's file ends with this mark and the CRC-32 of everything before the mark
_TRAILER_SIZE = len(_TRAILER_MARK) + 4
_DAMAGE = "damage of a table"  # the name under which the check of a large table is stored; the result "" is no damage
_CHECKSUMS = "sha256.json"  # the file in a cached folder that names the checksums of its other files

_LEFTOVER_AGE = 24 * 3600  # seconds
_LEFTOVER_FILE = re.compile(r"\.?(text|pieces|links|guided)-[0-9a-f]{20}.*\.tmp(\.arrow)?")
_LEFTOVER_FOLDER = re.compile(
    r"\.(tokenizer|aligner|word-aligner)-[0-9a-f]{20}\.[0-9a-f]+\.tmp|tokenizer-[0-9a-f]{20}[a-z0-9_]{8}"
)


class Table:
    """A table with named columns. It wraps an Arrow table that is usually memory-mapped."""

    def __init__(self, data: "pyarrow.Table"):
        """Take the Arrow table `data`."""
        self._data = data

    def __len__(self) -> int:
        return int(self._data.num_rows)

    @overload
    def __getitem__(self, key: str) -> list[Any]: ...

    @overload
    def __getitem__(self, key: slice) -> "Table": ...

    def __getitem__(self, key: str | slice) -> "list[Any] | Table":
        """Return all values of the column `key`, or a table of the rows in the slice `key`."""
        if isinstance(key, slice):
            return self.select(range(*key.indices(len(self))))
        values: list[Any] = self.column(key).to_pylist()
        return values

    def column(self, name: str) -> Any:
        """Return a column as a ``pyarrow.ChunkedArray``, without reading it."""
        return self._data.column(name)

    def has_text(self, name: str) -> bool:
        """Return whether any text of the column `name` is not empty."""
        import pyarrow.compute

        return bool(
            pyarrow.compute.any(pyarrow.compute.greater(pyarrow.compute.binary_length(self.column(name)), 0)).as_py()
        )

    def select(self, rows: Sequence[int]) -> "Table":
        """Return the table of the given rows, which are in ascending order."""
        import pyarrow

        chosen = np.asarray(rows, dtype=np.int64)
        first, parts = 0, []
        for batch in self._data.to_batches():  # Arrow's own `take` joins them, but no array of texts can exceed 2 GiB
            here = chosen[np.searchsorted(chosen, first) : np.searchsorted(chosen, first + len(batch))]
            parts.append(batch.take(pyarrow.array(here - first)))
            first += len(batch)
        return Table(pyarrow.Table.from_batches(parts, self._data.schema))

    def rows(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield the values of the named columns, row by row, holding only some rows in memory at a time."""
        for batch in self._data.select(list(names)).to_batches(max_chunksize=2000):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def cached_table(path: Path, columns: dict[str, Any], rows: Iterable[dict[str, Any]]) -> Table:
    """Return the table at `path`, memory-mapped; write it from `rows` first if it is missing or damaged.

    Args:
        path: the table's file in the cache.
        columns: column name → name of an Arrow type, or a list with one such name for a list column.
        rows: the rows, which are read only if the table has to be written, and never all held in memory at once.

    Raises:
        DataError: if the cache cannot be read or written.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if path.exists():
            damage = remembered(path, path.parent, _DAMAGE, lambda: _table_damage(path) or "")
            if not damage:
                return open_table(path)
            log.warning("the cached table %s is damaged (%s), so it is made again", path, damage)
        remove_leftovers(path.parent)
        write_table(path, columns, rows)
        remember(path, path.parent, _DAMAGE, "")
        return open_table(path)
    except OSError as error:
        raise _cache_error(path, error) from None


def write_table(path: Path, columns: dict[str, Any], rows: Iterable[dict[str, Any]]) -> None:
    """Write a table to `path`, either completely or not at all; see `cached_table` for the arguments.

    The file holds an Arrow stream, followed by a checksum of the stream.

    Raises:
        OSError: if the file cannot be written.
    """
    import pyarrow

    schema = pyarrow.schema(
        [
            (name, pyarrow.list_(pyarrow.type_for_alias(kind[0])))
            if isinstance(kind, list)
            else (name, pyarrow.type_for_alias(kind))
            for name, kind in columns.items()
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as tmp_path, tmp_path.open("wb") as file:
        sink = _ChecksumWriter(file)
        with pyarrow.ipc.new_stream(sink, schema) as writer:
            for batch in _record_batches(rows, schema):
                writer.write_batch(batch)
        file.write(_TRAILER_MARK + sink.checksum.to_bytes(4, "big"))


def _record_batches(rows: Iterable[dict[str, Any]], schema: "pyarrow.Schema") -> Iterator["pyarrow.RecordBatch"]:
    import pyarrow

    iterator, parts, count = iter(rows), [], 0
    while chunk := list(islice(iterator, _ROWS_IN_PYTHON)):
        parts.append(pyarrow.RecordBatch.from_pylist(chunk, schema=schema))
        count += len(chunk)
        if count >= BATCH_ROWS:
            yield from pyarrow.Table.from_batches(parts).combine_chunks().to_batches()
            parts, count = [], 0
    if parts:
        yield from pyarrow.Table.from_batches(parts).combine_chunks().to_batches()


class _ChecksumWriter(io.RawIOBase):
    """Passes bytes on to a file and computes their CRC-32, which detects damage three times as fast as SHA-256."""

    def __init__(self, file: IO[bytes]):
        super().__init__()
        self._file, self.checksum = file, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.checksum = zlib.crc32(data, self.checksum)
        return self._file.write(data)


def open_table(path: Path) -> Table:
    """Return the table that `write_table` wrote, memory-mapped, without verifying its checksum."""
    import pyarrow

    with pyarrow.memory_map(str(path)) as file:
        content = file.read_buffer().slice(0, path.stat().st_size - _TRAILER_SIZE)
    return Table(pyarrow.ipc.open_stream(content).read_all())


def _table_damage(path: Path) -> str | None:
    """Return what is wrong with the file of a table, or None if it is intact."""
    import pyarrow

    size = path.stat().st_size
    if size <= _TRAILER_SIZE:
        return "it is cut short"
    with pyarrow.memory_map(str(path)) as file:
        content = memoryview(file.read_buffer()).cast("B")  # Arrow's are signed and would equal no other bytes
    trailer = bytes(content[-_TRAILER_SIZE:])
    mark, checksum = trailer[: len(_TRAILER_MARK)], trailer[len(_TRAILER_MARK) :]
    if mark != _TRAILER_MARK:
        return "it does not end with a checksum, as those of this version do"
    if zlib.crc32(content[:-_TRAILER_SIZE]).to_bytes(4, "big") != checksum:
        return "its checksum differs"
    return None


def cached_folder(path: Path, make: Callable[[Path], None]) -> Path:
    """Return the folder `path` of the cache; let `make` fill it first if it is missing or damaged.

    Args:
        path: the folder.
        make: fills the empty folder that it is called with, which then replaces `path`.

    Raises:
        DataError: if the cache cannot be read or written.
    """
    try:
        if path.exists():
            damage = _folder_damage(path)
            if damage is None:
                return path
            log.warning("the cached folder %s is damaged (%s), so it is made again", path, damage)
        remove_leftovers(path.parent)
        _make_folder(path, make)
        return path
    except OSError as error:
        raise _cache_error(path, error) from None


def _make_folder(path: Path, make: Callable[[Path], None]) -> None:
    tmp_path = temporary_name(path)
    tmp_path.mkdir(parents=True)
    try:
        make(tmp_path)
        checksums = {file.name: file_checksum(file) for file in sorted(tmp_path.iterdir())}
        (tmp_path / _CHECKSUMS).write_text(json.dumps(checksums), encoding="utf-8")
        for file in tmp_path.iterdir():
            sync_file(file)
        try:
            tmp_path.rename(path)
        except OSError:
            if _folder_damage(path) is not None:  # otherwise another process was faster, with the same result
                shutil.rmtree(path)
                tmp_path.rename(path)
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)


def _folder_damage(path: Path) -> str | None:
    """Return what is wrong with a cached folder, or None if it is intact."""
    try:
        checksums = json.loads((path / _CHECKSUMS).read_bytes())
    except FileNotFoundError:
        return "it has no checksums"
    except ValueError:
        return "its checksums cannot be read"
    if not isinstance(checksums, dict) or not checksums:
        return "its checksums cannot be read"
    for name, checksum in checksums.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if file_checksum(path / name) != checksum:
            return f"the checksum of {name} differs"
    return None


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files and folders that killed processes left in the cache more than a day ago."""
    if not folder.is_dir():
        return
    oldest = time.time() - _LEFTOVER_AGE
    for path in folder.iterdir():
        try:
            if path.lstat().st_mtime > oldest:
                continue
            if _LEFTOVER_FILE.fullmatch(path.name):
                path.unlink()
            elif _LEFTOVER_FOLDER.fullmatch(path.name) and not path.is_symlink():
                shutil.rmtree(path)
        except OSError:  # it belongs to another user, or another process is removing it at this moment
            continue


def _cache_error(path: Path, error: OSError) -> DataError:
    """Return the error to raise if a table or folder `path` of the cache cannot be read or written."""
    reason = error.strerror or str(error)
    if isinstance(error, (IsADirectoryError, NotADirectoryError)) and path.exists():
        return DataError(f"{path}: nmt would keep a part of its cache there, but: {reason}; move it away or delete it")
    return DataError(
        f"{path.parent}: the cache cannot be used: {reason}; free some space there or change its permissions, or name "
        f"another folder with data.cache_dir"
    )
