"""Writing results: whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to, which takes its place when the block ends well and vanishes when it does not.

    What is no plain file (a pipe, /dev/stdout) cannot be replaced and is given as it is.

    Raises:
        FileNotFoundError: if there is no such folder, with the folder as its `filename`.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder; make it first", str(path.parent))
    tmp_path = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield tmp_path
        with tmp_path.open("r+b") as written:  # Windows syncs only what can be written
            os.fsync(written.fileno())
        os.replace(tmp_path, path)
    finally:
        tmp_path.unlink(missing_ok=True)


def copy_folder(folder: Path, target: Path) -> None:
    """Copy a folder to a place where there is none yet, whole or not at all."""
    tmp_path = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    shutil.rmtree(tmp_path, ignore_errors=True)
    try:
        shutil.copytree(folder, tmp_path)
        for path in tmp_path.iterdir():
            with path.open("rb") as copied:
                os.fsync(copied.fileno())
        os.replace(tmp_path, target)
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)


def probe_writable(folder: Path) -> None:
    """Find out whether files can be written in a folder, and leave nothing behind; the folder is made if it is missing.

    Raises:
        OSError: if they cannot, with the folder as its `filename`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None
