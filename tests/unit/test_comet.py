"""COMET through its program, for which a script stands here."""

import os
import sys
from pathlib import Path

import pytest

from nmt.config import EvaluationConfig
from nmt.errors import ConfigError
from nmt.evaluation.metrics import corpus_scores

SCRIPT = """#!{python}
import sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
texts = [open(options[key], encoding="utf-8").read() for key in ("-s", "-t", "-r")]
assert texts == ["a\\nb b\\n", "c\\nd\\n", "e\\nf\\n"], texts
assert options["--model"] == "Unbabel/wmt22-comet-da" and options["--batch_size"] == "16"
print({prints!r})
sys.exit({code})
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, prints: str, code: int = 0) -> None:
    path = folder / "comet-score"
    path.write_text(SCRIPT.format(python=sys.executable, prints=prints, code=code), encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def scores(srcs: list[str] | None = None) -> dict[str, float]:
    config = EvaluationConfig.model_validate({"metrics": ["bleu", "comet"]})
    found = corpus_scores(["c", "d"], ["e", "f"], metrics=config.metrics, srcs=srcs)
    assert found["comet"].signature == "comet-score|model:Unbabel/wmt22-comet-da"
    return {name: score.value for name, score in found.items()}


@pytest.mark.skipif(os.name != "posix", reason="a script stands for the program")
def test_the_score_is_what_the_program_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "/tmp/t\\tscore: 0.8417")
    assert scores(["a", "b\nb"])["comet"] == pytest.approx(84.17)
    with pytest.raises(ConfigError, match="give --src"):
        scores()
    install(tmp_path, monkeypatch, "no number")
    with pytest.raises(ConfigError, match="exit code 0"):
        scores(["a", "b\nb"])
    install(tmp_path, monkeypatch, "score: 0.5", code=3)
    with pytest.raises(ConfigError, match="exit code 3"):
        scores(["a", "b\nb"])


def test_without_the_program_it_is_said_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="pipx install unbabel-comet"):
        scores(["a", "b"])


@pytest.mark.parametrize("model", ["me/model", "x.ckpt", "Unbabel/../x", "Unbabel/", "-Unbabel/x"])
def test_only_unbabels_models_can_be_named(model: str) -> None:
    with pytest.raises(ValueError, match="model"):
        EvaluationConfig.model_validate({"metrics": [{"name": "comet", "model": model}]})
