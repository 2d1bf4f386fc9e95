"""`nmt push` and ``-m hub:NAME``, against a hub that is a folder."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import yaml

from nmt.commands.evaluate import run_eval
from nmt.commands.push import _told_apart, _without_paths, run_push
from nmt.commands.train import run_train
from nmt.config import Config
from nmt.config.load import save_config
from nmt.errors import CheckpointError
from nmt.runs.folder import RunFolder
from nmt.runs.load import load_model


@pytest.fixture
def run(make_config: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    data = {"src_lang": "en", "tgt_lang": "fr"}
    return run_train(make_config(data=data, training={"max_updates": 2}))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the hub."""
    folder = tmp_path / "hub"

    class Api:
        def __init__(self, **_: Any) -> None: ...

        def create_repo(self, name: str, private: bool, exist_ok: bool) -> str:
            assert exist_ok
            (folder / name).mkdir(parents=True)
            (folder / name / "private").write_text(str(private))
            return f"https://hub/{name}"

        def upload_folder(self, repo_id: str, folder_path: Path, commit_message: str) -> None:
            assert commit_message
            shutil.copytree(folder_path, folder / repo_id, dirs_exist_ok=True)

    def download(name: str, file: str, revision: str | None, library_name: str) -> str:
        if revision not in (None, "main") or not (folder / name / file).exists():
            raise OSError("404 Client Error\nand more")
        return str(folder / name / file)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return folder


def test_a_pushed_model_translates_from_the_hub_as_at_home(run: RunFolder, hub: Path) -> None:
    assert run_push(run.path, "me/toy", private=True, precision="fp32") == "https://hub/me/toy"
    assert (hub / "me" / "toy" / "private").read_text() == "True"
    lines = ["a cat sleeps", "I love you"]
    at_home = load_model(run.path).translator.translate(lines)
    for name in ("hub:me/toy", "hub:me/toy@main"):
        away = load_model(Path(name)).translator.translate(lines)
        assert [one.tgt.text for one in away] == [one.tgt.text for one in at_home]
    with pytest.raises(CheckpointError, match=r"hub:me/other: .*404 Client Error\); nmt push uploads one"):
        load_model(Path("hub:me/other"))
    with pytest.raises(CheckpointError, match="hub:me/toy@v2"):
        load_model(Path("hub:me/toy@v2"))


def test_the_card_has_scores_data_languages_and_a_picture_and_no_paths(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "card"
    run_eval(load_model(run.path, trusts_data=True), "valid")
    said = run_push(run.path, "me/toy", folder=files, license_name="mit")
    assert said.endswith("README.md, alignment.png, model.zip")
    card = (files / "README.md").read_text(encoding="utf-8")
    for part in ('license: "mit"', 'language: ["en", "fr"]', "from en to fr", "-m hub:me/toy", "| BLEU | ", "tok:13a"):
        assert part in card
    assert "- training data: train.en and train.fr" in card
    assert "- attention: additive" in card
    assert str(tmp_path) not in card
    with zipfile.ZipFile(files / "model.zip") as packed:
        assert str(tmp_path) not in packed.read("config.yaml").decode()
    load_model(files / "model.zip").translator.translate(["a cat"])
    rows = [line for line in card.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {5}  # no cell more, whatever signs a signature has
    assert (files / "alignment.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(CheckpointError, match="name a folder that does not exist yet"):
        run_push(run.path, "me/toy", folder=files)


def test_a_packed_models_data_are_not_looked_at(run: RunFolder, tmp_path: Path) -> None:
    run_push(run.path, "me/toy", folder=tmp_path / "one")
    run_push(tmp_path / "one" / "model.zip", "me/toy", folder=tmp_path / "two")
    assert not (tmp_path / "two" / "alignment.png").exists()
    run_push(tmp_path / "one" / "model.zip", "me/toy", folder=tmp_path / "three", example="a cat sees me")
    assert "a cat sees me" in (tmp_path / "three" / "README.md").read_text(encoding="utf-8")
    assert (tmp_path / "three" / "alignment.png").exists()


def test_a_name_without_an_owner_or_a_hub_that_refuses_is_said(
    run: RunFolder, hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("toy", "/toy", "me/toy/x"):
        with pytest.raises(CheckpointError, match="OWNER/NAME"):
            run_push(run.path, name)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("401: who are you?")

    monkeypatch.setattr(huggingface_hub.HfApi, "create_repo", refuse)
    with pytest.raises(CheckpointError, match=r"401: who are you\?.*hf auth login"):
        run_push(run.path, "me/toy")


def test_scores_of_another_checkpoint_are_not_the_models(run: RunFolder, tmp_path: Path) -> None:
    run_eval(load_model(run.path, trusts_data=True), "valid")
    report = run.path / "eval" / "valid.json"
    report.write_text(report.read_text().replace("step-000002", "step-000001"))
    run_push(run.path, "me/toy", folder=tmp_path / "card")
    assert "`nmt eval` had not been run" in (tmp_path / "card" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("more", [{"backward": "runs/b"}, {"phrases": {"asked": 2, "satisfied": 2}}, {"model": "a+b"}])
def test_scores_that_need_more_than_the_model_are_not_the_models(
    run: RunFolder, tmp_path: Path, more: dict[str, Any]
) -> None:
    run_eval(load_model(run.path, trusts_data=True), "valid")
    report = run.path / "eval" / "valid.json"
    report.write_text(json.dumps(json.loads(report.read_text()) | more))
    run_push(run.path, "me/toy", folder=tmp_path / "card")
    assert "`nmt eval` had not been run" in (tmp_path / "card" / "README.md").read_text(encoding="utf-8")


def test_the_scores_of_a_renamed_run_stay(run: RunFolder, tmp_path: Path) -> None:
    run_eval(load_model(run.path, trusts_data=True), "valid")
    renamed = run.path.rename(run.path.with_name("renamed"))
    run_push(renamed, "me/toy", folder=tmp_path / "card")
    assert "| BLEU |" in (tmp_path / "card" / "README.md").read_text(encoding="utf-8")


def test_the_example_of_the_card_has_the_tag_of_its_corpus(make_config: Callable[..., Config], tmp_path: Path) -> None:
    valid = {"src": "valid.en", "tgt": "valid.fr", "tag": "<2fr>"}
    train = {"src": "train.en", "tgt": "train.fr", "tag": "<2fr>"}
    run = run_train(make_config(data={"train": train, "valid": valid}, training={"max_updates": 2}))
    run_push(run.path, "me/toy", folder=tmp_path / "card")
    assert "hub:me/toy '<2fr> " in (tmp_path / "card" / "README.md").read_text(encoding="utf-8")


def test_paths_are_told_apart_by_as_many_folders_as_needed() -> None:
    assert _told_apart(Path("/x/en/raw/t.txt"), Path("/x/de/raw/t.txt")) == ("en/raw/t.txt", "de/raw/t.txt")
    assert _told_apart(Path("/en/t.txt"), Path("/de/t.txt")) == ("en/t.txt", "de/t.txt")
    assert _told_apart(Path("/a/t.txt"), Path("/b/a/t.txt")) == ("a/t.txt", "b/a/t.txt")


def test_no_text_leaves_its_place_in_the_card(run: RunFolder, tmp_path: Path) -> None:
    example = 'a cat\n\n# heading "x" ](http://evil) | <b>'
    run_push(run.path, "me/toy", folder=tmp_path / "card", license_name="mit\nx: y", example=example)
    card = (tmp_path / "card" / "README.md").read_text(encoding="utf-8")
    assert "\n# heading" not in card
    assert "\nx: y" not in card
    assert "](http" not in card.split("## Which word")[1]


def test_files_with_one_name_keep_their_last_folder(make_config: Callable[..., Config], tmp_path: Path) -> None:
    home = tmp_path / "somebody"
    files = {"src": str(home / "en" / "train.txt"), "tgt": str(home / "fr" / "train.txt")}
    config = make_config(
        data={
            "train": files,
            "valid": {"src": "/data/dev.en", "tgt": "/data/dev.fr"},
            "test": {"src": "../client/t.en", "tgt": "in/t.fr"},
        },
        tokenizer={"user_defined_symbols": ["/s", "/"]},
    )
    run = RunFolder(tmp_path / "runs" / "tiny")
    run.path.mkdir(parents=True)
    save_config(config, run.config)
    written = yaml.safe_load(_without_paths(run, tmp_path))
    assert {side: written["data"]["train"][side] for side in files} == {"src": "en/train.txt", "tgt": "fr/train.txt"}
    assert written["data"]["valid"]["src"] == "dev.en"
    assert [written["data"]["test"][side] for side in ("src", "tgt")] == ["t.en", "in/t.fr"]
    assert written["tokenizer"]["user_defined_symbols"] == ["/s", "/"]  # which are no paths
