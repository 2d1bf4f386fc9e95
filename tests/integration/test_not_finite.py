"""A model whose numbers overflow or are none: one message, whatever is asked of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from nmt.cli import app
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.runs.checkpoint import _digest
from nmt.runs.folder import RunFolder


@pytest.fixture
def run(make_config: Callable[..., Config]) -> RunFolder:
    return run_train(make_config(training={"max_updates": 1}))


def spoil(weights: dict[str, torch.Tensor], kind: str) -> None:
    if kind == "bias":
        weights["output.bias"].fill_(-torch.inf)
        return
    value = {"nan": torch.nan, "inf": torch.inf, "huge": 1e38}[kind]
    for weight in weights.values():
        weight.fill_(value)


@pytest.mark.parametrize("kind", ["nan", "inf", "huge", "bias"])
def test_no_finite_probabilities_are_a_message(run: RunFolder, kind: str) -> None:
    folder = run.checkpoint("best").resolve()
    path = folder / "model.safetensors"
    weights = load_file(path)
    spoil(weights, kind)
    save_file(weights, path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"][path.name] = _digest(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    source = Path(run.path, "source")
    source.write_text("the black cat\n", encoding="utf-8")
    for command in (
        ["translate", "-b", "1", "the black cat"],
        ["translate", "-b", "5", "the black cat"],
        ["translate", "-b", "2", "--n-best", "2", "the black cat"],
        ["eval"],
        ["calibrate"],
    ):
        result = CliRunner().invoke(app, [*command, "-m", str(run.path)])
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        assert "gives no finite probabilities" in result.stderr
        assert result.stdout == ""
