"""Write results completely or not at all."""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ON_WINDOWS = os.name == "nt"
_PATIENCE = 3.0  # seconds that `replace` waits for other programs


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path` to write to.

    If the block succeeds, the temporary file replaces `path`; if it fails, the temporary file is removed. A path that
    is not a regular file (a pipe, /dev/stdout) cannot be replaced, so it is yielded itself. A file keeps its
    permissions, and if `path` is a link, the file that it leads to is replaced.

    Raises:
        FileNotFoundError: if the folder of `path` does not exist, with the folder as its `filename`.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder; make it first", str(path.parent))
    path = path.resolve()
    tmp_path = temporary_name(path, path.suffix)
    try:
        yield tmp_path
        if path.exists():
            shutil.copymode(path, tmp_path)
        sync_file(tmp_path)
        replace(tmp_path, path)
    finally:
        tmp_path.unlink(missing_ok=True)


def copy_folder(folder: Path, target: Path) -> None:
    """Copy a folder to a path that does not exist yet, completely or not at all."""
    tmp_path = temporary_name(target)
    try:
        shutil.copytree(folder, tmp_path, copy_function=shutil.copyfile)  # without their permissions
        for path in tmp_path.iterdir():
            sync_file(path)
        replace(tmp_path, target)
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)


def temporary_name(path: Path, suffix: str = "") -> Path:
    """Return a new name next to `path`, which no other process uses, on this machine or on one that shares the disk."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp{suffix}")


def sync_file(path: Path) -> None:
    """Force a file to be written to the disk now."""
    with path.open("r+b") as written:  # Windows syncs only files that are open for writing
        os.fsync(written.fileno())


def replace(path: Path, target: Path) -> None:
    """Give a file or folder a name that another one may have, in one step.

    Windows refuses this while any program has the other file open, such as a virus scanner or a viewer. They are
    waited for.

    Raises:
        OSError: if it cannot be done.
    """
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            os.replace(path, target)
            return
        except PermissionError:
            if not ON_WINDOWS or time.monotonic() > until:
                raise
        time.sleep(0.05)


def probe_writable(folder: Path) -> None:
    """Check that files can be written in a folder, and leave no file behind; create the folder if it is missing.

    Raises:
        OSError: if they cannot, with the folder as its `filename`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        probe = folder / f".{os.getpid()}.probe"
        probe.touch()  # on Windows, tempfile would try again and again where nothing may be written
        probe.unlink()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from None
