"""Parallel text as plain files."""

from pathlib import Path

from nmt.atomic import atomic_write
from nmt.config import Source
from nmt.data.lines import one_line
from nmt.data.sources import read_pairs
from nmt.errors import DataError


def export_text(source: Source, split: str, folder: Path, src_lang: str, tgt_lang: str) -> list[Path]:
    """Write a split as plain text files ``SPLIT.SRC``, ``SPLIT.TGT`` and, if it has gold links, ``SPLIT.links``.

    Returns:
        The paths of the files written.

    Raises:
        DataError: if one of the files exists.
    """
    pairs = list(read_pairs(source, split))
    suffixes = [src_lang, tgt_lang, *(["links"] if any(pair[2] for pair in pairs) else [])]
    written = [folder / f"{split}.{suffix}" for suffix in suffixes]
    if there := [path for path in written if path.exists()]:
        raise DataError(f"{there[0]} already exists; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for column, path in enumerate(written):
        with atomic_write(path) as tmp_path:
            text = "".join(one_line(pair[column]) + "\n" for pair in pairs)
            tmp_path.write_text(text, encoding="utf-8", newline="\n")
    return written
