"""A model in one file, and what is said of runs and models."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nmt.cli import app
from nmt.runs import pack as module
from nmt.runs.folder import RunFolder, find_model
from nmt.runs.pack import pack, unpacked

runner = CliRunner()
LINES = ["I love you", "she sees the black cat", "he does not eat"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))


def invoke(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_a_packed_model_is_used_like_its_run(tmp_path: Path, precision: str) -> None:
    target = tmp_path / f"m-{precision}.zip"
    said = invoke("pack", "runs/tiny", "-o", str(target), "--precision", precision)
    assert said.startswith(f"{target}: step-000012 in {precision}, ")
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()
    from_run = invoke("translate", *LINES, "-m", "runs/tiny", "--json").splitlines()
    from_pack = invoke("translate", *LINES, "-m", str(target), "--json").splitlines()
    for one, two in zip(map(json.loads, from_run), map(json.loads, from_pack), strict=True):
        exactly = precision == "fp32"
        assert two["log_prob"] == pytest.approx(one["log_prob"], abs=1e-5 if exactly else 0.5)
        assert not exactly or one["tgt"] == two["tgt"]
    assert "score" in invoke("score", "--split", "test", "-m", str(target), "--json").splitlines()[0]


def _umask() -> int:
    import os

    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_the_same_model_is_packed_to_the_same_bytes_and_small(tmp_path: Path) -> None:
    run = RunFolder(Path("runs/tiny"))
    folder = pack(run, tmp_path / "a.zip", None, "bf16")
    pack(run, tmp_path / "b.zip", None, "bf16")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    weights = (folder / "model.safetensors").stat().st_size
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.getinfo("model.safetensors").file_size < 0.55 * weights


def test_what_is_no_packed_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = tmp_path / "good.zip"
    pack(RunFolder(Path("runs/tiny")), good, None, "fp32")

    def changed(name: str, **files: bytes | None) -> Path:
        path = tmp_path / f"{name}.zip"
        with zipfile.ZipFile(good) as archive, zipfile.ZipFile(path, "w") as other:
            content = {info.filename: archive.read(info) for info in archive.infolist()} | files
            for file, data in content.items():
                if data is not None:
                    other.writestr(file, data)
        return path

    index = json.loads(zipfile.ZipFile(good).read("pack.json"))

    def indexed(**changes: object) -> bytes:
        return json.dumps(index | changes).encode()

    outside = index["sha256"] | {"../evil": "0"}
    wrong = {
        "other bytes": changed("a", **{"config.yaml": b"name: other\n"}),
        "a missing file": changed("b", **{"model.safetensors": None}),
        "a file outside": changed("c", **{"pack.json": indexed(sha256=outside), "../evil": b"x"}),
        "another checkpoint": changed("d", **{"pack.json": indexed(checkpoint="../../evil")}),
        "no index": changed("e", **{"pack.json": b"[]"}),
    }
    (tmp_path / "text.zip").write_text("no archive", encoding="utf-8")
    for name, path in wrong.items() | {("no archive", tmp_path / "text.zip")}:
        result = runner.invoke(app, ["translate", "a", "-m", str(path)])
        assert result.exit_code == 1, name
        assert "this is not a packed model, or it is damaged" in result.output
    assert not list(tmp_path.rglob("evil"))
    newer = changed("f", **{"pack.json": indexed(format=99)})
    assert "packed by a newer nmt" in runner.invoke(app, ["translate", "a", "-m", str(newer)]).output
    monkeypatch.setattr(module, "_LARGEST_FILE", 100)
    with pytest.raises(module.CheckpointError, match="larger than that of any model"):
        unpacked(good)


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("mine", encoding="utf-8")
    refused = runner.invoke(app, ["pack", "runs/tiny", "-o", str(tmp_path / "x.zip")])
    assert (refused.exit_code, "already exists" in refused.output) == (1, True)
    other = runner.invoke(app, ["pack", "runs/tiny", "-o", str(tmp_path / "x.tar")])
    assert "a packed model is a .zip file" in other.output


def test_a_text_file_points_to_a_run(tmp_path: Path) -> None:
    shutil.copytree("runs/tiny", tmp_path / "tiny", symlinks=True)
    (tmp_path / "latest").write_text("tiny\n", encoding="utf-8")  # as nmt writes it where links are not possible
    assert find_model(tmp_path / "latest").path == (tmp_path / "tiny").resolve()


def test_runs_are_listed_with_state_and_score(tmp_path: Path) -> None:
    shutil.copytree("runs/tiny", tmp_path / "runs/done", symlinks=True)
    shutil.copytree("runs/tiny", tmp_path / "runs/group/stopped", symlinks=True)
    log = tmp_path / "runs/group/stopped/train.log"
    log.write_text(log.read_text().replace("finished (", "interrupted; saved ("), encoding="utf-8")
    with RunFolder(tmp_path / "runs/done").locked():
        rows = invoke("runs", str(tmp_path / "runs")).splitlines()
    assert rows[0].split() == ["run", "state", "epoch", "best", "trained", "size"]
    shown = {row.split()[0]: row.split()[1] for row in rows[1:]}
    assert shown == {"done": "training", "group/stopped": "interrupted"}
    assert "done           finished" in invoke("runs", str(tmp_path / "runs"))
    with (tmp_path / "runs/done/train.log").open("a", encoding="utf-8") as file:  # resumed with more epochs, and killed
        file.write("2026-01-01 00:00:00 INFO resuming runs/done after update 4\n")
    assert "done           interrupted" in invoke("runs", str(tmp_path / "runs"))
    empty = tmp_path / "none"
    empty.mkdir()
    assert "no run yet" in invoke("runs", str(empty))
    assert runner.invoke(app, ["runs", str(tmp_path / "nowhere")]).exit_code == 1


def test_a_model_says_what_it_is(tmp_path: Path) -> None:
    pack(RunFolder(Path("runs/tiny")), tmp_path / "m.zip", None, "fp32")
    for model, state in (("runs/tiny", "finished"), (str(tmp_path / "m.zip"), "packed")):
        said = {line[:16].strip(): line[17:] for line in invoke("inspect", model).splitlines()}
        assert said["languages"] == "src -> tgt"
        assert said["encoder"] == "rnn, hidden_size 16"
        assert said["attention"] == "additive, size 16"
        assert said["tokenizer"] == "bpe, 300 pieces, joint: True"
        assert said["training data"] == "builtin: phrasebook"
        assert said["best checkpoint"] == "step-000012"
        assert said["state"] == state
        assert "torch" in said["trained with"]
