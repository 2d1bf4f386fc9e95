"""A package of somebody else adds a score, a normaliser, an encoder, a tokenizer and a metric, and edits nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = """
name: guest
data: {train: {src: a, tgt: b}, valid: {src: a, tgt: b}, test: {src: a, tgt: b}, cache_dir: cache}
tokenizer: {type: whitespace, min_count: 2}
model:
  embedding_size: 24
  encoder: {type: convolution, layers: 2}
  decoder: {hidden_size: 32}
  attention:
    {score: cosine, size: 16, normaliser: {type: tempered, temperature: 0.8}, window: local-p, coverage: neural}
training: {max_updates: 4, batch_size: 400, threads: 1, tensorboard: false, validation: {sentences: 4}}
decoding: {max_length_ratio: 1.0, max_length_extra: 3}
evaluation: {metrics: [bleu, exact]}
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as pip installs it."""
    folder = tmp_path_factory.mktemp("site")
    package = tmp_path_factory.mktemp("source") / "guest"
    shutil.copytree(ROOT / "tests/guest", package, ignore=shutil.ignore_patterns("__pycache__"))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(package)]
    subprocess.run(install, check=True, capture_output=True)
    return folder


@pytest.fixture
def nmt(installed: Path, tmp_path: Path) -> Run:
    """Runs the program in a folder with a corpus, with the package on its path or without it."""
    (tmp_path / "a").write_text("I love you\nyou see me\n" * 20, encoding="utf-8")
    (tmp_path / "b").write_text("je t'aime\ntu me vois\n" * 20, encoding="utf-8")
    (tmp_path / "guest.yaml").write_text(CONFIG, encoding="utf-8")

    def run(*arguments: str, with_guest: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if with_guest:
            environment["PYTHONPATH"] = str(installed)
        command = [sys.executable, "-m", "nmt", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    return run


def test_a_model_of_five_foreign_parts_trains_resumes_and_translates(nmt: Run, tmp_path: Path) -> None:
    for arguments in (
        ["train", "-c", "guest.yaml"],
        ["train", "-c", "guest.yaml", "--set", "training.max_updates=8"],
        ["translate", "--alignments", "links.json", "I love you"],
        ["eval"],
    ):
        result = nmt(*arguments)
        assert result.returncode == 0, result.stderr
    assert re.search(r"^exact +\d+\.\d+ .*exact\|v1$", result.stdout, re.MULTILINE)
    records = [json.loads(line) for line in (tmp_path / "runs/guest/metrics.jsonl").read_text("utf-8").splitlines()]
    assert max(record["update"] for record in records) == 8
    (sentence,) = json.loads((tmp_path / "links.json").read_text("utf-8"))["sentences"]
    assert sentence["src"] == ["I", "love", "you"]
    for row in sentence["weights"]:
        assert abs(sum(row) - 1) < 1e-3


def test_a_run_whose_package_is_missing_says_what_is_missing(nmt: Run) -> None:
    assert nmt("train", "-c", "guest.yaml").returncode == 0
    result = nmt("translate", "I love you", with_guest=False)
    assert result.returncode == 1
    assert "'whitespace' is not one of bpe, unigram, char, word" in result.stderr
    assert "a package that is not installed here" in result.stderr
    assert "Traceback" not in result.stderr


def test_foreign_names_are_listed_and_their_settings_are_checked(nmt: Run) -> None:
    listed = nmt("config").stdout
    for line in (
        r"model\.attention\.score .*\| cosine",
        r"model\.attention\.normaliser\.type .*\| tempered",
        r"model\.encoder\.type .*\| convolution",
        r"tokenizer\.type .*\| whitespace",
        r"evaluation\.metrics.* exact",
    ):
        assert re.search(line, listed), line
    assert "| cosine  " not in nmt("config", "model.attention", with_guest=False).stdout
    result = nmt("train", "-c", "guest.yaml", "--set", "model.attention.sharpnes=3", "--set", "model.encoder.width=0")
    assert result.returncode == 1
    assert "unknown key; did you mean 'sharpness'?" in result.stderr
    assert "model.encoder.width: input should be greater than 0" in result.stderr


def test_the_documentation_shows_this_package() -> None:
    files = [path.read_text("utf-8") for path in (ROOT / "tests/guest").rglob("*.*") if path.suffix in (".py", ".toml")]
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", (ROOT / "docs/extending.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        assert any(block.strip() in file for file in files), block
