"""What a command refuses, and what it says then."""

import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from nmt.cli import app

runner = CliRunner()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--new-vocabulary"], "--new-vocabulary goes with --init-from"),
        (["--reset", "encoder"], "--reset goes with --init-from"),
        (["--reset", "enc", "--init-from", "runs/tiny"], "a model has the parts"),
    ],
)
def test_options_of_a_first_model_need_one(home: Path, arguments: list[str], message: str) -> None:
    result = runner.invoke(app, ["train", "tiny.yaml", *arguments, "--dry-run"])
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("command", "code", "message"),
    [
        (["translate", "a", "--model", "nowhere"], 1, "not a model folder"),
        (["translate", "a", "--checkpoint", "step-9"], 1, "no checkpoint step-9; there are: best, last"),
        (["translate", "a", "--alignments", "no/folder/x.json"], 1, "there is no folder"),
        (["translate", "a", "--output", "no/folder/x"], 1, "error: no/folder: there is no such folder; make it first"),
        (["translate", "--input", "nowhere"], 1, "nowhere: cannot be read"),
        (["translate", "a", "--alignments", "x.doc"], 1, "choose one of these suffixes"),
        (["translate", "a", "--set", "decoding.beam=3"], 1, "unknown key; did you mean 'beam_size'?"),
        (["translate", "a", "--bream", "3"], 2, "No such option"),
        (["translate", "a", "--input", "b"], 2, "not both"),
        (["translate", "a", "--set", "model.bridge=zero"], 1, "has no effect on a trained model"),
        (["eval", "--set", "training.epochs=3"], 1, "has no effect on a trained model"),
        (["translate", "a", "--set", "training.device=gpu"], 1, "a GPU is called cuda"),
        (["translate", "a", "--set", "decoding.backward_weight=2"], 1, "has no effect without --backward MODEL"),
        (["train"], 2, "give one configuration file"),
        (["train", "tiny.yaml", "-c", "tiny.yaml"], 2, "give one configuration file"),
        (["train", "nowhere.yaml"], 1, "cannot read the configuration"),
        (["compare", "nowhere.yaml"], 1, "cannot read the configuration"),
        (["doctor", "nowhere.yaml"], 1, "cannot read the configuration"),
        (["doctor", "a", "b", "c"], 2, "give a configuration file, or two parallel text files"),
        (["doctor", "runs/tiny/train.log"], 2, "is not a configuration"),
        (["train", "-c", "nowhere.yaml"], 1, "cannot read the configuration"),
        (["eval", "--src", "s"], 2, "go together"),
        (["align", "--src", "s"], 2, "--src and --tgt"),
        (["train", "-c", "tiny.yaml", "--set", "name=x", "--set", "tokenizer.vocab_size=99999"], 1, "can have"),
        (["train", "-c", "tiny.yaml", "--set", "seed=2"], 1, "seed: 1 -> 2"),
    ],
)
def test_mistakes_end_with_a_message_and_a_code(command: list[str], code: int, message: str) -> None:
    result = runner.invoke(app, command)
    assert result.exit_code == code, result.output
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert "Traceback" not in result.output


FILES = ["--src", "s", "--tgt", "t"]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["translate", "a", "--keep-eos"], "--keep-eos"),
        (["translate", "a", "--level", "pieces"], "--level"),
        (["translate", "a", "--sample", "--beam", "3"], "--beam"),
        (["average", "--last", "2", "--best", "2"], "--last"),
        (["align", *FILES, "--threshold", "0.3"], "--threshold"),
        (["align", *FILES, "--symmetrise", "union"], "--symmetrise"),
        (["align", *FILES, "--gold-format", "naacl"], "--gold-format"),
        (["align", *FILES, "--gold-base", "1"], "--gold-base"),
        (["align", *FILES, "--keep-eos"], "--keep-eos"),
        (["align", *FILES, "--checkpoint", "best"], "--checkpoint"),
        (["align", *FILES, "--set", "decoding.unk=keep"], "--set"),
        (["align", *FILES, "--backward", "runs/tiny"], "--backward"),
        (["align", *FILES, "-m", "runs/tiny", "--cache-dir", "c"], "--cache-dir"),
        (["eval", "--src", "s", "--ref", "t", "--split", "valid"], "--split"),
        *[
            (["eval", "--ref", "t", "--hypotheses", "h", option, value], option)
            for option, value in [
                ("--model", "m"),
                ("--checkpoint", "best"),
                ("--split", "valid"),
                ("--src", "s"),
                ("--beam", "2"),
                ("--precision", "bf16"),
                ("--versus", "m"),
                ("--output", "o"),
                ("--set", "decoding.unk=keep"),
            ]
        ],
    ],
)
def test_an_option_that_would_be_ignored_is_refused(command: list[str], option: str) -> None:
    result = runner.invoke(app, command)
    assert result.exit_code == 2, result.output
    assert f"{option} has no effect here" in " ".join(result.stderr.replace("│", " ").split())


def test_every_command_has_a_short_form_of_help() -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
    assert {"train", "translate", "eval", "config"} <= set(names)
    for name in names:
        result = runner.invoke(app, [name, "-h"])
        assert result.exit_code == 0, result.output
        assert name in result.stdout


def test_without_any_model_the_message_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["translate", "I love you"])
    assert result.exit_code == 1
    assert "no model yet: there is no runs/latest. Train one with: nmt train configs/" in result.stderr


def test_without_a_latest_run_those_that_are_there_are_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(home / "runs" / "tiny", tmp_path / "runs" / "mine", symlinks=True)
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(app, ["translate", "I love you"])
    assert "there is no runs/latest, so name a model with -m; the runs here: runs/mine\n" in result.stderr
    Path("runs/latest").symlink_to("gone")
    assert "runs/latest leads nowhere, so name a" in runner.invoke(app, ["translate", "I love you"]).stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU on this machine")
def test_a_gpu_that_is_not_there_is_a_sentence_of_its_own() -> None:
    for name in ("cuda", "cuda:1"):
        result = runner.invoke(app, ["translate", "a", "--set", f"training.device={name}"])
        assert f"training.device is '{name}', but " in result.stderr
        assert "set training.device to cpu or auto" in result.stderr
