"""Limits and refusals of the server: lists, forms, streams and suggestions."""

import asyncio
import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import nmt
from nmt.config.load import load_config, save_config
from nmt.decoding.request import Request
from nmt.serve.app import Server
from nmt.serve.batcher import Busy, Job
from nmt.serve.guard import Limits
from nmt.serve.models import LoadOptions, ServedModel, named
from nmt.serve.prometheus import prometheus_text
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


def test_forbidden_phrases_count_for_the_length_of_a_line_and_are_limited(client: TestClient) -> None:
    few, many = (Job(Request("a" * 80, forbid=("|".join(f"w{at}" for at in range(count)),))) for count in (3, 600))
    assert (few.is_long, many.is_long) == (False, True)
    refused = client.post("/translate", json={"q": LINE, "forbid": ["|".join(f"w{at}" for at in range(300))]})
    assert refused.status_code == 413
    assert refused.json()["error"] == "there are 300 phrases, alternatives included; at most 120 are allowed"
    spans = client.post("/translate", json={"q": LINE, "hide": [[0, 1]] * 101})
    assert (spans.status_code, spans.json()["error"].startswith("hide: ")) == (400, True)


def test_forms_have_spans_and_many_texts(client: TestClient) -> None:
    for path, field in (("/translate", "hide"), ("/suggest", "look_at")):
        span = [2, 6] if field == "look_at" else [[2, 6]]
        answer = client.post(path, data={"q": LINE, field: "2,6"})
        assert answer.status_code == 200, answer.json()
        assert answer.json() == client.post(path, json={"q": LINE, field: span}).json()
        wrong = client.post(path, data={"q": LINE, field: "two"})
        assert (wrong.status_code, wrong.json()["error"].startswith(f"{field}: ")) == (400, True)
    assert client.post("/translate", data={"q": ["a"] * 99 + ["b"] * 2}).status_code == 413  # lines, not fields
    with server(lines=200) as generous:
        generous_answer = generous.post("/translate", data={"q": ["a"] * 99})
        assert len(generous_answer.json()["translatedText"]) == 99
    full = client.post("/translate", data={"q": ["a"] * 1001})
    assert (full.status_code, full.json()["error"]) == (413, "the form has more than 1000 fields")


def test_the_reasons_of_lines_that_failed_are_given_without_wrong_numbers(client: TestClient) -> None:
    prefix = {"prefix": "漢字"}
    every = client.post("/translate", json={"q": [LINE, "she sings"]} | prefix)
    assert every.status_code == 400
    assert every.json()["error"].startswith("the prefix contains '漢字'")
    events = client.post("/translate/stream", json={"q": f"{LINE}\nshe sings"} | prefix).text
    assert events.count('"error": "the prefix contains') == 2
    some = client.post("/translate", json={"q": ["a", "she sings"], "hide": [[0, 1]]}).json()
    assert some["errors"][1] is None
    assert len(some["errors"][0]) == 1
    lines = client.post("/translate", json={"q": "a\nshe sings", "hide": [[0, 1]]}).json()
    assert (lines["errors"][0] is None, lines["errors"][1]) == (False, None)


def test_a_request_without_a_model_gets_one_for_its_languages(home: Path) -> None:
    shutil.copytree(home / "runs/tiny", home / "en-de", symlinks=True)
    config = home / "en-de" / "config.yaml"
    save_config(load_config(config, ["data.src_lang=en", "data.tgt_lang=de"]), config)
    models = named([Path("runs/tiny"), Path("en-de")], LoadOptions(None, ["training.threads=1"], 100))
    app = Server(models, Limits(hosts=frozenset({"testserver"}))).app()
    with TestClient(app) as client:
        assert client.post("/translate", json={"q": LINE, "source": "en", "target": "de"}).status_code == 200
        assert client.post("/translate", json={"q": LINE, "source": "auto", "target": "de"}).status_code == 200
        assert client.post("/translate/stream", json={"q": LINE, "target": "de"}).status_code == 200
        refused = client.post("/translate", json={"q": LINE, "source": "en", "target": "it"})
        assert refused.status_code == 400
        assert refused.json()["error"] == "it is not supported; /languages has the languages of all models"
        wrong = client.post("/translate", json={"q": LINE, "target": "de", "model": "tiny"})
        assert "this model translates from src to tgt" in wrong.json()["error"]
    shutil.rmtree(home / "en-de")


def test_answers_say_which_methods_and_bodies_are_allowed(client: TestClient) -> None:
    refused = client.get("/translate")
    assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
    assert client.post("/detect").status_code == 200
    described = client.get("/openapi.json").json()["paths"]
    assert described["/detect"]["post"]["requestBody"]["required"] is False
    assert list(described["/translate/stream"]["post"]["responses"]["200"]["content"]) == ["text/event-stream"]


def test_counts_have_the_names_of_models_as_they_are() -> None:
    text = prometheus_text({"200": 3}, named([Path("modèle")], LoadOptions(None, [], 1)))
    assert 'nmt_requests_total{status="200"} 3' in text
    assert 'nmt_lines_total{model="modèle"} 0' in text
