"""The HTTP interface: answers, refusals, limits, many clients, and the official client of LibreTranslate."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

import nmt
from nmt.alignment.words import word_spans
from nmt.data.batching import batch_of
from nmt.data.tokenizer import BOS, EOS, SPACE, Tokenizer
from nmt.decoding.request import Request
from nmt.decoding.suggest import next_words
from nmt.model.seq2seq import evaluating
from nmt.serve.app import Server
from nmt.serve.guard import Limits
from nmt.serve.models import LoadOptions, named
from tests.cli.serving import LINE, server


def test_a_translation_is_that_of_the_api(client: TestClient, model: nmt.Model) -> None:
    expected = model.translate([LINE], n_best=3)[0]
    answer = client.post(
        "/translate",
        json={"q": LINE, "source": "src", "target": "tgt", "alternatives": 2, "alignment": True, "scores": True},
    ).json()
    assert set(answer) == {"translatedText", "alternatives", "alignment", "scores"}
    assert answer["translatedText"] == expected.text
    assert answer["alternatives"] == [other.text for other in expected.others]
    assert answer["scores"]["score"] == pytest.approx(expected.score, abs=1e-4)
    alignment = answer["alignment"]
    for side, text in (("source", LINE), ("target", expected.text)):
        assert [text[word["start"] : word["end"]] for word in alignment[side]] == [w["text"] for w in alignment[side]]
    matrix = expected.alignment()
    assert matrix is not None
    assert [link[:2] for link in alignment["links"]] == [list(link) for link in matrix.links()]


def test_forms_lists_lines_and_html_are_answered_in_kind(client: TestClient, model: nmt.Model) -> None:
    text = {line: model.translate([line])[0].text for line in (LINE, "she sings")}
    form = client.post("/translate", data={"q": LINE, "source": "auto", "target": "tgt"}).json()
    assert form == {"translatedText": text[LINE], "detectedLanguage": {"confidence": 100, "language": "src"}}
    both = client.post("/translate", json={"q": [LINE, "she sings"], "source": "src"}).json()
    assert both == {"translatedText": list(text.values())}
    lines = client.post("/translate", json={"q": f"{LINE}\n\nshe sings", "source": "src"}).json()
    assert lines["translatedText"] == f"{text[LINE]}\n\n{text['she sings']}"
    page = client.post("/translate", json={"q": f"<p>{LINE} <b>she sings</b></p>", "source": "src", "format": "html"})
    assert page.json()["translatedText"] == f"<p>{text[LINE]} <b>{text['she sings']}</b></p>"
    events = client.post("/translate/stream", json={"q": f"{LINE}\nshe sings", "source": "src"}).text.split("\n\n")
    found = [json.loads(event.removeprefix("data: ")) for event in events if event]
    assert [(event["line"], event["translatedText"]) for event in found] == list(enumerate(text.values()))


def test_a_beginning_is_kept_and_a_hidden_word_is_not_looked_at(client: TestClient, model: nmt.Model) -> None:
    begun = client.post("/translate", json={"q": LINE, "prefix": "elle "}).json()
    assert begun["translatedText"] == model.translate([LINE], prefixes=["elle "])[0].text
    assert begun["translatedText"].startswith("elle ")
    answer = client.post("/translate", json={"q": LINE, "hide": [[2, 6]], "alignment": True}).json()
    attention = nmt.load("runs/tiny", overrides=["decoding.alignment_from=attention"])._loaded.translator
    hidden = attention.translate([Request(LINE, hidden=((2, 6),))])[0]
    matrix = hidden.alignment()
    assert matrix is not None
    assert answer["translatedText"] == hidden.text
    assert matrix.src_tokens[1] == "love"
    assert not matrix.weights[:, 1].any()
    everything = client.post("/translate", json={"q": LINE, "hide": [[0, 10]]})
    assert everything.status_code == 400
    assert "all words of the source are hidden" in everything.json()["error"]


def word_ends(tokenizer: Tokenizer, text: str) -> torch.Tensor:
    """The pieces before which the last word of a text ends."""
    pieces = [piece.replace(SPACE, " ") for piece in tokenizer.tgt_pieces]
    begins = [{start for start, _ in word_spans(text + piece)} for piece in pieces]
    ends = torch.tensor([len(text) in each or piece[0] == " " for each, piece in zip(begins, pieces, strict=True)])
    ends[EOS] = True
    return ends


def test_next_words_have_the_probabilities_of_search(client: TestClient, model: nmt.Model) -> None:
    words = client.post("/suggest", json={"q": LINE, "prefix": "je", "count": 5}).json()["words"]
    assert 1 <= len(words) <= 5
    probabilities = [each["probability"] for each in words]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) <= 1.0
    translator = model._loaded.translator
    tokenizer, network = translator.tokenizer, translator.model

    def probability(target: str) -> float:
        """Of writing these words after "je", and that the last one ends there."""
        ids = [BOS, *tokenizer.encode_tgt(target).ids]
        total = 0.0
        with evaluating(network):
            memory = network.encode(batch_of([(tokenizer.encode_src(LINE).ids, [])]))
            state = network.start(memory)
            for at, piece in enumerate(ids):
                log_probs, _, state = network.step(torch.tensor([piece]), state, memory)
                if at >= len(tokenizer.encode_tgt("je").ids):
                    total += log_probs[0, ids[at + 1]].item() if at + 1 < len(ids) else 0.0
            return math.exp(total + log_probs[0, word_ends(tokenizer, target)].logsumexp(0).item())

    for each in next_words(translator, LINE, "je", 5):
        if each.word and each.word.isalpha():
            assert each.probability == pytest.approx(probability(f"je {each.word}"), rel=1e-3)
    wrong = client.post("/suggest", json={"q": LINE, "prefix": "漢字"})
    assert (wrong.status_code, "is not in the model's vocabulary" in wrong.json()["error"]) == (400, True)


def test_a_word_can_be_written_from_one_source_word_alone(client: TestClient, model: nmt.Model) -> None:
    def suggested(**asked: object) -> dict[str, float]:
        words = client.post("/suggest", json={"q": LINE, "prefix": "je", "count": 50} | asked).json()["words"]
        return {each["word"]: each["probability"] for each in words}

    whole = suggested(look_at=[0, len(LINE)])
    assert whole == pytest.approx(suggested(), abs=1e-6)
    pinned = suggested(look_at=[0, 1])
    assert pinned != pytest.approx(whole, abs=1e-6)
    # With one piece to look at, its weight is 1, and the first piece has the probability of a step with that memory.
    translator = model._loaded.translator
    source = translator.tokenizer.encode_src(LINE)
    network: Any = translator.model
    with evaluating(network):
        memory = network.encode(batch_of([(source.ids, [])]))
        state = network.start(memory)
        _, _, state = network.step(torch.tensor([BOS]), state, memory)
        hidden = torch.tensor([[start >= 1 for start, _ in source.offsets]])
        [prefix] = translator.tokenizer.encode_tgt("je").ids
        log_probs, weights, state = network.step(torch.tensor([prefix]), state, memory.without(hidden))
    assert (weights[hidden] == 0).all()
    single = {word: ids[0] for word in pinned if len(ids := translator.tokenizer.encode_tgt(word).ids) == 1}
    assert len(single) > 3
    for word, piece in single.items():
        with evaluating(network):
            after, _, _ = network.step(torch.tensor([piece]), state, memory.without(hidden))
        ends = after[0, word_ends(translator.tokenizer, word)].logsumexp(0)
        assert pinned[word] == pytest.approx(float((log_probs[0, piece] + ends).exp()), abs=1e-6)
    wrong = client.post("/suggest", json={"q": LINE, "look_at": [90, 95]})
    assert (wrong.status_code, "all words of the source are hidden" in wrong.json()["error"]) == (400, True)


def test_what_else_clients_ask_for(client: TestClient) -> None:
    assert client.get("/languages").json() == [
        {"code": "src", "name": "src", "targets": ["tgt"]},
        {"code": "tgt", "name": "tgt", "targets": []},
    ]
    assert client.get("/health").json() == {"status": "ok"}
    settings = client.get("/frontend/settings").json()
    assert settings["language"]["source"] == {"code": "src", "name": "src"}
    assert settings["charLimit"] == 20_000
    assert client.get("/models").json()[0]["name"] == "tiny"
    assert len(client.get("/examples").json()["examples"]) == 4
    assert any("valid" in record for record in client.get("/training").json()["records"])
    assert 'nmt_lines_total{model="tiny"}' in client.get("/metrics").text
    described = client.get("/openapi.json").json()
    assert "/translate" in described["paths"]
    for path in ("/", "/docs", "/static/page.js", "/static/page.css", "/static/docs.js"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "http://" not in answer.text.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in answer.text
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/nothing").json() == {"error": "not found"}
    assert client.get("/translate").status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"host": "localhost:5000"}, 200),
        ({"host": "evil.example"}, 403),
        ({"host": "127.0.0.1.evil.example"}, 403),
        ({"origin": "http://testserver"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "null"}, 403),
    ],
)
def test_other_names_and_sites_are_refused(client: TestClient, headers: dict[str, str], status: int) -> None:
    assert client.get("/health", headers=headers).status_code == status
    assert client.post("/translate", json={"q": LINE}, headers=headers).status_code == status


def test_sites_that_are_allowed_may_ask(home: Path) -> None:
    origin = {"origin": "https://friend.example"}
    with server(origins=frozenset({"https://friend.example"})) as client:
        assert client.options("/translate", headers=origin).status_code == 204
        answer = client.post("/translate", json={"q": LINE}, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
    with server() as client:
        assert "access-control-allow-origin" not in client.get("/health").headers


def test_a_key_and_limits_hold(home: Path) -> None:
    with server(api_key="geheim", characters=20, lines=2) as client:
        assert client.post("/translate", json={"q": LINE}).status_code == 403
        assert client.post("/translate", json={"q": LINE, "api_key": "falsch"}).status_code == 403
        assert client.post("/translate", json={"q": LINE, "api_key": "geheim"}).status_code == 200
        bearer = {"authorization": "Bearer geheim"}
        assert client.post("/translate", json={"q": LINE}, headers=bearer).status_code == 200
        for text, status in (("a" * 21, 413), ("a\nb\nc", 413), ("x" * 100_000, 413), ([], 400), ("\ud800", 400)):
            body = json.dumps({"q": text}).encode()
            answer = client.post("/translate", content=body, headers=bearer | {"content-type": "application/json"})
            assert answer.status_code == status, text
            assert list(answer.json()) == ["error"]


def test_wrong_requests_are_answered_with_what_is_wrong(client: TestClient) -> None:
    for body, said in (
        ({}, "q: Field required"),
        ({"q": 5}, "q: "),
        ({"q": LINE, "source": "xx"}, "xx is not supported; this model translates from src to tgt"),
        ({"q": LINE, "target": "src"}, "src is not supported"),
        ({"q": LINE, "alternatives": 99}, "alternatives: "),
        ({"q": LINE, "model": "other"}, "there is no model 'other'; the models are: tiny"),
        ([], "not a JSON object"),
        ({"q": LINE, "prefix": "je " * 600}, "more than decoding.max_tgt_length"),
    ):
        answer = client.post("/translate", json=body)
        assert answer.status_code == 400
        assert said in answer.json()["error"]


def test_half_characters_anywhere_and_long_beginnings_are_refused(client: TestClient) -> None:
    for field in ("q", "model", "source", "prefix"):
        body = json.dumps({"q": LINE, field: "\ud800"}).encode()
        answer = client.post("/translate", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, "half a character" in answer.json()["error"]) == (400, True), field
    assert client.post("/translate", json={"q": LINE, "prefix": "a" * 2001}).status_code == 413


def test_comments_scripts_and_attributes_of_html_stay(client: TestClient) -> None:
    markup = '<a title="x>y">', "</a> <!-- a <i>comment</i> --><script>if (a<b) alert(1)</script>"
    answer = client.post("/translate", json={"q": f"{markup[0]}{LINE}{markup[1]}", "source": "src", "format": "html"})
    text = answer.json()["translatedText"]
    assert text.startswith(markup[0])
    assert text.endswith(markup[1])


def test_malformed_requests_get_an_answer_and_the_server_lives(client: TestClient) -> None:
    draw = random.Random(1)
    parts = [
        b'{"q":',
        b'"I love you"',
        b"}",
        b"[",
        b"]",
        b"\xff\xfe",
        b"null",
        b"\\ud800",
        b"1e999",
        b"q=%ff&",
        b"{" * 50,
    ]
    kinds = ["application/json", "application/x-www-form-urlencoded", "text/plain", "multipart/form-data", ""]
    for _ in range(300):
        body = b"".join(draw.choice(parts) for _ in range(draw.randrange(8)))
        if draw.random() < 0.3:
            text = "".join(chr(draw.choice((0, 9, 10, 65, 0x2028, 0x202E, 0x1F600, 0x3042))) for _ in range(40))
            body = json.dumps(
                {"q": text, "prefix": draw.choice(["", text[:3]]), "hide": [[0, draw.randrange(-2, 9)]]}
            ).encode()
        path = draw.choice(["/translate", "/suggest", "/translate/stream", "/detect"])
        answer = client.post(path, content=body, headers={"content-type": draw.choice(kinds)})
        assert 200 <= answer.status_code < 500, (path, body, answer.text)
    assert client.post("/translate", json={"q": LINE}).status_code == 200


def test_a_model_that_is_trained_further_is_swapped_in(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    from nmt.serve import models as module

    shutil.copytree(home / "runs/tiny", tmp_path / "tiny", symlinks=True)
    checkpoints = tmp_path / "tiny/checkpoints"
    steps = sorted(path for path in checkpoints.iterdir() if path.name.startswith("step-"))
    link = checkpoints / "best"
    link.unlink()
    link.symlink_to(steps[0].name)
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.05)
    models = named([tmp_path / "tiny"], LoadOptions(None, ["training.threads=1"], 100))
    with TestClient(Server(models, Limits(hosts=None)).app()) as client:
        client.post("/translate", json={"q": LINE})
        assert client.get("/models").json()[0]["checkpoint"] == steps[0].name
        link.unlink()
        link.symlink_to(steps[-1].name)
        for _ in range(200):
            assert client.post("/translate", json={"q": LINE}).status_code == 200  # no request is lost meanwhile
            if client.get("/models").json()[0]["checkpoint"] == steps[-1].name:
                break
        assert client.get("/models").json()[0]["checkpoint"] == steps[-1].name
    assert models[0].swaps == 1


def test_phrases_are_required_and_forbidden(client: TestClient, model: nmt.Model) -> None:
    free = model.translate([LINE])[0].text
    word = free.split()[0]
    answer = client.post("/translate", json={"q": LINE, "require": ["chat noir"], "forbid": [word]}).json()
    assert "chat noir" in answer["translatedText"]
    assert word not in answer["translatedText"].split()
    refused = client.post("/translate", json={"q": LINE, "require": ["漢字"]})
    assert refused.status_code == 400
    assert "not in the model's vocabulary" in refused.json()["error"]
    many = client.post("/translate", json={"q": LINE, "require": ["chat " * 200, "noir " * 300]})
    assert many.status_code == 413


def test_answers_are_sent_without_the_delay_of_small_packets() -> None:
    import socket

    from nmt.serve.run import _listen

    with _listen("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP  # asyncio sets TCP_NODELAY on no other sockets
