"""Write results completely or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` to write to.

    If the block succeeds, the temporary file replaces `path`; if it fails, the temporary file is removed. A path that
    is not a regular file (a pipe, /dev/stdout) cannot be replaced, so it is yielded itself.

    Raises:
        FileNotFoundError: if the folder of `path` does not exist, with the folder as its `filename`.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder; make it first", str(path.parent))
    tmp_path = path.with_name(f".{path.name}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield tmp_path
        with tmp_path.open("r+b") as written:  # Windows syncs only files that are open for writing
            os.fsync(written.fileno())
        os.replace(tmp_path, path)
    finally:
        tmp_path.unlink(missing_ok=True)


def copy_folder(folder: Path, target: Path) -> None:
    """Copy a folder to a path that does not exist yet, completely or not at all."""
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
    """Check that files can be written in a folder, and leave no file behind; create the folder if it is missing.

    Raises:
        OSError: if they cannot, with the folder as its `filename`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None
