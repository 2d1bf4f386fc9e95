"""`nmt eval --versus`: every model is scored on the same pairs in the same way."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nmt.cli import app
from nmt.config.load import load_config, save_config

runner = CliRunner()
LINES = {"src": "I love you\nthe cat\n", "tgt": "Je t'aime\nle chat\n"}


def change(run: Path, *settings: str) -> None:
    """Change settings in the configuration of a run."""
    save_config(load_config(run / "config.yaml", settings), run / "config.yaml")


@pytest.fixture
def other(home: Path) -> Iterator[Path]:
    """A copy of the run, with test pairs of its own."""
    run = home / "runs" / "other"
    shutil.rmtree(run, ignore_errors=True)  # of another file's tests
    shutil.copytree(home / "runs" / "tiny", run, symlinks=True, ignore=shutil.ignore_patterns("eval"))
    for name, text in LINES.items():
        (home / f"own.{name}").write_text(text, encoding="utf-8")
    change(run, "data.test={src: own.src, tgt: own.tgt}")
    yield run
    shutil.rmtree(run)


def test_scores_of_another_models_test_set_do_not_replace_those_of_ones_own(home: Path, other: Path) -> None:
    result = runner.invoke(app, ["eval", "-m", "runs/other", "--beam", "1"])
    assert result.exit_code == 0, result.output
    own = (other / "eval" / "test.json").read_text(encoding="utf-8")
    assert json.loads(own)["data"] == "test"
    command = ["eval", "-m", "runs/other", "--beam", "1", "--versus", "runs/tiny"]
    assert runner.invoke(app, [*command, "-o", "both"]).exit_code == 0
    told = {name: json.loads((home / "both" / f"{name}.json").read_text())["data"] for name in ("other", "tiny")}
    assert told == {"other": "test", "tiny": "test: own.src | own.tgt"}
    refused = runner.invoke(app, ["eval", "-m", "runs/tiny", "--beam", "1", "--versus", "runs/other"])
    assert refused.exit_code == 1
    assert "test.json holds the scores of test; name another place with --output" in refused.stderr
    assert (other / "eval" / "test.json").read_text(encoding="utf-8") == own


def test_the_same_pairs_in_another_place_have_the_same_name(home: Path, other: Path) -> None:
    (home / "elsewhere").mkdir()
    for name, text in LINES.items():
        (home / "elsewhere" / f"own.{name}").write_text(text, encoding="utf-8")
    moved = home / "runs" / "moved"
    shutil.copytree(other, moved, symlinks=True)
    change(moved, "data.test={src: elsewhere/own.src, tgt: elsewhere/own.tgt}")
    command = ["eval", "-m", "runs/other", "--beam", "1", "--versus", "runs/moved"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert json.loads((moved / "eval" / "test.json").read_text())["data"] == "test"
    shutil.rmtree(moved)


def test_all_models_are_scored_as_the_first_one_says(home: Path, other: Path) -> None:
    change(other, "evaluation.lowercase=true")
    for name, text in (("s", LINES["src"] * 3), ("r", LINES["tgt"] * 3)):
        (home / name).write_text(text, encoding="utf-8")
    command = ["eval", "--src", "s", "--ref", "r", "-o", "alike", "-m", "runs/tiny", "--versus", "runs/other"]
    result = runner.invoke(app, [*command, "--beam", "1"])
    assert result.exit_code == 0, result.output
    found = [json.loads((home / "alike" / f"{name}.json").read_text())["scores"] for name in ("tiny", "other")]
    assert found[0] == found[1]
    assert "case:mixed" in found[1]["bleu"]["signature"]


def test_what_a_later_model_cannot_translate_is_said_before_the_first_one_translates(
    home: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the second model cannot be scored, so nothing is worth translating")

    monkeypatch.setattr("nmt.decoding.translator.Translator.translate", fail)
    for name, text in (("s", "the cat\n"), ("r", f"{'le chat ' * 40}\n")):
        (home / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr("nmt.runs.testset.has_gold", lambda model, text: True)
    change(other, "decoding.max_tgt_length=50")
    command = ["eval", "--src", "s", "--ref", "r", "-o", "early", "-m", "runs/tiny", "--versus", "runs/other"]
    result = runner.invoke(app, command)
    assert result.exit_code == 1
    assert "more than decoding.max_tgt_length = 50" in result.stderr, result.output
