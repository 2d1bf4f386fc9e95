"""No option is ignored: beside any other option it is refused with a reason, or what is written changes."""

import itertools
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nmt.cli import app

runner = CliRunner()

# Each option changes what `nmt COMMAND` with the base arguments writes.
BASE: dict[str, list[str]] = {
    "translate": ["--input", "lines", "-m", "runs/tiny", "--json", "--set", "decoding.beam_size=5"],
    "align": ["--src", "s", "--tgt", "t", "-m", "runs/tiny"],
    "score": ["--src", "s", "--tgt", "t", "-m", "runs/tiny"],
    "eval": ["-m", "runs/tiny", "--src", "s", "--ref", "t", "--set", "decoding.beam_size=5"],
}
OPTIONS: dict[str, list[list[str]]] = {
    "translate": [
        ["--output", "out"],
        ["-m", "runs/other"],
        ["--checkpoint", "step-000006"],
        ["--beam", "2"],
        ["--precision", "bf16"],
        ["--backward", "runs/back", "--set", "decoding.backward_weight=1000"],
        ["--n-best", "2"],
        ["--prefix", "le"],
        ["--require", "chat"],
        ["--forbid", "e"],
        ["--glossary", "terms"],
        ["--sample"],
        ["--show-alignment"],
        ["--alignments", "found.json"],
        ["--level", "pieces"],
        ["--keep-eos"],
        ["--set", "decoding.max_length_extra=0"],
    ],
    "align": [
        ["--checkpoint", "step-000006"],
        ["--gold", "gold"],
        ["--gold-format", "naacl"],
        ["--gold-base", "1"],
        ["--extract", "src-argmax"],
        ["--threshold", "0.01"],
        ["--null-below", "0.9"],
        ["--backward", "runs/other"],
        ["--symmetrise", "intersection"],
        ["--alignments", "found.json"],
        ["--level", "pieces"],
        ["--keep-eos"],
        ["--cache-dir", "elsewhere"],
        ["--set", "decoding.alignment_from=posterior"],
    ],
    "score": [
        ["-m", "runs/other"],
        ["--checkpoint", "step-000006"],
        ["--json"],
        ["--set", "decoding.length_penalty=0.3"],
    ],
    "eval": [
        ["-m", "runs/other"],
        ["--checkpoint", "step-000006"],
        ["--split", "valid"],
        ["--ref", "t2"],
        ["--beam", "2"],
        ["--precision", "bf16"],
        ["--backward", "runs/back", "--set", "decoding.backward_weight=1000"],
        ["--glossary", "terms"],
        ["--versus", "runs/other"],
        ["--output", "stem"],
        ["--alignments", "found.html"],
        ["--hypotheses", "t2"],
        ["--tokenize", "char"],
        ["--lowercase"],
        ["--set", "decoding.min_length=7"],
    ],
}


# The table of two models shows scores of translations alone, which stay the same here.
UNSEEN = {"--precision bf16 beside --versus runs/other"}


@pytest.fixture(scope="module", autouse=True)
def _files(home: Path) -> None:
    lines = ["a black cat", "I love you", "two dogs eat"]
    (home / "lines").write_text("\n".join(lines) + "\n")
    (home / "s").write_text("\n".join(lines) + "\n")
    (home / "t").write_text("un Chat noir\nje t'aime\ndeux chiens\n")
    (home / "t2").write_text("le chat noir\nje l'aime\ndeux chats\n")
    (home / "gold").write_text("0-0 1-2 2-1\n0-0 1-1\n0-0 1-1\n")
    (home / "terms").write_text("cat\tchat\ndogs\tchiens\n")
    config = (home / "tiny.yaml").read_text()
    (home / "other.yaml").write_text(config.replace("name: tiny", "name: other\nseed: 7"))
    (home / "back.yaml").write_text(
        config.replace("name: tiny", "name: back").replace("data: {", "data: {reverse: true, ")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for name in ("other", "back"):
            assert runner.invoke(app, ["train", "-c", f"{name}.yaml"]).exit_code == 0


def _written(home: Path, command: str, options: list[str]) -> tuple[int, str, str, dict[str, bytes]]:
    """The exit code, standard output, standard error and the files of a command with these options."""
    for name in ("out", "found.json", "found.html", "elsewhere", *(path.name for path in home.glob("stem*"))):
        shutil.rmtree(home / name, ignore_errors=True)
        (home / name).unlink(missing_ok=True)
    before = {path.name for path in home.iterdir()}
    result = runner.invoke(app, [command, *BASE[command], *options])
    new = [path for path in home.iterdir() if path.name not in before]
    files = {path.name: path.read_bytes() if path.is_file() else b"" for path in new}
    return result.exit_code, result.stdout, result.stderr, files


@pytest.mark.parametrize("command", sorted(OPTIONS))
def test_no_option_is_ignored_beside_another(home: Path, command: str) -> None:
    without = _written(home, command, [])
    alone = {tuple(option): _written(home, command, option) for option in OPTIONS[command]}
    ignored = [" ".join(option) for option, written in alone.items() if written == without]
    for first, second in itertools.combinations(OPTIONS[command], 2):
        both = _written(home, command, [*first, *second])
        if both[0] != 0:
            assert "error" in both[2].lower()  # refused, with a message
            continue
        for option, other in ((first, second), (second, first)):
            if both == alone[tuple(other)]:
                ignored.append(f"{' '.join(option)} beside {' '.join(other)}")
    assert set(ignored) <= UNSEEN
