"""Limits and refusals of the server: lists, forms, streams and suggestions."""

import asyncio
import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import nmt
from nmt.decoding.request import Request
from nmt.serve.batcher import Busy, Job
from nmt.serve.models import LoadOptions, ServedModel, named
from tests.cli.serving import LINE, server


def test_one_bad_text_of_a_list_leaves_the_others(client: TestClient, model: nmt.Model) -> None:
    wrong = {"q": ["a", "she sings"], "hide": [[0, 1]]}  # hides all of the first text
    answer = client.post("/translate", json=wrong)
    assert answer.status_code == 200
    assert answer.json()["translatedText"][0] == ""
    assert answer.json()["translatedText"][1] != ""
    assert client.post("/translate", json=wrong | {"q": "a"}).status_code == 400
    events = client.post("/translate/stream", json=wrong).text
    assert '{"line": 0, "error": ' in events
    assert '{"line": 1, "translatedText": ' in events


def test_suggestions_wait_their_turn_and_read_no_more_than_translations(
    client: TestClient, model: nmt.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = " ".join([LINE] * 20)  # more than decoding.max_src_length
    cut = model._loaded.translator.tokenizer.decode_src(
        model._loaded.translator.tokenizer.encode_src(long).ids[:30]
    ).text
    answers = [client.post("/suggest", json={"q": text}).json() for text in (long, cut)]
    assert answers[0] == answers[1]
    monkeypatch.setattr("nmt.serve.batcher.Batcher.suggest", _busy)
    assert client.post("/suggest", json={"q": LINE}).status_code == 503


async def _busy(*_: object) -> None:
    raise Busy


def test_forms_have_lists_of_phrases(client: TestClient) -> None:
    for field, values in (("require", "chat"), ("forbid", ["chat", "chien"])):
        answer = client.post("/translate", data={"q": LINE, field: values})
        assert answer.status_code == 200, answer.json()
        assert (
            answer.json()
            == client.post(
                "/translate", json={"q": LINE, field: [values] if isinstance(values, str) else values}
            ).json()
        )


def test_a_stream_has_the_limits_of_a_request(client: TestClient, home: Path) -> None:
    many = {"q": "\n".join([LINE] * 60), "alternatives": 4}
    for address in ("/translate", "/translate/stream"):
        assert client.post(address, json=many).status_code == 413
    refused = client.post("/translate/stream", json={"q": "<p>a</p>", "format": "html"})
    assert refused.status_code == 400
    assert "send HTML to /translate" in refused.json()["error"]


def test_a_stream_ends_when_its_time_is_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with server(seconds=0.5) as client:
        client.post("/translate", json={"q": LINE})
        with monkeypatch.context() as patch:
            patch.setattr("nmt.serve.batcher.Batcher.translate", lambda self, jobs: asyncio.sleep(60))
            events = client.post("/translate/stream", json={"q": f"{LINE}\n{LINE}"}).text
        assert events == 'data: {"line": 0, "error": "the stream took longer than 0 s"}\n\n'


def test_a_damaged_calibration_spoils_only_confidences(home: Path) -> None:
    (home / "runs" / "tiny" / "calibration.json").write_text("{", encoding="utf-8")
    try:
        with server() as client:
            assert client.post("/translate", json={"q": LINE}).status_code == 200
            answer = client.post("/translate", json={"q": LINE, "confidence": True})
            assert answer.status_code == 503
            assert "calibration" in answer.json()["error"]
    finally:
        (home / "runs" / "tiny" / "calibration.json").unlink()


def test_a_stream_refuses_another_language(client: TestClient) -> None:
    for address in ("/translate", "/translate/stream"):
        assert client.post(address, json={"q": LINE, "target": "xx"}).status_code == 400


def test_forms_of_other_kinds_are_named(client: TestClient) -> None:
    kind = {"content-type": "Application/X-WWW-Form-Urlencoded"}
    assert client.post("/translate", content="q=I+love+you", headers=kind).status_code == 200
    refused = client.post("/translate", files={"q": b"I love you"})
    assert (refused.status_code, "not multipart" in refused.json()["error"]) == (400, True)


def test_required_phrases_count_for_the_length_of_a_line() -> None:
    few, many = (Job(Request("a", require=("a long phrase",) * count)) for count in (3, 20))
    assert (few.is_long, many.is_long) == (False, True)


def test_a_model_that_cannot_be_loaded_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr("nmt.runs.load.load_model", fail)
    with server(seconds=5.0) as client:
        assert client.post("/translate", json={"q": LINE}).json()["error"] == "CUDA out of memory"
        assert client.get("/models").json()[0]["loading"] is False
        assert client.get("/examples").json() == {"examples": []}


def test_a_server_stays_with_its_run_and_does_not_retry_what_it_cannot_use(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "two"):
        shutil.copytree(home / "runs/tiny", tmp_path / name, symlinks=True)
    latest, checkpoints = tmp_path / "latest", tmp_path / "one/checkpoints"
    latest.symlink_to("one")
    good, bad = sorted(path for path in checkpoints.iterdir() if path.name.startswith("step-"))[-2:]

    async def use() -> tuple[list[Path], int]:
        [model] = named([latest], LoadOptions(None, ["training.threads=1"], 100))
        (checkpoints / "best").unlink()
        (checkpoints / "best").symlink_to(good.name)
        model.loaded = await asyncio.to_thread(model._load, latest)
        latest.unlink()
        latest.symlink_to("two")
        (bad / "model.safetensors").write_bytes(b"damaged")
        (checkpoints / "best").unlink()
        (checkpoints / "best").symlink_to(bad.name)
        tried = []
        monkeypatch.setattr(model, "_load", lambda folder: tried.append(folder) or ServedModel._load(model, folder))
        for _ in range(3):
            await model._swap()
        assert model.loaded.run.path == (tmp_path / "one").resolve()
        return tried, model.swaps

    assert asyncio.run(use()) == ([(tmp_path / "one").resolve()], 0)
