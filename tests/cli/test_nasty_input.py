"""Whatever comes in: never a traceback, never a lost or extra line, never a half-written file under its final name."""

import contextlib
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from nmt.cli import app
from nmt.config.load import load_config
from nmt.errors import ConfigError

runner = CliRunner()
FEW = settings(
    max_examples=30,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NASTY = [
    b"",
    b" ",
    b"\t",
    b"\x00",
    b"a\x00b",
    bytes(range(1, 10)) + bytes(range(11, 32)),
    b"\xff\xfe",
    b"caf\xe9 noir",
    b"\xed\xa0\x80",  # a lone surrogate
    b"\xf0\x9f",  # an emoji cut in half
    "a\u2028b\u2029c\x85d\x0be\x0cf".encode(),
    b"a\rb",
    b"ends with CR\r",
    "\ufeffBOM".encode(),
    "\u202eright to left\u202c שלום عليكم".encode(),
    ("e" + "\u0301" * 500).encode(),
    "👩‍👩‍👧‍👦🏳️‍🌈".encode() * 20,
    "\u200b\u200d\ufeff\u00ad".encode(),
    "\U0010ffff\ue000\ufffe".encode(),
    b"x" * 100_000,
    b"the cat " * 12_500,
    "漢字かな交じり文".encode(),
    b"<unk> <s> </s> <pad> \xe2\x96\x81",
    b"</script><script>alert(1)</script>",
    b'"quoted", \\ and \' and {braces} %s',
]


def invoke(*arguments: str, stdin: bytes | None = None) -> Result:
    result = runner.invoke(app, list(arguments), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    if result.exit_code == 1:
        assert "error:" in result.stderr
    return result


def lines_in(data: bytes) -> int:
    return data.count(b"\n") + (data[-1:] not in (b"\n", b""))


def test_every_nasty_line_gives_one_line(home: Path) -> None:
    data = b"\n".join(NASTY) + b"\n"
    result = invoke("translate", stdin=data)
    assert result.exit_code == 0
    assert result.stdout_bytes.count(b"\n") == len(NASTY)
    as_json = invoke("translate", "--json", "--n-best", "2", stdin=data)
    records = [json.loads(line) for line in as_json.stdout_bytes.decode().split("\n")[:-1]]
    assert [record["line"] for record in records] == list(range(1, len(NASTY) + 1))


@FEW
@given(data=st.binary(max_size=200))
def test_any_bytes_give_as_many_lines_as_they_have(home: Path, data: bytes) -> None:
    result = invoke("translate", "--beam", "1", stdin=data)
    assert result.exit_code == 0
    assert result.stdout_bytes.count(b"\n") == lines_in(data)


LINE = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)


@FEW
@given(pairs=st.lists(st.tuples(LINE, LINE), max_size=6))
@pytest.mark.parametrize("command", ["score", "align"])
def test_any_pairs_are_scored_and_aligned_line_by_line(
    home: Path, tmp_path: Path, command: str, pairs: list[tuple[str, str]]
) -> None:
    for side, name in enumerate(("src", "tgt")):
        (tmp_path / name).write_bytes("".join(pair[side] + "\n" for pair in pairs).encode())
    result = invoke(command, "-m", "runs/tiny", "--src", str(tmp_path / "src"), "--tgt", str(tmp_path / "tgt"))
    assert result.exit_code == 0
    assert result.stdout_bytes.count(b"\n") == len(pairs)


def test_nasty_text_is_evaluated_and_examined(home: Path, tmp_path: Path) -> None:
    lines = [line for line in NASTY if line.decode("utf-8", "ignore").encode() == line and len(line) < 1000]
    for name in ("src", "ref"):
        (tmp_path / name).write_bytes(b"\n".join(lines) + b"\n")
    result = invoke("eval", "--src", str(tmp_path / "src"), "--ref", str(tmp_path / "ref"), "-o", str(tmp_path / "e"))
    assert result.exit_code == 0
    assert (tmp_path / "e.hyp").read_bytes().count(b"\n") == len(lines)
    assert invoke("doctor", str(tmp_path / "src"), str(tmp_path / "ref")).exit_code == 0


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "name",
    "seed",
    "data",
    "data.train",
    "data.max_length",
    "tokenizer.vocab_size",
    "tokenizer.sampling.alpha",
    "model",
    "model.encoder",
    "model.encoder.layers",
    "model.attention",
    "model.attention.heads",
    "model.dropout",
    "training.epochs",
    "training.optimizer.lr",
    "training.batch_size",
    "training.schedule",
    "decoding.beam_size",
    "decoding.unk",
    "nonsense",
]


@settings(
    max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(key=st.sampled_from(KEYS), value=VALUE)
def test_any_value_of_a_setting_is_taken_or_refused(home: Path, key: str, value: Any) -> None:
    override = f"{key}={json.dumps(value)}"  # NaN and Infinity among them
    with contextlib.suppress(ConfigError):  # and nothing else
        load_config(home / "tiny.yaml", [override])


@FEW
@given(data=st.binary(max_size=100) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_as_a_configuration_are_refused(home: Path, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "c.yaml").write_bytes(data)
    with pytest.raises(ConfigError):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "aliases are not supported"),
        ("seed: 1\nseed: 2", "given twice"),
        ("seed: !!python/object/apply:os.getcwd []", "seed: input should be a valid integer"),
        ("training: {epochs: -3}", "epochs"),
        ('name: "\\ud800"', "cannot be a run's name"),
        ('data: {train: "\\ud800", valid: x}', "is not a corpus"),
        ("training: {optimizer: {lr: .nan}}", "lr"),
        ("training: {batch_size: many}", "batch_size"),
        ("{" * 50_000, "nested too deeply"),
    ],
)
def test_yaml_that_goes_wrong_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "c.yaml")


@pytest.mark.parametrize("kind", ["missing", "folder", "early end", "not utf-8", "empty"])
def test_a_data_file_that_is_none_is_named(home: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("x.gz" if kind == "early end" else "x.txt")
    if kind == "folder":
        path.mkdir()
    elif kind == "early end":
        path.write_bytes(gzip.compress(b"a cat\n" * 1000)[:-20])
    elif kind == "not utf-8":
        path.write_bytes(b"a cat\ncaf\xe9\n")
    elif kind == "empty":
        path.write_bytes(b"")
    both = ["--src", str(path), "--tgt", str(path)]
    twice = f"{{src: {path}, tgt: {tmp_path}/./{path.name}}}"
    for arguments in (
        ["train", "-c", "tiny.yaml", "--set", f"data.train={twice}", "--set", "name=bad"],
        ["score", *both],
        ["align", "-m", "runs/tiny", *both],
        ["eval", "--src", str(path), "--ref", str(path)],
        ["doctor", str(path), str(path)],
    ):
        result = invoke(*arguments)
        if kind == "empty" and arguments[0] in ("score", "align"):
            assert (result.exit_code, result.stdout) == (0, "")
        else:
            assert result.exit_code == 1
            assert path.name in result.stderr
    if kind in ("missing", "folder"):
        assert path.name in invoke("translate", "--input", str(path)).stderr


def test_crlf_and_bom_change_nothing(home: Path, tmp_path: Path) -> None:
    plain, dos = tmp_path / "plain", tmp_path / "dos"
    plain.write_bytes(b"a cat\nI love you\n")
    dos.write_bytes(b"\xef\xbb\xbfa cat\r\nI love you\r\n")
    assert invoke("translate", "-i", str(plain)).stdout == invoke("translate", "-i", str(dos)).stdout


def test_an_output_that_cannot_be_written_leaves_nothing_and_the_old_file_alone(home: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.write_text("old")
    result = invoke("translate", "-i", str(tmp_path / "missing"), "-o", str(kept))
    assert result.exit_code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert kept.read_text() == "old"
    assert invoke("translate", "a cat", "-o", str(tmp_path / "no" / "folder")).exit_code == 1


def run(command: str) -> "subprocess.CompletedProcess[str]":
    program = f"{sys.executable} -m nmt"
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command.replace('NMT', program)}"], capture_output=True, text=True
    )


def test_a_reader_that_leaves_early_is_no_error(home: Path) -> None:
    done = run("yes 'a cat' | head -n 5000 | NMT translate -b 1 | head -n 1")
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_with_a_message(home: Path) -> None:
    for command in ("NMT translate 'a cat' > /dev/full", "NMT translate 'a cat' -o /dev/full"):
        done = run(command)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_million_empty_lines(home: Path) -> None:
    done = run("yes '' | head -n 1000000 | NMT translate | wc -l")
    assert done.stdout.strip() == "1000000"
