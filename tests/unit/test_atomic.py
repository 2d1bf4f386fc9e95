"""Files and folders take another one's place, also on Windows, where programs that read it are in the way."""

import os
import shutil
from pathlib import Path

import pytest

from nmt import atomic
from nmt.atomic import atomic_write, copy_folder, probe_writable, replace, temporary_name
from nmt.runs.pointers import point


def busy(monkeypatch: pytest.MonkeyPatch, times: int) -> list[str]:
    """Let `os.replace` fail this often; return the names that it was called with."""
    calls: list[str] = []
    really = os.replace

    def try_to_replace(path: Path, target: Path) -> None:
        calls.append(target.name)
        if len(calls) <= times:
            raise PermissionError(13, "the file is used by another process")
        really(path, target)

    monkeypatch.setattr(os, "replace", try_to_replace)
    return calls


def test_windows_waits_for_other_programs_and_other_systems_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "new").write_text("new")
    (tmp_path / "old").write_text("old")
    calls = busy(monkeypatch, times=2)
    monkeypatch.setattr(atomic, "ON_WINDOWS", True)
    replace(tmp_path / "new", tmp_path / "old")
    assert (tmp_path / "old").read_text() == "new"
    assert len(calls) == 3
    calls = busy(monkeypatch, times=9)
    monkeypatch.setattr(atomic, "_PATIENCE", 0.0)
    with pytest.raises(PermissionError):
        replace(tmp_path / "old", tmp_path / "other")
    assert len(calls) <= 2
    calls.clear()
    monkeypatch.setattr(atomic, "ON_WINDOWS", False)
    with pytest.raises(PermissionError):
        replace(tmp_path / "old", tmp_path / "other")
    assert len(calls) == 1


def test_pointers_are_text_on_windows_and_replace_old_links(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pointer = tmp_path / "best"
    point(pointer, "step-1")
    assert pointer.is_symlink()
    monkeypatch.setattr("nmt.runs.pointers.ON_WINDOWS", True)
    for target in ("step-2", "step-3"):
        point(pointer, target)
        assert not pointer.is_symlink()
        assert pointer.read_text(encoding="utf-8") == f"{target}\n"


def test_a_folder_is_copied_without_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "file").write_text("text")
    (tmp_path / "from" / "file").chmod(0o400)
    copy_folder(tmp_path / "from", tmp_path / "to")
    assert (tmp_path / "to" / "file").read_text() == "text"
    assert os.access(tmp_path / "to" / "file", os.W_OK)
    assert (tmp_path / "to" / "file").stat().st_mode & 0o200
    shutil.rmtree(tmp_path / "to")


def test_a_probe_leaves_nothing_behind_and_names_the_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    probe_writable(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []

    def refuse(path: Path) -> None:
        raise PermissionError(13, "denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(OSError, match="denied") as found:
        probe_writable(tmp_path)
    assert found.value.filename == str(tmp_path)


def test_a_link_stays_and_a_file_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "file", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with atomic_write(link) as tmp:
        tmp.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["file"]


def test_temporary_names_differ_within_a_process_too(tmp_path: Path) -> None:
    assert temporary_name(tmp_path / "a") != temporary_name(tmp_path / "a")
