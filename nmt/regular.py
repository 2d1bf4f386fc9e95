"""Read files that somebody else may have made: only regular files, and only up to a plausible size."""

import errno
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30


@contextmanager
def open_regular(path: Path, limit: int) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading; refuse a pipe or a device, which could block or never end.

    Args:
        path: the file.
        limit: the largest size allowed, in bytes.

    Raises:
        OSError: if the file cannot be opened, is not a regular file, or is too large; `strerror` says which.
    """
    # Opening a pipe that nobody writes to would wait for ever without O_NONBLOCK; on regular files it has no effect.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        if found.st_size > limit:
            raise OSError(errno.EFBIG, f"it is larger than {limit} bytes, which no such file is", str(path))
        yield file


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a file; see `open_regular`."""
    with open_regular(path, limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:  # the file has grown since it was opened
        raise OSError(errno.EFBIG, f"it is larger than {limit} bytes, which no such file is", str(path))
    return content
