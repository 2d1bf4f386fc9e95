"""Limits and refusals of the server: lists, forms, streams and suggestions."""

import asyncio
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import nmt
from nmt.serve.batcher import Busy
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
