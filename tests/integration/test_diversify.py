"""The script that trains on translations of the training text."""

import itertools
import os
import shlex
import subprocess
import sys
from pathlib import Path

from nmt.config.load import load_config
from tests.config_files import GOOD

SCRIPT = Path(__file__).parents[2] / "scripts" / "diversify.sh"


def test_the_last_model_learns_from_the_text_and_both_translations(tmp_path: Path) -> None:
    folder, said = _run(tmp_path, "--set", "training.epochs=3")
    assert sorted(words[0] for words in said) == ["train"] * 3 + ["translate"] * 2
    assert not any("--backward" in words for words in said)
    [last] = [words for words in said if "name=my" in words]
    settings = [value for option, value in itertools.pairwise(last) if option == "--set"]
    config = load_config(tmp_path / "my.yaml", settings)
    assert config.training.epochs == 3
    assert config.training.guided_alignment.links == "bitext"
    assert set(config.data.filters) == {"duplicates", "shared_sides"}
    assert [(part.src, part.tgt) for part in config.data.train.parts] == [
        (f"{folder}/train.en", f"{folder}/train.fr"),
        (f"{folder}/train.en", f"{folder}/made/forward.tgt"),
        (f"{folder}/made/backward.src", f"{folder}/train.fr"),
    ]


def test_a_teacher_has_a_configuration_of_its_own_and_the_backward_model_reranks(tmp_path: Path) -> None:
    _, said = _run(tmp_path, "--teacher", "transformer.yaml", "--set", "training.epochs=3")
    trained = {words[3]: words[1] for words in said if words[0] == "train"}
    assert trained == {"name=my-forward": "transformer.yaml", "name=my-backward": "my.yaml", "name=my": "my.yaml"}
    assert all("training.epochs=3" in words for words in said if words[0] == "train")
    reranked = {words[2]: "runs/my-backward" in words[3:] for words in said if words[0] == "translate"}
    assert reranked == {"runs/my-forward": True, "runs/my-backward": False}


def _run(tmp_path: Path, *options: str) -> tuple[Path, list[list[str]]]:
    """Run the script with a program that only notes its arguments.

    Returns:
        The folder of the text, and the words of each command.
    """
    folder = tmp_path / "a, 'b': {c}"
    folder.mkdir()
    guided = "training: {guided_alignment: {links: my.links}}\n"
    (tmp_path / "my.yaml").write_text(f"{GOOD}  filters: [duplicates]\n{guided}", encoding="utf-8")
    program = tmp_path / "bin" / "nmt"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" > {shlex.quote(str(tmp_path))}/said-$$\n", encoding="utf-8")
    program.chmod(0o755)
    python = program.with_name("python")
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    for name in ("train.en", "train.fr"):
        (folder / name).touch()
    command = ["bash", str(SCRIPT), "my.yaml", str(folder / "train.en"), str(folder / "train.fr"), str(folder / "made")]
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run([*command, *options], cwd=tmp_path, env={**os.environ, "PATH": path}, check=True)
    return folder, [text.read_text(encoding="utf-8").split("\0")[:-1] for text in tmp_path.glob("said-*")]
