"""Stored facts about large files, such as checksums, so that an unchanged file is not read in full at every start."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from nmt.atomic import atomic_write
from nmt.data.checksums import digest

LARGE = 256 * 2**20  # bytes; a smaller file is read within half a second
_SETTLED = 2.0  # seconds; a file that was modified more recently may change again without a new time stamp


def remembered(path: Path, cache: Path, what: str, compute: Callable[[], str]) -> str:
    """Return the result of `compute` for a file; for a large file that has not changed, return the stored result.

    A file counts as unchanged if it still has the same size, inode number, modification time and change time. Programs
    that write to a file change at least one of these; only damage to the disk itself does not.

    Args:
        path: the file.
        cache: the cache folder, where results are stored.
        what: a name for what is computed.
        compute: reads the file and returns the result.

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
    except (OSError, ValueError, TypeError):  # the note is missing or unreadable
        pass
    value = compute()
    if _state(path) == before and before[1] < time.time_ns() - _SETTLED * 1e9:
        remember(path, cache, what, value)
    return value


def remember(path: Path, cache: Path, what: str, value: str) -> None:
    """Store a result for a large file that this process has just written; see `remembered`."""
    state, note = _state(path), _note(path, cache, what)
    if state[0] < LARGE:
        return
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(note) as tmp_path:
            tmp_path.write_text(json.dumps([state, value]), encoding="utf-8")
    except OSError:  # the code that needs to write to the cache reports the error
        pass


def _note(path: Path, cache: Path, what: str) -> Path:
    return cache / "large-files" / f"{digest(what, str(path.resolve()))}.json"


def _state(path: Path) -> list[int]:
    found: os.stat_result = path.stat()
    return [found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino]
