from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

import nmt
from nmt.cli import app
from tests.cli.serving import server


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small trained run in runs/tiny."""
    folder = tmp_path_factory.mktemp("home")
    config = """
name: tiny
data: {train: builtin:phrasebook, valid: builtin:phrasebook, test: builtin:phrasebook, cache_dir: cache}
tokenizer: {vocab_size: 300}
model:
  embedding_size: 24
  encoder: {hidden_size: 16}
  decoder: {hidden_size: 32}
  attention: {size: 16}
training: {epochs: 1, max_updates: 12, batch_size: 400, tensorboard: true, validation: {every: 6, sentences: 4}}
decoding: {beam_size: 2, min_length: 2, max_length_ratio: 1.0, max_length_extra: 3, max_src_length: 30}
"""
    (folder / "tiny.yaml").write_text(config, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = CliRunner().invoke(app, ["train", "-c", "tiny.yaml"])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "runs/tiny"
    return folder


@pytest.fixture(scope="package")
def model(home: Path) -> nmt.Model:
    return nmt.load(home / "runs/tiny", overrides=["training.threads=1"])


@pytest.fixture(autouse=True)
def _in_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[TestClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        with server() as running:
            yield running
