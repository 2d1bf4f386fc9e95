"""`nmt eval` and `nmt compare`: scores, the files that are written, and when they are refused."""

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import nmt
import nmt.commands.compare
from nmt.cli import app
from nmt.config.load import load_config
from nmt.evaluation.metrics import sentence_scores

runner = CliRunner()


def test_eval_prints_and_writes_scores_with_signatures(home: Path) -> None:
    result = runner.invoke(app, ["eval", "--beam", "1"])
    assert result.exit_code == 0, result.output
    for word in ("BLEU", "chrF2", "TER", "tok:13a", "loss", "ppl", "AER"):
        assert word in result.stdout
    report = json.loads((home / "runs/tiny/eval/test.json").read_text())
    assert report["beam_size"] == 1
    assert len((home / "runs/tiny/eval/test.hyp").read_text().splitlines()) == report["sentences"] == 1000


def test_eval_of_given_files_counts_empty_lines_too(home: Path) -> None:
    (home / "s").write_text("I love you\n\nthe cat\n")
    (home / "r").write_text("je t'aime\nrien\nle chat\n")
    result = runner.invoke(app, ["eval", "--src", "s", "--ref", "r", "-o", "given"])
    assert result.exit_code == 0, result.output
    assert (home / "given.hyp").read_text().split("\n")[1] == ""
    (home / "r").write_text("je t'aime\n")
    result = runner.invoke(app, ["eval", "--src", "s", "--ref", "r"])
    assert result.exit_code == 1
    assert "s has 3 lines and r has 1" in result.stderr


def test_eval_writes_a_row_for_every_sentence(home: Path) -> None:
    result = runner.invoke(app, ["eval", "--split", "valid", "-o", "scored"])
    assert "BLEU by source length: " in result.stdout
    rows = (home / "scored.tsv").read_text(encoding="utf-8").splitlines()
    report = json.loads((home / "scored.json").read_text(encoding="utf-8"))
    assert len(rows) == report["sentences"] + 1
    names = rows[0].split("\t")
    assert names[0] == "line"
    srcs, refs = ((home / "scored-texts" / f"valid.{side}") for side in ("en", "fr"))
    assert runner.invoke(app, ["export", "scored-texts", "--split", "valid"]).exit_code == 0
    hyps = (home / "scored.hyp").read_text(encoding="utf-8").splitlines()
    pairs = list(zip(srcs.read_text(encoding="utf-8").splitlines(), hyps, strict=True))
    expected = sentence_scores(hyps, refs.read_text(encoding="utf-8").splitlines())
    forced = nmt.load("runs/tiny")._loaded.translator.translate([src for src, _ in pairs[:20]])
    for row, score in zip(rows[1:], expected, strict=True):
        values = dict(zip(names, row.split("\t"), strict=True))
        assert (float(values["bleu"]), float(values["chrf"])) == pytest.approx(
            (score["bleu"], score["chrf"]), abs=0.006
        )
    for row, one in zip(rows[1:21], forced, strict=True):
        assert float(row.split("\t")[-1]) == pytest.approx(one.log_prob, abs=1e-3)
    assert len(report["by_length"]) == 4


def test_what_an_earlier_eval_wrote_stays_until_there_is_something_new(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (home / "kept.tsv").write_text("earlier", encoding="utf-8")
    (home / "kept.json").write_text('{"data": "valid"}', encoding="utf-8")
    monkeypatch.setattr("nmt.decoding.translator.Translator.translate", fail)
    assert runner.invoke(app, ["eval", "--split", "valid", "-o", "kept"]).exit_code == 130
    assert (home / "kept.tsv").read_text(encoding="utf-8") == "earlier"
    assert sorted(path.name for path in home.glob("*kept*")) == ["kept.json", "kept.tsv"]


def test_what_cannot_be_written_is_said_before_anything_is_translated(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("nothing can be written, so nothing is worth translating")

    monkeypatch.setattr("nmt.decoding.translator.Translator.translate", fail)
    (tmp_path / "file").write_text("in the way")
    (home / "runs" / "copy").mkdir(exist_ok=True)
    shutil.copytree(home / "runs" / "tiny", home / "runs" / "copy", dirs_exist_ok=True, symlinks=True)
    monkeypatch.setattr("nmt.commands.calibrate.probe_writable", os.rmdir)
    assert "not empty" in runner.invoke(app, ["calibrate"]).stderr
    blocked = home / "runs" / "copy" / "eval"
    shutil.rmtree(blocked, ignore_errors=True)
    blocked.write_text("in the way")
    result = runner.invoke(app, ["eval", "-m", "runs/tiny", "--versus", "runs/copy", "--split", "valid"])
    assert result.exit_code == 1
    assert "runs/copy/eval: File exists" in result.stderr
    shutil.rmtree(home / "runs" / "copy")


def test_metrics_that_cannot_be_compared_are_refused_and_columns_follow_the_others(home: Path) -> None:
    shutil.copytree(home / "runs" / "tiny", home / "runs" / "copy", symlinks=True)
    (home / "s").write_text("I love you\nthe cat\n", encoding="utf-8")
    (home / "r").write_text("je t'aime\nle chat\n", encoding="utf-8")
    command = ["eval", "--src", "s", "--ref", "r", "-o", "versus", "--versus", "runs/copy"]
    result = runner.invoke(app, [*command, "--set", "evaluation.metrics=[chrf]"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == "| system | chrF2 |"
    shutil.rmtree(home / "runs" / "copy")
    text = "base: tiny.yaml\nset: {evaluation.metrics: [chrf], name: y}\nvariants: {one: {}}\nname: unscored\n"
    (home / "unscored.yaml").write_text(text.replace(", name: y", ""), encoding="utf-8")
    refused = runner.invoke(app, ["compare", "-c", "unscored.yaml"])
    assert refused.exit_code == 1
    assert "variant 'one': a comparison shows BLEU" in refused.stderr
    assert not (home / "runs" / "unscored").exists()


def test_results_about_a_packed_file_are_named_without_its_suffix(home: Path) -> None:
    for name, text in (("packed.en.gz", "I love you\n"), ("packed.fr.gz", "je t'aime\n")):
        (home / name).write_bytes(gzip.compress(text.encode()))
    result = runner.invoke(app, ["eval", "--src", "packed.en.gz", "--ref", "packed.fr.gz"])
    assert result.exit_code == 0, result.output
    assert (home / "runs/tiny/eval/packed.en.hyp").exists()


def test_a_comparison_scores_each_variant_on_the_device_it_was_trained_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    real = nmt.commands.compare.load_model

    def load(folder: Path, **options: Any) -> Any:
        asked.append(options["overrides"])
        return real(folder, **options)

    monkeypatch.setattr("nmt.commands.compare.load_model", load)
    text = (
        "base: tiny.yaml\nname: machines\nsplit: valid\nset: {training.max_updates: 1, decoding.beam_size: 1,"
        " training.device: cpu, training.threads: 1}\nvariants: {one: {}}\n"
    )
    (home / "machines.yaml").write_text(text, encoding="utf-8")
    result = runner.invoke(app, ["compare", "-c", "machines.yaml"])
    assert result.exit_code == 0, result.output
    assert asked == [["training.device=cpu", "training.threads=1"]]


def test_compare_trains_each_variant_once_and_shows_them_side_by_side(home: Path) -> None:
    (home / "comparison.yaml").write_text(
        """
base: tiny.yaml
set: {training.max_updates: 2, training.tensorboard: false, decoding.beam_size: 1, decoding.max_length_ratio: 0.5}
sentences: [I love you, a cat]
split: valid
variants:
  none: {model.attention.score: none}
  general: {model.attention: {score: general}}
  transformer: {model: {embedding_size: 24, encoder: {type: linear}, decoder: {type: transformer, layers: 1}}}
""",
        encoding="utf-8",
    )
    first = runner.invoke(app, ["compare", "-c", "comparison.yaml"])
    assert first.exit_code == 0, first.output
    folder = home / "runs" / "comparison"
    table = (folder / "comparison.md").read_text(encoding="utf-8")
    assert first.stdout.strip() == table.strip()
    rows = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in rows] == ["none", "general", "transformer"]
    assert [row["updates"] for row in rows] == [2, 2, 2]
    assert [row["aer"] is None for row in rows] == [True, False, False]
    assert all(len(row["by_length"]) == 4 for row in rows)
    assert (folder / "matrices.png").stat().st_size > 1000
    assert (folder / "lengths.png").stat().st_size > 1000
    log = (folder / "general" / "train.log").read_text(encoding="utf-8")
    second = runner.invoke(app, ["compare", "-c", "comparison.yaml"])
    assert second.stdout == first.stdout
    assert (folder / "general" / "train.log").read_text(encoding="utf-8") == log  # nothing was trained again
    longer = runner.invoke(app, ["compare", "-c", "comparison.yaml", "--set", "training.max_updates=3"])
    assert longer.exit_code == 0, longer.output
    rows = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert [row["updates"] for row in rows] == [3, 3, 3]  # another budget: trained on and scored again
    text = (home / "comparison.yaml").read_text(encoding="utf-8")
    (home / "comparison.yaml").write_text(text.replace("score: general", "score: additive"), encoding="utf-8")
    refused = runner.invoke(app, ["compare", "-c", "comparison.yaml", "--set", "training.max_updates=3"])
    assert refused.exit_code == 1
    rows = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in rows] == ["none", "transformer"]  # what is known stays in the table


def test_targets_too_long_to_be_aligned_are_refused_before_anything_is_translated(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmt.decoding.translator.Translator.translate", lambda *_, **__: 1 / 0)
    result = runner.invoke(app, ["eval", "--split", "valid", "--set", "decoding.max_tgt_length=3", "-o", "long"])
    assert result.exit_code == 1
    assert "of the valid data has" in result.stderr
    assert "decoding.max_tgt_length = 3" in result.stderr


def test_several_references_are_scored_as_sacrebleu_scores_them(home: Path) -> None:
    from sacrebleu.metrics import BLEU

    hyps = [f"die Katze {n} schläft im Haus heute" for n in range(20)]
    refs = [
        [line.replace("schläft", "ruht") for line in hyps],
        [line.replace("heute", "jetzt") if n % 2 else line for n, line in enumerate(hyps)],
    ]
    for name, lines in (("h.txt", hyps), ("r1.txt", refs[0]), ("r2.txt", refs[1])):
        (home / name).write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    command = ["eval", "--hypotheses", "h.txt", "--ref", "r1.txt", "--ref", "r2.txt"]
    result = runner.invoke(app, command, catch_exceptions=False)
    assert "nrefs:2" in result.stdout
    row = next(line for line in result.stdout.splitlines() if line.startswith("| h.txt"))
    assert float(row.split("|")[2].split("±")[0]) == pytest.approx(BLEU().corpus_score(hyps, refs).score, abs=0.005)
    (home / "r2.txt").write_text("eine Zeile\n", encoding="utf-8")
    refused = runner.invoke(app, command)
    assert refused.exit_code == 1
    assert "r2.txt has 1 lines, but there are 20 references before it" in refused.stderr
    (home / "s2").write_text("I love you\nthe cat\n")
    for name in ("r3", "r4"):
        (home / name).write_text(f"je t'aime\nle chat {name}\n")
    result = runner.invoke(app, ["eval", "--src", "s2", "--ref", "r3", "--ref", "r4", "-o", "two"])
    assert result.exit_code == 0, result.output
    assert "nrefs:2" in result.stdout


def test_eval_says_how_many_terms_of_a_glossary_are_kept(home: Path) -> None:
    (home / "s3").write_text("I love you\nthe cat\nshe sings\n")
    (home / "r5").write_text("je t'aime\nle chat\nelle chante\n")
    (home / "terms.tsv").write_text("cat\tchat noir\nlove\t\tdéteste\n", encoding="utf-8")
    result = runner.invoke(app, ["eval", "--src", "s3", "--ref", "r5", "--glossary", "terms.tsv", "-o", "kept-terms"])
    assert "satisfied: 1 of 1 required phrases (100.0%), 1 of 1 forbidden phrases (100.0%)" in result.stdout
    assert "chat noir" in (home / "kept-terms.hyp").read_text(encoding="utf-8").splitlines()[1]
    assert json.loads((home / "kept-terms.json").read_text(encoding="utf-8"))["phrases"] == {"asked": 2, "satisfied": 2}


def test_another_test_set_of_the_same_name_does_not_replace_results(home: Path) -> None:
    for name in ("first", "second"):
        (home / f"{name}.en").write_text(f"I love you\nthe {name} cat\n", encoding="utf-8")
        (home / f"{name}.fr").write_text("je t'aime\nle chat\n", encoding="utf-8")
    command = ["eval", "-o", "mine", "--set"]
    test_sets = [f"data.test={{src: {name}.en, tgt: {name}.fr}}" for name in ("first", "second")]
    assert runner.invoke(app, [*command, test_sets[0]]).exit_code == 0
    assert json.loads((home / "mine.json").read_text())["data"] == "test: first.en | first.fr"
    refused = runner.invoke(app, [*command, test_sets[1]])
    assert refused.exit_code == 1, refused.output
    assert "mine.json holds the scores of test: first.en | first.fr" in refused.stderr


@pytest.mark.parametrize("suffix", [".tsv", ".hyp", ".png", ".json"])
def test_files_of_the_user_are_not_overwritten(home: Path, suffix: str) -> None:
    for name in ("a.en", "a.fr"):
        (home / name).write_text("I love you\n", encoding="utf-8")
    folder = home / f"own{suffix}"
    folder.mkdir()
    (folder / f"mine{suffix}").write_text("[1]", encoding="utf-8")
    refused = runner.invoke(app, ["eval", "--src", "a.en", "--ref", "a.fr", "-o", str(folder / "mine")])
    assert refused.exit_code == 1
    assert f"mine{suffix} already exists" in refused.stderr
    assert [path.name for path in folder.iterdir()] == [f"mine{suffix}"]


def test_a_finished_run_takes_settings_that_may_change(home: Path) -> None:
    shutil.copytree("runs/tiny", "others/tiny", symlinks=True)
    config = Path("others/tiny/config.yaml")
    trained = runner.invoke(app, ["train", str(config), "--set", "runs_dir=others", "--set", "decoding.beam_size=3"])
    assert "nothing to do" in trained.output
    assert load_config(config).decoding.beam_size == 3
