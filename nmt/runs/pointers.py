"""The names `best`, `last` and `latest`, each of which points to a folder next to it.

They are symbolic links, or text files with the folder's name on systems that allow no links. On Windows they always are
text files: it allows links to administrators only, and cannot replace a link to a folder in one step.
"""

import contextlib
from pathlib import Path

from nmt.atomic import ON_WINDOWS, replace, temporary_name

_LONGEST_NAME = 255  # bytes


def point(pointer: Path, target: str) -> None:
    """Make `pointer` point to the folder `target` next to it, replacing an existing pointer in one step."""
    tmp_path = temporary_name(pointer)
    if not ON_WINDOWS:
        with contextlib.suppress(OSError, NotImplementedError):
            tmp_path.symlink_to(target)
    if not tmp_path.is_symlink():
        tmp_path.write_text(f"{target}\n", encoding="utf-8")
        if pointer.is_symlink():  # of an earlier version or another system
            pointer.unlink()
    replace(tmp_path, pointer)


def follow(path: Path) -> Path:
    """Return the folder that a text file points to; symbolic links and all other paths are returned unchanged.

    A text file is followed only if it holds a plain name, so that it can only point to a folder next to it.
    """
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LONGEST_NAME:
            return path
        name = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return path
    is_name = bool(name) and Path(name).name == name and name not in (".", "..") and "\\" not in name
    return path.with_name(name) if is_name else path
