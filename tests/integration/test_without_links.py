"""Systems without symbolic links and fcntl that sync no file that is read, as Windows: training, resuming, using."""

import subprocess
import sys
from pathlib import Path

import pytest

from nmt.runs.folder import find_model, resolved
from nmt.runs.pointers import follow, point

WITHOUT = """
import os, sys
import portalocker  # of sacrebleu; it knows Windows by its name only
def refuse(*args, **options): raise OSError("a required privilege is not held by the client")
os.symlink = refuse
import fcntl
really_sync = os.fsync
def sync(handle):  # a file that is open for reading only
    if os.path.isfile(f"/proc/self/fd/{handle}") and not fcntl.fcntl(handle, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR):
        raise OSError(9, "Bad file descriptor")
    really_sync(handle)
os.fsync = sync
sys.modules["fcntl"] = None
for name in ("SIGHUP", "SIGUSR1"):
    import signal
    if hasattr(signal, name): delattr(signal, name)
from nmt.__main__ import main
sys.argv = ["nmt", *sys.argv[1:]]
main()
"""
CONFIG = """
name: tiny
data: {train: builtin:phrasebook, valid: builtin:phrasebook, test: builtin:phrasebook, cache_dir: cache}
tokenizer: {vocab_size: 300}
model:
  embedding_size: 24
  encoder: {hidden_size: 16}
  decoder: {hidden_size: 32}
  attention: {size: 16}
training:
  {epochs: 1, max_updates: 6, batch_size: 400, threads: 1, tensorboard: false, validation: {every: 3, sentences: 4},
   averaging: {checkpoints: 2}, guided_alignment: {enabled: false}}
decoding: {beam_size: 2, max_length_ratio: 1.0}
"""


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", WITHOUT, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_is_trained_resumed_used_and_packed(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(CONFIG, encoding="utf-8")
    assert run(tmp_path, "train", "tiny.yaml", "--set", "training.max_updates=4").strip() == "runs/tiny"
    assert run(tmp_path, "train", "tiny.yaml").strip() == "runs/tiny"
    checkpoints = tmp_path / "runs" / "tiny" / "checkpoints"
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert (checkpoints / "last").read_text(encoding="utf-8") == "step-000006\n"
    assert (tmp_path / "runs" / "latest").read_text(encoding="utf-8") == "tiny\n"
    best = (checkpoints / "best").read_text(encoding="utf-8").strip()
    assert (checkpoints / best / "model.safetensors").exists()
    translation = run(tmp_path, "translate", "I love you")
    assert translation == run(tmp_path, "translate", "-m", "runs/tiny", "--checkpoint", "best", "I love you")
    assert "best checkpoint" in run(tmp_path, "inspect")
    assert "finished" in run(tmp_path, "runs")
    run(tmp_path, "average", "--last", "2", "--name", "mean")
    run(tmp_path, "pack", "--precision", "fp32", "-o", "tiny.zip")
    assert run(tmp_path, "translate", "-m", "tiny.zip", "I love you") == translation
    assert run(tmp_path, "eval", "--split", "valid", "--set", "decoding.beam_size=1").startswith("BLEU")


def test_a_pointer_leads_beside_itself_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "step-1").mkdir()
    (tmp_path / "step-2").mkdir()
    pointer = tmp_path / "best"
    point(pointer, "step-1")
    assert pointer.is_symlink()
    assert resolved(pointer) == tmp_path / "step-1"

    def refuse(*_: object, **__: object) -> None:
        raise OSError

    monkeypatch.setattr(Path, "symlink_to", refuse)
    for target in ("step-2", "step-1"):
        point(pointer, target)
        assert not pointer.is_symlink()
        assert resolved(pointer) == tmp_path / target
    for name in ("../x", "/etc", "..", "a/b", "a\\b", "", "x" * 300):
        pointer.write_text(name, encoding="utf-8")
        assert follow(pointer) == pointer
    pointer.write_bytes(b"\xff\xfe")
    assert follow(pointer) == pointer
    (tmp_path / "step-1" / "config.yaml").write_text("name: x\n")
    point(tmp_path / "latest", "step-1")
    assert find_model(None, tmp_path).path == tmp_path / "step-1"
