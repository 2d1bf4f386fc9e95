"""What large files were found to hold, so that one that has not changed is not read to its end at every start."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from nmt.atomic import atomic_write
from nmt.data.checksums import digest

LARGE = 256 * 2**20  # bytes; a smaller file is read within half a second
_SETTLED = 2.0  # seconds; a file that is younger may change again without another time


def remembered(path: Path, cache: Path, what: str, compute: Callable[[], str]) -> str:
    """Return what `compute` finds in a file; for a large file, what it found before if the file has not changed.

    A file has not changed if it has the size, the number (inode) and both times (of its content, of its entry) that it
    had: programs that write to a file change one of them, and only damage to the disk itself does not.

    Args:
        path: the file.
        cache: the folder of the cache, which remembers.
        what: a name for what is computed.
        compute: reads the file.

    Raises:
        OSError: if the file cannot be read.
    """
    before = _state(path)
    if before[0] < LARGE:
        return compute()
    note = _note(path, cache, what)
    try:
        state, value = json.loads(note.read_bytes())
        if state == before and isinstance(value, str):
            return value
    except (OSError, ValueError, TypeError):  # there is no note, or none that can be read
        pass
    value = compute()
    if _state(path) == before and before[1] < time.time_ns() - _SETTLED * 1e9:
        remember(path, cache, what, value)
    return value


def remember(path: Path, cache: Path, what: str, value: str) -> None:
    """Note what a large file holds, for one that was written just now by us; see `remembered`."""
    state, note = _state(path), _note(path, cache, what)
    if state[0] < LARGE:
        return
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(note) as tmp_path:
            tmp_path.write_text(json.dumps([state, value]), encoding="utf-8")
    except OSError:  # a cache that cannot be written to is reported where it must be
        pass


def _note(path: Path, cache: Path, what: str) -> Path:
    return cache / "large-files" / f"{digest(what, str(path.resolve()))}.json"


def _state(path: Path) -> list[int]:
    found: os.stat_result = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
