"""Large files are read to their end once, and again as soon as anything about them has changed."""

import os
import time
from pathlib import Path

import pytest

from nmt.data import remembered as module
from nmt.data.cache import cached_table
from nmt.data.remembered import remembered
from nmt.errors import DataError


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large and was written a minute ago."""
    monkeypatch.setattr(module, "LARGE", 5)
    path = tmp_path / "text"
    path.write_bytes(b"one two")
    an_age_ago(path)
    return path


def an_age_ago(path: Path) -> None:
    os.utime(path, (time.time() - 60, time.time() - 60))


class Reader:
    """Reads a file and counts how often."""

    def __init__(self, path: Path):
        self.path, self.count = path, 0

    def __call__(self) -> str:
        self.count += 1
        return self.path.read_text()


def test_an_unchanged_file_is_read_once(large: Path, tmp_path: Path) -> None:
    reader = Reader(large)
    assert [remembered(large, tmp_path / "cache", "text", reader) for _ in range(3)] == ["one two"] * 3
    assert reader.count == 1
    remembered(large, tmp_path / "cache", "something else", reader)
    assert reader.count == 2


@pytest.mark.parametrize("how", ["written", "the same times", "replaced"])
def test_a_changed_file_is_read_again(large: Path, tmp_path: Path, how: str) -> None:
    reader = Reader(large)
    remembered(large, tmp_path / "cache", "text", reader)
    times = large.stat()
    if how == "replaced":
        (tmp_path / "other").write_bytes(b"two one")
        (tmp_path / "other").replace(large)
    else:
        large.write_bytes(b"two one")
    if how != "written":
        os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert remembered(large, tmp_path / "cache", "text", reader) == "two one"


def test_small_files_and_those_just_written_are_always_read(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(large)
    large.write_bytes(b"one two")  # now
    for _ in range(2):
        remembered(large, tmp_path / "cache", "text", reader)
    assert reader.count == 2
    an_age_ago(large)
    monkeypatch.setattr(module, "LARGE", 1000)
    for _ in range(2):
        remembered(large, tmp_path / "cache", "text", reader)
    assert reader.count == 4


@pytest.mark.parametrize("note", [b"", b"[1]", b"{}", b"[[1, 2, 3, 4], 5]"])
def test_a_damaged_note_is_no_note(large: Path, tmp_path: Path, note: bytes) -> None:
    reader = Reader(large)
    remembered(large, tmp_path / "cache", "text", reader)
    (kept,) = (tmp_path / "cache/large-files").iterdir()
    kept.write_bytes(note)
    assert remembered(large, tmp_path / "cache", "text", reader) == "one two"
    assert reader.count == 2


def test_a_large_table_that_was_damaged_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 5)
    path = tmp_path / "text.arrow"

    def table() -> list[str]:
        return list(cached_table(path, {"text": "string"}, ({"text": str(number)} for number in range(9)))["text"])

    expected = table()
    monkeypatch.setattr("nmt.data.cache._table_damage", lambda path: pytest.fail("it was read again"))
    assert table() == expected
    monkeypatch.undo()
    monkeypatch.setattr(module, "LARGE", 5)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert table() == expected
    assert path.read_bytes() != bytes(content)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    from nmt.config import Source
    from nmt.data.sources import load_text

    with pytest.raises(DataError, match=r"nothing\.en: cannot be read"):
        load_text(Source(src=str(tmp_path / "nothing.en"), tgt=str(tmp_path / "nothing.fr")), "train", tmp_path)
