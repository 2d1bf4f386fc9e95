"""The program as a whole: its start, its mistakes, its end."""

import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from typer.testing import CliRunner

import nmt
import nmt.__main__
from nmt.cli import app

runner = CliRunner()


def test_the_version_is_that_of_the_package() -> None:
    assert runner.invoke(app, ["--version"]).stdout.strip() == nmt.__version__
    text = Path(nmt.__file__).parent.with_name("pyproject.toml").read_text(encoding="utf-8")
    assert nmt.__version__ not in text  # it is read from the package
    assert 'nmt = "nmt.__main__:main"' in text


def test_names_that_would_command_the_terminal_are_escaped() -> None:
    result = runner.invoke(app, ["translate", "a", "--model", "no\x1b]0;title\x07where"])
    assert "no\\x1b]0;title\\x07where: not a model folder" in result.stderr
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("can't start new thread"), "no more threads"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "memory ran out"),
        (MemoryError(), "memory ran out"),
    ],
)
def test_a_machine_without_room_is_a_message(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("nmt.decoding.translator.Translator.translate", fail)
    result = runner.invoke(app, ["translate", "a"])
    assert result.exit_code == 1
    assert message in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_an_interruption_while_modules_are_imported_is_quiet(tmp_path: Path) -> None:
    code = (
        "import sys, builtins, nmt.__main__\n"
        "real = builtins.__import__\n"
        "def interrupted(name, *rest, **more):\n"
        "    if name == 'typer': raise KeyboardInterrupt\n"
        "    return real(name, *rest, **more)\n"
        "builtins.__import__ = interrupted\n"
        "nmt.__main__.main()\n"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (130, "")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {"torch", "pydantic", "numpy", "rich"}),
        (["translate", "a"], {"datasets", "pyarrow", "pandas", "matplotlib", "sacrebleu", "tensorboard"}),
    ],
)
def test_a_cold_start_does_not_import_what_it_does_not_need(arguments: list[str], heavy: set[str]) -> None:
    code = (
        f"import sys; sys.argv = ['nmt', *{arguments}]\n"
        "import nmt.__main__\n"
        "try:\n nmt.__main__.main()\nexcept SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & {heavy}), file=sys.stderr)"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert process.stderr.strip() == "[]"


def test_the_help_has_one_whole_sentence_for_each_command() -> None:
    text = subprocess.run([sys.executable, "-m", "nmt", "--help"], capture_output=True, text=True, check=True).stdout
    commands = text.partition("Commands:\n")[2].splitlines()
    assert len(commands) >= 18
    assert all(re.fullmatch(r"  [a-z]+ +[A-Z].*[^.]\.", line) for line in commands)


def test_imports_wait_for_no_collection_of_garbage_and_leave_it_on() -> None:
    code = (
        "import gc\n"
        "from nmt.startup import fast_imports\n"
        "with fast_imports():\n"
        " import torch\n"
        " assert not gc.isenabled()\n"
        "assert gc.isenabled() and gc.get_freeze_count()\n"
        "gc.unfreeze()\n"
        "with fast_imports(): import torch\n"
        "assert gc.isenabled() and not gc.get_freeze_count()\n"
        "gc.disable()\n"
        "with fast_imports(): pass\n"
        "assert not gc.isenabled()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def line_within(stream: IO[bytes], seconds: float) -> bytes:
    """The next line of a stream that stays open."""
    assert select.select([stream], [], [], seconds)[0], "no answer"
    return stream.readline()


@pytest.mark.skipif(os.name != "posix", reason="pipes cannot be asked on this system")
def test_a_pipe_that_stays_open_gets_each_answer_and_ctrl_c_is_said(home: Path) -> None:
    command = [sys.executable, "-m", "nmt", "translate"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        answers = []
        for text in (b"the cat sleeps\n", b"\n", b"I love you\nthe c"):
            process.stdin.write(text)
            process.stdin.flush()
            answers.append(line_within(process.stdout, 120.0))
        assert answers[0] != answers[1] == b"\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b"interrupted\n"


def test_text_of_any_language_is_printed_whatever_the_locale(home: Path) -> None:
    (home / "k.en").write_text("the cat 漢字\n", encoding="utf-8")
    (home / "k.fr").write_text("le chat 漢字 é\n", encoding="utf-8")
    command = [sys.executable, "-m", "nmt", "score", "--json", "--src", "k.en", "--tgt", "k.fr"]
    environment = os.environ | {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0", "LC_ALL": "C"}
    process = subprocess.run(command, capture_output=True, env=environment, check=True)
    assert json.loads(process.stdout.decode("utf-8"))["tgt"] == "le chat 漢字 é"


def test_the_program_runs_in_an_environment_where_numpy_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(nmt.cli, "main", lambda: seen.append(os.environ["OPENBLAS_NUM_THREADS"]))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    nmt.__main__.main()
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    nmt.__main__.main()
    assert seen == ["1", "3"]


def test_a_quiet_program_says_warnings_and_results_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMT_QUIET", "")  # so that it is as before at the end
    command = ["translate", "--require", "chat", "the cat"]
    loud = runner.invoke(app, command)
    assert "satisfied: 1 of 1" in loud.stderr
    quiet = runner.invoke(app, ["--quiet", *command])
    assert quiet.stdout == loud.stdout
    assert quiet.stderr == ""
    warned = runner.invoke(app, ["-q", "translate", "the", "cat"])
    assert "put a sentence in quotation marks" in warned.stderr


def test_the_shell_completes_commands() -> None:
    environment = os.environ | {"_NMT_COMPLETE": "complete_bash", "COMP_WORDS": "nmt tr", "COMP_CWORD": "1"}
    command = [sys.executable, "-m", "nmt"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.stdout.split() == ["train", "translate"]


def test_translating_does_not_import_torchs_compiler(home: Path) -> None:
    code = "import sys, nmt; nmt.load('runs/tiny').translate(['a cat']); print('torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False"]
