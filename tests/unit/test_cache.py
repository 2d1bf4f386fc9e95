"""The cache: what is damaged in it is noticed, named and made anew; what is whole is used as it is."""

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest

from nmt.data.cache import Table, cached_folder, cached_table, remove_leftovers
from nmt.errors import DataError

COLUMNS: dict[str, Any] = {"text": "string", "ids": ["int32"]}


def rows() -> Iterator[dict[str, Any]]:
    return ({"text": f"line {number}", "ids": [number, 200 + number]} for number in range(50))


def never() -> Iterator[dict[str, Any]]:
    raise AssertionError("the table is there and whole")
    yield {}


def values(table: Table) -> list[tuple[Any, ...]]:
    return list(table.rows("text", "ids"))


def fill(folder: Path) -> None:
    (folder / "model").write_bytes(bytes(range(256)))


def refuse_to_fill(folder: Path) -> None:
    raise AssertionError("the folder is there and whole")


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


HARMS: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-9]),
    "empty": lambda path: path.write_bytes(b""),
    "random bytes": lambda path: path.write_bytes(bytes(7 * byte % 256 for byte in range(len(path.read_bytes())))),
    "first byte": lambda path: flip(path, 0),
    "middle byte": lambda path: flip(path, path.stat().st_size // 2),
    "last byte": lambda path: flip(path, -1),
}


@pytest.fixture(autouse=True)
def _warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "nmt")


def test_a_whole_table_and_a_whole_folder_are_used_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(20):  # checksums of many bytes above 127 and below
        path = tmp_path / f"text-{number}.arrow"
        cached_table(path, COLUMNS, ({"text": str(number), "ids": [number]} for _ in range(3)))
        assert values(cached_table(path, COLUMNS, never())) == [(str(number), [number])] * 3
    cached_folder(tmp_path / "tokenizer", fill)
    assert cached_folder(tmp_path / "tokenizer", refuse_to_fill) == tmp_path / "tokenizer"
    assert caplog.text == ""


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_table_is_noticed_named_and_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str
) -> None:
    path = tmp_path / "text.arrow"
    expected = values(cached_table(path, COLUMNS, rows()))
    HARMS[harm](path)
    assert values(cached_table(path, COLUMNS, rows())) == expected
    assert f"the cached table {path} is damaged" in caplog.text
    assert values(cached_table(path, COLUMNS, never())) == expected


@pytest.mark.parametrize("victim", ["model", "sha256.json"])
@pytest.mark.parametrize("harm", [*HARMS, "vanished"])
def test_a_damaged_folder_is_noticed_named_and_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, harm: str, victim: str
) -> None:
    folder = cached_folder(tmp_path / "tokenizer", fill)
    (HARMS | {"vanished": Path.unlink})[harm](folder / victim)
    cached_folder(folder, fill)
    assert (folder / "model").read_bytes() == bytes(range(256))
    assert f"the cached folder {folder} is damaged" in caplog.text
    assert cached_folder(folder, refuse_to_fill) == folder


def test_what_is_of_another_kind_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "text.arrow").mkdir()
    with pytest.raises(DataError, match=r"text\.arrow: .*delete it"):
        cached_table(tmp_path / "text.arrow", COLUMNS, rows())
    (tmp_path / "tokenizer").write_text("a file")
    with pytest.raises(DataError, match=r"tokenizer: .*delete it"):
        cached_folder(tmp_path / "tokenizer", fill)
    assert (tmp_path / "tokenizer").read_text() == "a file"


def test_old_leftovers_go_and_young_and_foreign_files_stay(tmp_path: Path) -> None:
    key = "0123456789abcdef0123"
    leftovers = [f".text-{key}.arrow.77.tmp.arrow", f"pieces-{key}.arrow.tmp", f".tokenizer-{key}.77.tmp"]
    foreign = ["notes.tmp", f"text-{key}.arrow", ".hidden", f"tokenizer-{key}"]
    for name in leftovers + foreign:
        if "tokenizer" in name:
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    assert len(list(tmp_path.iterdir())) == len(leftovers + foreign)
    yesterday = time.time() - 25 * 3600
    for name in leftovers + foreign:
        os.utime(tmp_path / name, (yesterday, yesterday))
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(foreign)


def test_rows_are_chosen_from_each_batch_apart(tmp_path: Path) -> None:
    """All texts of a large corpus in one array would exceed the 2 GiB that Arrow allows."""
    batches = [
        pyarrow.record_batch({"text": pyarrow.array(list(text), pyarrow.string())})
        for text in ("abc", "de", "", "fghi")
    ]
    table = Table(pyarrow.Table.from_batches(batches))
    chosen = table.select([0, 2, 3, 8])
    assert chosen["text"] == ["a", "c", "d", "i"]
    assert [chunk.to_pylist() for chunk in chosen.column("text").chunks] == [["a", "c"], ["d"], [], ["i"]]
    assert table[2:6]["text"] == ["c", "d", "e", "f"]
    assert table.select([])["text"] == []
