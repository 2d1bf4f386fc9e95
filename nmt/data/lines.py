"""Lines of text as they come in and go out."""

import gzip
import io
import logging
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from nmt.errors import DataError

log = logging.getLogger("nmt")


def read_lines(path: Path) -> Iterator[str]:
    r"""The lines of a UTF-8 text file, plain or .gz, split at ``\n`` only; a ``\r`` before it and a BOM are dropped.

    Raises:
        DataError: if the file cannot be read, or naming the line with a byte that is not UTF-8.
    """
    number = 0
    try:
        with _open_binary(path) as lines:
            for number, raw in enumerate(lines, start=1):
                line = raw.removesuffix(b"\n").removesuffix(b"\r")
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: byte {error.object[error.start]:#04x} at column {error.start + 1} is not UTF-8; "
            f"convert the file, for example with: iconv -f latin1 -t utf-8"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"{path}: cannot be read after line {number}: {what}" if number else f"{path}: cannot be read: {what}"
        ) from None


def _open_binary(path: Path) -> io.BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    return path.open("rb")


def one_line(text: str) -> str:
    """The text without line ends, so that it stays one line."""
    return text.replace("\n", " ")


def argument_lines(texts: Iterable[str]) -> Iterator[str]:
    """Texts from the command line; bytes that are no UTF-8 become replacement characters."""
    for text in texts:
        yield one_line(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def input_lines(path: Path | None) -> Iterator[str]:
    r"""The lines of a file or of standard input, split at ``\n`` only.

    Every line counts, whatever it holds: bytes that are not UTF-8 become replacement characters, with a warning.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        with sys.stdin.buffer if path is None else path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw.removesuffix(b"\n").removesuffix(b"\r")
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    log.warning(
                        "line %d is not UTF-8; what cannot be read is replaced by \N{REPLACEMENT CHARACTER}", number
                    )
                    yield line.decode("utf-8", "replace")
    except OSError as error:
        raise DataError(f"{path or 'standard input'}: cannot be read: {error.strerror}") from None
