"""Reading text line by line, from files, from standard input and from the command line."""

import gzip
import io
import logging
import os
import select
import sys
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

from nmt.errors import DataError

log = logging.getLogger(__name__)
Item = TypeVar("Item")
Raw = TypeVar("Raw", bytes, bytes | None)

_HEAD_BYTES = 4096  # bytes of a file that are examined to recognise its encoding
_PAUSE = 0.05  # after this many seconds without a new line, the lines that have arrived are processed
_LONGEST_WAIT = 0.2  # the longest time in seconds that a line waits for others
_WARNINGS = 5  # the first bad lines get a warning each; the others are only counted

_OFFICE = (".docx", ".xlsx", ".pptx", ".odt", ".ods")
_PACKED = {
    b"\x1f\x8b\x08": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_BYTE_ORDER_MARKS = {  # UTF-32 comes first, since its mark begins with that of UTF-16
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}


def read_lines(path: Path) -> Iterator[str]:
    r"""Yield the lines of a UTF-8 text file (plain, .gz or .zst), split at ``\n`` only.

    A ``\r`` before the line end and a byte order mark at the start are dropped.

    Raises:
        DataError: if the file cannot be read, is compressed in another way, or is not UTF-8. The message names the
            line and the remedy.
    """
    with open_lines(path) as stream:
        head = stream.peek(_HEAD_BYTES)[:_HEAD_BYTES]
        if (reason := _other_encoding(path, head)) is not None:
            raise DataError(f"{path}: {reason}")
        for number, raw in enumerate(_numbered(path, stream), start=1):
            line = raw.removesuffix(b"\n").removesuffix(b"\r")
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {number}: byte {line[error.start]:#04x} at column {error.start + 1} is not UTF-8; "
                    f"find out its encoding (for example with `file {path.name}`), then convert it: "
                    f"iconv -f ENCODING -t utf-8 {path.name} > NEW"
                ) from None


@contextmanager
def open_lines(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file (plain, .gz or .zst) as a stream of uncompressed bytes.

    Raises:
        DataError: if the file cannot be opened or its first bytes cannot be read.
    """
    try:
        stream = _opened(path)
        try:
            stream.peek(1)
        except BaseException:
            stream.close()
            raise
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read: {_reason(error)}") from None
    with stream:
        yield stream


def _opened(path: Path) -> io.BufferedReader:
    if path.suffix == ".gz":
        return cast(io.BufferedReader, gzip.open(path, "rb"))
    if path.suffix == ".zst":
        import pyarrow

        return io.BufferedReader(pyarrow.CompressedInputStream(path.open("rb"), "zstd"))
    return path.open("rb")


def without_packing(name: str) -> str:
    """Return the name of a file without the suffix .gz or .zst of a compressed file."""
    return name.removesuffix(".gz").removesuffix(".zst")


def _numbered(path: Path, lines: Iterable[Raw]) -> Iterator[Raw]:
    """Yield the lines (and any None) of a stream unchanged; raise an error with the line number if reading fails."""
    number = 0
    try:
        for raw in lines:
            number += raw is not None
            yield raw
    except (OSError, EOFError, zlib.error) as error:
        position = f"cannot be read after line {number}" if number else "cannot be read"
        raise DataError(f"{path}: {position}: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _other_encoding(path: Path, head: bytes) -> str | None:
    """Return why the first bytes of a file are not UTF-8 text, with the remedy; None if they may be."""
    for magic, name in _PACKED.items():
        if head.startswith(magic):
            ending = {"gzip": ".gz", "zstd": ".zst"}.get(name)
            is_named = ending is None or path.suffix == ending  # compressed twice, or in an unsupported format
            remedy = "decompress it" if is_named else f"give it a name that ends with {ending}"
            if path.suffix.lower() in _OFFICE:
                return "the file is a document of an office program; save it as plain text (UTF-8) or as .csv"
            return f"the file is compressed with {name}; {remedy}"
    marked = next((encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)
    encoding = marked or _wide_encoding(head)
    if encoding is None:
        return None
    sign = "begins with the byte order mark of" if marked else "has zero bytes where text has them in"
    return (
        f"the file {sign} {encoding}, but UTF-8 is expected; convert it: iconv -f {encoding} -t utf-8 {path.name} > NEW"
    )


def _wide_encoding(head: bytes) -> str | None:
    """Return UTF-16LE or UTF-16BE if zero bytes alternate with other bytes as in these encodings; else None."""
    zeros = head[0::2].count(0), head[1::2].count(0)
    few, many = min(zeros), max(zeros)
    try:
        head[: max(0, len(head) - 4)].decode("utf-8")
        share = 0.1  # the bytes are also valid UTF-8, so the signs of another encoding must be clear
    except UnicodeDecodeError:
        share = 0.01
    if many < 4 or many < share * len(head) or few > many / 10:
        return None
    return "UTF-16BE" if zeros[0] > zeros[1] else "UTF-16LE"


def one_line(text: str) -> str:
    """Return the text with its line ends replaced by spaces, so that it stays one line."""
    return text.replace("\n", " ")


def is_unicode(text: str) -> bool:
    """Return False for a text with half characters (lone surrogates), which no encoding can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def argument_lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts from the command line; bytes that are not UTF-8 become replacement characters."""
    for text in texts:
        yield one_line(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def input_lines(path: Path | None) -> Iterator[str | None]:
    r"""Yield the lines of a file (plain, .gz or .zst), or of standard input if `path` is None, split at ``\n`` only.

    No line is skipped: bytes that are not UTF-8 become replacement characters, with a warning. None is yielded whenever
    standard input has no more lines for the moment, so that the lines before it can be processed.

    Raises:
        DataError: if the file cannot be read.
    """
    if path is None:
        with sys.stdin.buffer as stream:
            yield from _replaced(_numbered(Path("standard input"), _arriving(cast(io.BufferedReader, stream))))
        return
    with open_lines(path) as file:
        if (reason := _other_encoding(path, file.peek(_HEAD_BYTES)[:_HEAD_BYTES])) is not None:
            log.warning("%s: %s", path, reason)
        yield from _replaced(_numbered(path, file))


def count_lines(path: Path) -> int | None:
    """Return the number of lines of a file (plain, .gz or .zst); None for a pipe or device, which is read only once.

    Raises:
        DataError: if the file cannot be read.
    """
    if not path.is_file():
        return None
    with open_lines(path) as stream:
        return sum(1 for _ in _numbered(path, stream))


def in_chunks(lines: Iterable[Item | None], size: int) -> Iterator[list[Item]]:
    """Yield lists of up to `size` lines or other items; a None among the items ends a list early."""
    chunk: list[Item] = []
    for line in lines:
        if line is not None:
            chunk.append(line)
        if chunk and (line is None or len(chunk) == size):
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _arriving(stream: io.BufferedReader) -> Iterator[bytes | None]:
    """Yield the lines of a stream, and None whenever no further lines arrive for the moment."""
    try:
        stream.fileno()
        waits = os.name == "posix"  # on other systems, `select` works with sockets only
    except OSError:
        waits = False
    if not waits:
        is_typed = stream.isatty()
        for line in stream:
            yield line
            if is_typed:
                yield None
        return
    begun: list[bytes] = []  # parts of a line whose end has not arrived
    waited = 0.0
    while data := stream.read1(1 << 16):
        for part in io.BytesIO(data):
            begun.append(part)
            if part.endswith(b"\n"):
                yield b"".join(begun)
                begun = []
        since = time.perf_counter()
        more, _, _ = select.select([stream], [], [], _PAUSE)
        waited += time.perf_counter() - since
        if not more or waited > _LONGEST_WAIT:
            yield None
            waited = 0.0
    if begun:
        yield b"".join(begun)


def _replaced(lines: Iterable[bytes | None]) -> Iterator[str | None]:
    """Yield lines decoded from UTF-8, with replacement characters and a warning for bad bytes; None stays None."""
    bad = number = 0
    for raw in lines:
        if raw is None:
            yield None
            continue
        number += 1
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            bad += 1
            if bad <= _WARNINGS:
                log.warning(
                    "line %d is not UTF-8; what cannot be read is replaced by \N{REPLACEMENT CHARACTER}", number
                )
            yield line.decode("utf-8", "replace")
    if bad > _WARNINGS:
        log.warning("and %d more lines that are not UTF-8", bad - _WARNINGS)
