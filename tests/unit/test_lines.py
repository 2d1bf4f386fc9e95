"""Lines in many encodings, and lines that arrive little by little."""

import bz2
import gzip
import io
import os
import threading
import time
from pathlib import Path

import pytest

from nmt.data.lines import _arriving, count_lines, in_chunks, read_lines
from nmt.errors import DataError

TEXT = "猫が眠る\n今日は雨です\n" * 20


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("euc-jp"),
        TEXT.encode("shift-jis"),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        gzip.compress(TEXT.encode()),
        bz2.compress(TEXT.encode()),
    ],
    ids=["euc-jp", "shift-jis", "utf-16", "utf-16-le", "gzip", "bzip2"],
)
def test_other_encodings_are_refused_and_never_taken_for_latin1(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "text.ja"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    message = str(caught.value).lower()
    assert "latin" not in message
    assert "8859" not in message
    assert "iconv -f" in message or "compressed with" in message


def test_lines_are_counted_in_plain_and_packed_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ntwo", encoding="utf-8")
    (tmp_path / "b.gz").write_bytes(gzip.compress(b"one\ntwo\nthree\n"))
    assert [count_lines(tmp_path / name) for name in ("a", "b.gz")] == [2, 3]
    os.mkfifo(tmp_path / "pipe")
    assert count_lines(tmp_path / "pipe") is None


def test_chunks_end_where_no_more_lines_arrive() -> None:
    assert list(in_chunks(["a", "b", "c", None, None, "d", None, "e"], 2)) == [["a", "b"], ["c"], ["d"], ["e"]]


@pytest.mark.skipif(os.name != "posix", reason="pipes cannot be asked on this system")
def test_lines_of_a_pipe_are_those_that_were_written_however_they_arrive() -> None:
    read_end, write_end = os.pipe()
    parts = [b"one\ntw", b"o\n", b"\n\n", b"x" * 200_000, b"\r\nlast"]

    def write() -> None:
        with os.fdopen(write_end, "wb", buffering=0) as stream:
            for part in parts:
                stream.write(part)
                time.sleep(0.1)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(read_end, "rb") as stream:
        found = list(_arriving(stream))
    writer.join()
    assert found[:2] == [b"one\n", None]
    assert [line for line in found if line is not None] == b"".join(parts).splitlines(keepends=True)


@pytest.mark.parametrize("is_typed", [True, False])
def test_without_select_typed_lines_are_handed_on_one_by_one(is_typed: bool) -> None:
    class Stream(io.BytesIO):
        def isatty(self) -> bool:
            return is_typed

    found = list(_arriving(Stream(b"one\ntwo\n")))  # type: ignore[arg-type]
    assert found == ([b"one\n", None, b"two\n", None] if is_typed else [b"one\n", b"two\n"])


def test_zstandard_is_read_like_gzip_and_damage_is_named(tmp_path: Path) -> None:
    import pyarrow

    text = "".join(f"line {number} é\n" for number in range(5000)).encode()
    packed = pyarrow.compress(text, codec="zstd", asbytes=True)
    (tmp_path / "a.zst").write_bytes(packed)
    assert "\n".join(read_lines(tmp_path / "a.zst")) + "\n" == text.decode()
    assert count_lines(tmp_path / "a.zst") == 5000
    (tmp_path / "b.zst").write_bytes(b"no such thing at all")
    with pytest.raises(DataError, match=r"b\.zst: cannot be read"):
        list(read_lines(tmp_path / "b.zst"))
    (tmp_path / "c.txt").write_bytes(packed)
    with pytest.raises(DataError, match=r"compressed with zstd; give it a name that ends with \.zst"):
        list(read_lines(tmp_path / "c.txt"))
