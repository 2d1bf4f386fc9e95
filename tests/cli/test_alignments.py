"""Alignments from the command line: files, pictures, the page, gold links, both directions."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nmt.cli import app
from nmt.evaluation.calibration import Calibration

runner = CliRunner()


def test_alignments_go_to_a_file_and_to_the_terminal(home: Path) -> None:
    result = runner.invoke(
        app, ["translate", "I love you", "", "--alignments", "a.npz", "--show-alignment", "--keep-eos"]
    )
    assert result.exit_code == 0
    assert "love" in result.stderr
    assert "</s>" in result.stderr
    assert len(result.stdout.splitlines()) == 2
    with np.load(home / "a.npz") as arrays:
        assert arrays["src_0"].tolist() == ["I", "love", "you"]
        np.testing.assert_allclose(arrays["weights_0"].sum(1), 1.0, atol=1e-4)
        assert str(arrays["eos"]) == "row"


def test_align_scores_against_gold_in_both_formats(home: Path) -> None:
    assert runner.invoke(app, ["export", "book"]).exit_code == 0
    (home / "s").write_text("I love you\nthe cat\n")
    (home / "t").write_text("je t'aime\nle chat\n")
    (home / "g").write_text("0-0 2-1 1-2\n0-0 1-1\n")
    (home / "n").write_text("1 1 1 S\n1 3 2 S\n1 2 3 S\n2 1 1 S\n2 2 2 S\n")
    align = ["align", "-m", "runs/tiny", "--src", "s", "--tgt", "t"]
    pharaoh = runner.invoke(app, [*align, "--gold", "g", "--alignments", "a.pharaoh"])
    naacl = runner.invoke(app, [*align, "--gold", "n", "--gold-format", "naacl", "--gold-base", "1"])
    assert pharaoh.exit_code == naacl.exit_code == 0, pharaoh.output + naacl.output
    assert pharaoh.stdout == naacl.stdout == (home / "a.pharaoh").read_text()
    assert "AER" in pharaoh.stderr
    assert pharaoh.stderr == naacl.stderr
    assert [len(line.split()) for line in pharaoh.stdout.splitlines()] == [3, 2]


def test_gold_that_was_made_on_other_words_is_refused(home: Path) -> None:
    (home / "s").write_text("I do n't\n")
    (home / "t").write_text("je ne ... pas\n")
    (home / "g").write_text("0-0 2-3\n")
    align = ["align", "-m", "runs/tiny", "--src", "s", "--tgt", "t", "--gold", "g"]
    words = runner.invoke(app, align)
    assert words.exit_code == 0  # the tool's own words are more here, so nothing can be noticed
    tokens = runner.invoke(
        app, ["align", "-m", "runs/tiny", "--src", "s", "--tgt", "t", "--gold", "g", "--level", "tokens"]
    )
    assert [len(line.split()) for line in tokens.stdout.splitlines()] == [4]
    (home / "g").write_text("0-0 9-3\n")
    refused = runner.invoke(app, align)
    assert refused.exit_code == 1
    assert "link 9-3, but the pair has 3 source and 6 target words, counted from 0" in refused.stderr


def test_symmetrised_links_need_a_model_of_the_other_direction(home: Path) -> None:
    (home / "a.en").write_text("a cat\n", encoding="utf-8")
    (home / "a.fr").write_text("un chat\n", encoding="utf-8")
    command = ["align", "-m", "runs/tiny", "--src", "a.en", "--tgt", "a.fr"]
    both = runner.invoke(app, [*command, "--backward", "runs/tiny", "--symmetrise", "union"])
    assert both.exit_code == 0, both.output
    one = set(runner.invoke(app, command).stdout.split())
    (home / "b.en").write_text("un chat\n", encoding="utf-8")
    (home / "b.fr").write_text("a cat\n", encoding="utf-8")
    turned = runner.invoke(app, ["align", "-m", "runs/tiny", "--src", "b.en", "--tgt", "b.fr"]).stdout.split()
    assert set(both.stdout.split()) == one | {"-".join(reversed(link.split("-"))) for link in turned}


def test_links_between_pieces_of_two_models_are_not_combined(home: Path) -> None:
    (home / "a").write_text("a cat\n", encoding="utf-8")
    command = ["align", "-m", "runs/tiny", "--src", "a", "--tgt", "a", "--backward", "runs/tiny", "--level", "pieces"]
    refused = runner.invoke(app, command)
    assert refused.exit_code == 1
    assert "two models may split a text into different pieces" in refused.stderr


def test_pieces_need_a_model(home: Path) -> None:
    (home / "a").write_text("a cat\n", encoding="utf-8")
    refused = runner.invoke(app, ["align", "--src", "a", "--tgt", "a", "--level", "pieces"])
    assert refused.exit_code == 2
    assert "there are no pieces" in refused.stderr


def test_the_page_and_the_calibration(home: Path) -> None:
    assert runner.invoke(app, ["translate", "--n-best", "2", "--alignments", "page.html", "a cat"]).exit_code == 0
    assert '"options":[{"tgt":' in (home / "page.html").read_text(encoding="utf-8")
    before = runner.invoke(app, ["eval", "--split", "valid"]).stdout
    assert "calibration error of word confidence: " in before
    assert "calibrated" not in before
    raw = json.loads(runner.invoke(app, ["translate", "--json", "I love you"]).stdout)["confidence"]
    result = runner.invoke(app, ["calibrate"])
    assert result.exit_code == 0, result.output
    temperature = json.loads((home / "runs" / "tiny" / "calibration.json").read_text())["temperature"]
    assert result.stdout.startswith(f"temperature {temperature:.3f}")
    assert " calibrated" in runner.invoke(app, ["eval", "--split", "valid"]).stdout
    kept = json.loads((home / "runs" / "tiny" / "calibration.json").read_text())
    calibrated = json.loads(runner.invoke(app, ["translate", "--json", "I love you"]).stdout)["confidence"]
    expected = Calibration(kept["temperature"], kept["offset"]).confidences([math.log(value) for value in raw])
    assert calibrated == pytest.approx(expected, rel=0.01)
    assert calibrated != pytest.approx(raw, rel=0.01)
    (home / "runs" / "tiny" / "calibration.json").unlink()


def held_by(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    data: dict[str, Any] = json.loads(text.split('<script id="data" type="application/json">')[1].split("</script>")[0])
    return data


def test_eval_and_align_write_the_page_too(home: Path) -> None:
    assert runner.invoke(app, ["eval", "--alignments", "e.html", "-o", "e"]).exit_code == 0
    data = held_by(home / "e.html")
    report = json.loads((home / "e.json").read_text())
    assert data["head"]["model"] == "tiny"
    assert data["head"]["BLEU"] == f"{report['scores']['bleu']['value']:.2f}"
    assert len(data["sentences"]) == report["sentences"]
    assert all(sentence["reference"] for sentence in data["sentences"])
    result = runner.invoke(app, ["align", "--split", "test", "--alignments", "a.html"])
    assert result.exit_code == 0
    data = held_by(home / "a.html")
    links = [" ".join(f"{s}-{t}" for s, t in one["options"][0]["links"]) for one in data["sentences"]]
    assert links == result.stdout.splitlines()
    assert data["head"]["links"].startswith("level:words|")
    result = runner.invoke(app, ["eval", "--alignments", "e.json"])
    assert result.exit_code == 1
    assert "written as .html" in result.stderr
    result = runner.invoke(app, ["eval", "--alignments", "e.html", "--versus", "runs/tiny"])
    assert result.exit_code == 2


def test_links_are_written_as_tables_and_pictures_in_any_format(home: Path) -> None:
    (home / "s").write_text("The cat\nthe cat\n\n", encoding="utf-8")
    (home / "t").write_text("Le chat\nle chat\n\n", encoding="utf-8")
    align = ["align", "-m", "runs/tiny", "--src", "s", "--tgt", "t", "--set", "decoding.alignment_from=attention"]
    result = runner.invoke(app, [*align, "--alignments", "links.TSV", "--lexicon", "words.tsv"])
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in (home / "links.TSV").read_text(encoding="utf-8").splitlines()]
    assert rows[0] == ["line", "source", "target", "weight"]
    sides = {1: (["The", "cat"], ["Le", "chat"]), 2: (["the", "cat"], ["le", "chat"])}
    links = [[tuple(map(int, link.split("-"))) for link in line.split()] for line in result.stdout.splitlines()]
    linked = [(line, *pair) for line, found in enumerate(links, start=1) for pair in found]
    assert [row[:3] for row in rows[1:]] == [[str(at), sides[at][0][src], sides[at][1][tgt]] for at, src, tgt in linked]
    assert all(0.5 <= float(row[3]) <= 1 for row in rows[1:])  # the larger one of two
    lexicon = [line.split("\t") for line in (home / "words.tsv").read_text(encoding="utf-8").splitlines()]
    assert lexicon[0] == ["source", "target", "count", "of_source", "of_target", "line"]
    assert sum(int(row[2]) for row in lexicon[1:]) == len(linked)
    assert all(row[0] in ("the", "cat") and row[1] in ("le", "chat") for row in lexicon[1:])
    for name, begins in (("m.pdf", b"%PDF"), ("m.svg", b"<?xml"), ("m.PNG", b"\x89PNG")):
        assert runner.invoke(app, [*align, "--alignments", name]).exit_code == 0
        assert (home / name).read_bytes().startswith(begins)


def test_what_cannot_be_written_or_read_is_said_before_an_aligner_is_trained(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise AssertionError("an option is wrong, so nothing is worth training")

    monkeypatch.setattr("nmt.commands.align.self_aligner", fail)
    (home / "s").write_text("the cat\n", encoding="utf-8")
    align = ["align", "--src", "s", "--tgt", "s"]
    for options, message in (
        (["--alignments", "links.doc"], "alignments are written as .json"),
        (["--lexicon", "nowhere/words.tsv"], "there is no folder nowhere"),
        (["--gold", "missing"], "missing"),
    ):
        result = runner.invoke(app, [*align, *options])
        assert result.exit_code == 1, result.output
        assert message in result.stderr
