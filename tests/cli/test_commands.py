"""The commands as a person calls them: one training, then everything that can be asked of the model."""

import json
import shutil
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import nmt
import nmt.api
import nmt.errors
from nmt.cli import app
from nmt.data.lines import count_lines
from nmt.runs.load import load_model

runner = CliRunner()


def test_training_leaves_a_complete_run_folder(home: Path) -> None:
    run = home / "runs" / "tiny"
    for name in (
        "config.yaml",
        "tokenizer/joint.model",
        "metrics.jsonl",
        "train.log",
        "versions.json",
        "curve.png",
        "checkpoints/best/model.safetensors",
    ):
        assert (run / name).exists(), name
    assert list((run / "tensorboard").iterdir())
    log = (run / "train.log").read_text(encoding="utf-8")
    assert 'next: nmt translate -m runs/tiny "A sentence." and nmt eval -m runs/tiny\n' in log
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["update"] for record in records if "valid" in record] == [6, 12]
    shown = {"loss", "ppl", "bleu", "chrf", "attention_entropy", "source_coverage"} | {
        "aer",
        "link_precision",
        "link_recall",
    }
    assert set(records[-1]["valid"]) == shown


def test_a_dry_run_prints_sizes_and_trains_nothing(home: Path) -> None:
    result = runner.invoke(app, ["train", "-c", "tiny.yaml", "--set", "name=dry", "--dry-run"])
    assert result.exit_code == 0
    for word in (
        "training pairs",
        "dropped, too long",
        "vocabulary",
        "parameters",
        "batches per epoch",
        "estimated memory",
    ):
        assert word in result.stdout
    assert not (home / "runs" / "dry").exists()


def test_as_many_lines_out_as_in_in_order_whatever_they_hold() -> None:
    lines = [
        "the cat sleeps",
        "",
        "   ",
        "a\u2028b\x85c",
        "\x00\x1b[31m",
        "漢字 🎉👩‍👩‍👧",
        "x" * 5000,
        "I love you\r",
        "مرحبا",
        "the cat sleeps",
    ]
    data = "\n".join(lines).encode() + b"\nbad \xff byte\nlast"
    process = subprocess.run([sys.executable, "-m", "nmt", "translate"], input=data, capture_output=True, check=True)
    out = process.stdout.decode().split("\n")
    assert len(out) == len(lines) + 2 + 1
    assert out[1] == out[2] == out[-1] == ""
    assert out[0] == out[9] != ""
    talk = process.stderr.decode()
    assert "line 7 has" in talk
    assert "line 11 is not UTF-8" in talk


def test_an_empty_input_gives_an_empty_output(home: Path) -> None:
    (home / "empty").write_bytes(b"")
    assert runner.invoke(app, ["translate", "--input", "empty", "--output", "out"]).exit_code == 0
    assert (home / "out").read_bytes() == b""


def test_text_that_the_model_does_not_know_is_named_once(home: Path) -> None:
    (home / "strange").write_text("the cat\n" + "漢字 漢字 漢字\n" * 3000, encoding="utf-8")
    result = runner.invoke(app, ["translate", "-b", "1", "--input", "strange"])
    assert result.stderr.count("the model does not know") == 1
    assert "line 2 has '漢字'" in result.stderr


def test_arguments_that_are_something_else_are_pointed_out(home: Path) -> None:
    (home / "text.en").write_text("the cat\n", encoding="utf-8")
    assert "did you mean --input?" in runner.invoke(app, ["translate", "text.en"]).stderr
    assert "put a sentence in quotation marks" in runner.invoke(app, ["translate", "the", "cat"]).stderr
    assert runner.invoke(app, ["translate", "the cat", "a dog"]).stderr == ""


def test_the_bar_knows_the_number_of_lines_and_moves_with_each_batch(home: Path) -> None:
    (home / "lines").write_text("the cat\n\n" * 70, encoding="utf-8")
    assert count_lines(home / "lines") == 140
    moves: list[int] = []
    model = load_model(Path("runs/tiny"))
    model.translator.translate(["a cat", ""] * 70, done=moves.append)
    assert moves == [64, 6]


def test_json_has_scores_for_every_line() -> None:
    result = runner.invoke(app, ["translate", "--json", "I love you", "the cat"])
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["src"] for record in records] == ["I love you", "the cat"]
    assert all(record["log_prob"] <= record["score"] <= 0 for record in records)


def test_n_best_sampling_and_prefixes(home: Path) -> None:
    best = runner.invoke(app, ["translate", "--n-best", "2", "a cat", "a dog"]).stdout.splitlines()
    assert [line.split("\t")[0] for line in best] == ["1", "1", "2", "2"]
    assert float(best[0].split("\t")[1]) >= float(best[1].split("\t")[1])
    record = json.loads(runner.invoke(app, ["translate", "--json", "--n-best", "2", "a cat"]).stdout)
    assert len(record["others"]) == 1
    assert len(record["token_log_probs"]) == len(record["tgt_pieces"]) + 1
    assert sum(record["token_log_probs"]) == pytest.approx(record["log_prob"], abs=1e-5)
    one, two, other = (
        runner.invoke(app, ["translate", "--sample", "a cat", "--set", f"decoding.sampling.seed={seed}"]).stdout
        for seed in (1, 1, 2)
    )
    assert one == two != other
    assert runner.invoke(app, ["translate", "--prefix", "le chat", "a cat"]).stdout.startswith("le chat")


def test_n_best_gives_as_many_lines_for_every_line() -> None:
    short = [
        "--set",
        "decoding.max_length_ratio=0",
        "--set",
        "decoding.max_length_extra=1",
        "--set",
        "decoding.min_length=0",
    ]
    result = runner.invoke(app, ["translate", "--n-best", "3", *short, "a cat", "", "a dog"])
    lines = result.stdout.splitlines()
    assert [line.split("\t")[0] for line in lines] == [number for number in "123" for _ in range(3)]
    assert {line.count("\t") for line in lines} == {2}
    assert lines[1] == "1\t\t"  # only the empty translation fits
    assert lines[4:6] == ["2\t\t", "2\t\t"]


def test_score_gives_what_search_says(home: Path) -> None:
    found = json.loads(runner.invoke(app, ["translate", "--json", "the black cat sees me"]).stdout)
    (home / "s.en").write_text("the black cat sees me\nI love you\n", encoding="utf-8")
    (home / "s.fr").write_text(found["tgt"] + "\nje t'aime\n", encoding="utf-8")
    lines = runner.invoke(app, ["score", "--src", "s.en", "--tgt", "s.fr"]).stdout.splitlines()
    assert len(lines) == 2
    record = json.loads(
        runner.invoke(app, ["score", "--json", "--src", "s.en", "--tgt", "s.fr"]).stdout.splitlines()[0]
    )
    [forced] = nmt.load("runs/tiny")._loaded.translator.force([("the black cat sees me", found["tgt"])])
    assert record["tgt_pieces"] == forced.tgt.pieces
    assert record["log_prob"] == pytest.approx(forced.log_prob, abs=1e-5)
    assert float(lines[0].split("\t")[0]) == pytest.approx(record["log_prob"], abs=1e-5)


def test_checkpoints_are_averaged_and_models_translate_together(home: Path) -> None:
    result = runner.invoke(app, ["average", "--last", "2"])
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "runs/tiny/checkpoints/averaged"
    folder = home / "runs" / "tiny" / "checkpoints"
    parts = [load_file(folder / name / "model.safetensors") for name in ("step-000006", "step-000012", "averaged")]
    for name in parts[0]:
        torch.testing.assert_close((parts[0][name] + parts[1][name]) / 2, parts[2][name])
    assert runner.invoke(app, ["translate", "--checkpoint", "averaged", "a cat"]).exit_code == 0
    assert "the mean of 2 checkpoints: step-000012, step-000006" in runner.invoke(app, ["average"]).stderr
    assert "has kept 2 checkpoints that were validated, not 9" in runner.invoke(app, ["average", "--last", "9"]).stderr
    together = runner.invoke(app, ["translate", "-m", "runs/tiny", "-m", "runs/latest", "a cat", "--json"])
    alone = runner.invoke(app, ["translate", "a cat", "--json"])
    assert json.loads(together.stdout)["tgt"] == json.loads(alone.stdout)["tgt"]
    shutil.rmtree(folder / "averaged")  # other tests name the checkpoints that training left


def test_the_example_in_the_module_of_the_python_interface_runs(capsys: pytest.CaptureFixture[str]) -> None:
    example = textwrap.dedent((nmt.api.__doc__ or "").split("Example::\n", 1)[1])
    exec(compile(example, "example", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_from_python_as_from_the_command_line(home: Path) -> None:
    model = nmt.load("runs/tiny")
    lines = ["the black cat sees me", "", "I love you"]
    said = runner.invoke(app, ["translate", *lines]).stdout.split("\n")[:-1]
    assert [one.text for one in model.translate(lines)] == said
    assert model.translate(lines, beam=1)[0].text == runner.invoke(app, ["translate", "-b", "1", lines[0]]).stdout[:-1]
    pairs = [("a cat", "un chat"), ("", "rien")]
    assert [one.tgt.text for one in model.score(pairs)] == ["un chat", "rien"]
    matrix = model.align(pairs)[0]
    assert (matrix.src_tokens, matrix.tgt_tokens) == (["a", "cat"], ["un", "chat"])
    with pytest.raises(TypeError, match="list of lines"):
        model.translate("I love you")
    with pytest.raises(nmt.errors.CheckpointError):
        nmt.load("nowhere")


def test_threads_do_not_disturb_one_another(home: Path) -> None:
    model = nmt.load("runs/tiny")
    lines = [f"the {word} cat sees me" for word in ("black", "old", "small", "big")] * 3
    expected = [one.text for one in model.translate(lines)]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: [one.text for one in model.translate(lines)], range(8)):
            assert found == expected


def test_hypothesis_files_are_scored_and_compared_without_a_model(home: Path) -> None:
    refs = [f"le chat numéro {n} dort dans la maison" for n in range(30)]
    worse = [line.replace("dort", "mange") if n % 2 else line for n, line in enumerate(refs)]
    for name, lines in (("r", refs), ("a", worse), ("b", refs), ("c", worse)):
        (home / f"{name}.hyp").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    result = runner.invoke(
        app, ["eval", "--ref", "r.hyp", *(f"--hypotheses={name}.hyp" for name in "abc")], catch_exceptions=False
    )
    assert result.exit_code == 0, result.output
    rows = {line.split("|")[1].strip(): line for line in result.stdout.splitlines() if line.startswith("| ")}
    assert "p =" not in rows["a.hyp"]
    assert "100.00 ± 0.00 (p = 0.001)" in rows["b.hyp"]
    assert "p = 1.000" in rows["c.hyp"]
    bleu = [float(rows[f"{name}.hyp"].split("|")[2].split("±")[0]) for name in "abc"]
    mean, deviation = (float(part) for part in rows["mean ± standard deviation"].split("|")[2].split("±"))
    assert mean == pytest.approx(np.mean(bleu), abs=0.01)
    assert deviation == pytest.approx(np.std(bleu, ddof=1), abs=0.01)
    (home / "short.hyp").write_text("un chat\n", encoding="utf-8")
    refused = runner.invoke(app, ["eval", "--ref", "r.hyp", "--hypotheses", "short.hyp"])
    assert refused.exit_code == 1
    assert "short.hyp: 1 translations but 30 references" in refused.stderr


def test_phrases_can_be_required_and_forbidden(home: Path) -> None:
    free = runner.invoke(app, ["translate", "the cat", "she sings"]).stdout.splitlines()
    word = free[0].split()[0]
    command = ["translate", "--require", "chat noir", "--forbid", word, "the cat", "she sings"]
    result = runner.invoke(app, command, catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert all("chat noir" in line and word not in line.split() for line in lines)
    assert "satisfied: 2 of 2 required phrases (100.0%), 2 of 2 forbidden phrases (100.0%)" in result.stderr
    (home / "terms.txt").write_text("cat\tchat noir\n", encoding="utf-8")
    result = runner.invoke(app, ["translate", "--glossary", "terms.txt", "the cat", "she sings"])
    assert "chat noir" in result.stdout.splitlines()[0]
    assert result.stdout.splitlines()[1] == free[1]
    refused = runner.invoke(app, ["translate", "--require", "漢字", "the cat"])
    assert refused.exit_code == 1
    assert "line 1: the required phrase contains '漢字', which is not in the model's vocabulary" in refused.stderr
    for options in (["--sample", "--require", "chat"], ["--sample", "--glossary", "terms.txt"], ["--jsonl"]):
        refused = runner.invoke(app, ["translate", *options, "the cat"])
        assert refused.exit_code == 2
        assert "has no effect here" in refused.stderr


def test_json_lines_bring_their_own_wishes_and_names(home: Path) -> None:
    lines = [
        {"src": "the cat", "id": "first", "require": ["chat noir"]},
        {"src": "she sings", "prefix": "elle ", "forbid": ["chat"]},
        {"src": ""},
    ]
    given = "".join(json.dumps(line) + "\n" for line in lines)
    result = runner.invoke(app, ["translate", "--jsonl"], input=given, catch_exceptions=False)
    first, second, third = (json.loads(line) for line in result.stdout.splitlines())
    assert first["id"] == "first"
    [phrase] = first["phrases"]
    start, end = phrase["span"]
    assert (phrase["phrase"], phrase["required"], phrase["satisfied"]) == ("chat noir", True, True)
    assert first["tgt"][start:end] == "chat noir"
    assert [first["words"][at] for at in phrase["words"]] == ["chat", "noir"]
    assert set(phrase["src_words"]) <= {"the", "cat"}
    assert "id" not in second
    assert second["tgt"].startswith("elle ")
    assert third["tgt"] == ""
    refused = runner.invoke(app, ["translate", "--jsonl"], input=given + "the cat\n")
    assert refused.exit_code == 1
    assert "line 4: " in refused.stderr
