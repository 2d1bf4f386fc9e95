"""Training on two text files without links: guided by a word aligner, read by a word aligner."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nmt
from nmt.cli.app import app
from nmt.commands import score
from nmt.config import Source
from nmt.config.load import load_config
from nmt.data.prepare import load_corpora
from nmt.runs.load import load_model
from nmt.training import link_network, word_aligner

CONFIG = """
data:
  train: {src: t.en, tgt: t.fr}
  valid: {src: t.en, tgt: t.fr}
  cache_dir: cache
tokenizer: {vocab_size: 100}
model: {embedding_size: 16, encoder: {hidden_size: 8}, decoder: {hidden_size: 16}, attention: {size: 8}}
training: {max_updates: 4, batch_size: 300, threads: 1, tensorboard: false, validation: {sentences: 2}}
"""
runner = CliRunner()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(link_network, "_FEWEST_UPDATES", 1)
    monkeypatch.setattr(link_network, "_EPOCHS", 1)
    nouns = [("cat", "chat"), ("dog", "chien"), ("house", "maison"), ("bird", "oiseau"), ("horse", "cheval")]
    verbs = [("sees", "voit"), ("likes", "aime"), ("follows", "suit")]
    rows = [(f"the {a[0]} {v[0]} a {b[0]}", f"le {a[1]} {v[1]} un {b[1]}") for a in nouns for b in nouns for v in verbs]
    for side, name in enumerate(("t.en", "t.fr")):
        (tmp_path / name).write_text("".join(row[side] + "\n" for row in rows), encoding="utf-8")
    (tmp_path / "my.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def test_a_run_without_links_makes_them_and_carries_its_aligner(folder: Path) -> None:
    trained = runner.invoke(app, ["train", "-c", "my.yaml"])
    assert trained.exit_code == 0, trained.output
    log = (folder / "runs" / "my" / "train.log").read_text()
    assert "guided by links of a word aligner of the training text: 75 pairs" in log
    model = nmt.load("runs/my")
    [matrix] = model.align([("the dog sees a horse", "le chien voit un cheval")])
    assert matrix.read_from == "aligner"
    assert matrix.links() == [(i, i) for i in range(5)]
    attention = nmt.load("runs/my", overrides=["decoding.alignment_from=attention"])
    [other] = attention.align([("the dog sees a horse", "le chien voit un cheval")])
    assert other.read_from == "attention"
    assert other.null is None
    shown = runner.invoke(app, ["translate", "--json", "the dog"])
    assert "null" in json.loads(shown.stdout)["alignment"]


def test_the_second_run_takes_all_from_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.invoke(app, ["train", "-c", "my.yaml"]).exit_code == 0

    def fail(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(nmt.alignment.bitext.BitextAligner, "fit", fail)  # type: ignore[attr-defined]
    monkeypatch.setattr(word_aligner, "train_link_network", fail)
    again = runner.invoke(app, ["train", "-c", "my.yaml", "--set", "name=other"])
    assert again.exit_code == 0, again.output
    first, second = (
        {path.name: path.read_bytes() for path in (folder / "runs" / name / "aligner").iterdir()}
        for name in ("my", "other")
    )
    assert first == second


def test_a_run_that_was_killed_before_its_aligner_was_there_gets_it(folder: Path) -> None:
    assert runner.invoke(app, ["train", "-c", "my.yaml"]).exit_code == 0
    shutil.rmtree(folder / "runs" / "my" / "aligner")
    again = runner.invoke(app, ["train", "-c", "my.yaml"])
    assert again.exit_code == 0
    assert "nothing to do" in again.stderr
    assert (folder / "runs" / "my" / "aligner" / "network.safetensors").exists()


def test_a_run_that_reads_its_attention_keeps_no_aligner(folder: Path) -> None:
    reads = ["--set", "decoding.alignment_from=attention", "--set", "name=plain"]
    assert runner.invoke(app, ["train", "-c", "my.yaml", *reads]).exit_code == 0
    assert not (folder / "runs" / "plain" / "aligner").exists()


def test_without_guidance_there_is_only_the_attention(folder: Path) -> None:
    off = ["--set", "training.guided_alignment.enabled=false"]
    assert runner.invoke(app, ["train", "-c", "my.yaml", *off]).exit_code == 0
    assert not (folder / "runs" / "my" / "aligner").exists()
    refused = runner.invoke(app, ["translate", "a", "--set", "decoding.alignment_from=aligner"])
    assert refused.exit_code == 1
    assert "has no word aligner" in refused.stderr


def test_two_files_are_aligned_from_themselves(folder: Path) -> None:
    (folder / "gold").write_text("0-0 1-1 2-2 3-3 4-4\n" * 75)
    command = ["align", "--src", "t.en", "--tgt", "t.fr", "--cache-dir", "cache"]
    found = runner.invoke(app, [*command, "--gold", "gold", "--alignments", "a.json"])
    assert found.exit_code == 0, found.output
    assert found.stdout.splitlines() == ["0-0 1-1 2-2 3-3 4-4"] * 75
    assert "AER 0.0000   level:words|from:aligner|links:likely" in found.stderr
    assert "75 pairs  375 links  certainty 0." in found.stderr
    matrices = nmt.alignment.files.read_alignments(folder / "a.json")  # type: ignore[attr-defined]
    assert len(matrices) == 75
    assert matrices[0].null is not None
    for option in (["--backward", "runs/x"], ["--checkpoint", "best"], ["--set", "seed=2"]):
        refused = runner.invoke(app, [*command, *option])
        assert refused.exit_code == 2
        assert "no effect" in refused.stderr


def test_agreement_does_not_depend_on_how_many_pairs_are_read_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gold").write_text("0-0 1-1 2-2 3-3 4-4\n" + "\n" * 74)  # the other pairs have no gold links
    assert runner.invoke(app, ["train", "-c", "my.yaml", "--set", "data.valid.links=gold"]).exit_code == 0
    found = set()
    for size in (10, 75):
        monkeypatch.setattr("nmt.commands.align._CHUNK", size)
        result = runner.invoke(app, ["align", "--split", "valid", "-m", "runs/my"])
        assert result.exit_code == 0, result.output
        found.add(next(line for line in result.stderr.splitlines() if "AER" in line))
    assert len(found) == 1


def test_eval_scores_the_alignments_that_align_prints(folder: Path) -> None:
    (folder / "gold").write_text("\n" * 73 + "0-0 1-1 2-2 3-3 4-4\n0-4\n")  # pairs without gold links do not count
    assert runner.invoke(app, ["train", "-c", "my.yaml", "--set", "data.valid.links=gold"]).exit_code == 0
    for source in ("aligner", "attention"):
        options = ["--split", "valid", "-m", "runs/my", "--set", f"decoding.alignment_from={source}"]
        scored = runner.invoke(app, ["eval", *options]).stdout
        aligned = runner.invoke(app, ["align", *options]).stderr
        found = re.search(r"^AER +([\d.]+) .* from:(\w+)$", scored, re.MULTILINE)
        assert found is not None, scored
        assert found[2] == source
        assert f"AER {found[1]}   " in aligned
    lines = [json.loads(line) for line in (folder / "runs" / "my" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["valid"]["aer"] == pytest.approx(float(found[1]), abs=1e-4)


def test_words_are_printed_as_links_count_them(folder: Path) -> None:
    (folder / "x").write_text("je t'aime.\n\nHello, world!\n", encoding="utf-8")
    assert runner.invoke(app, ["words", "x"]).stdout == "je t' aime .\n\nHello , world !\n"


def test_links_between_tokens_guide_other_pieces_than_links_between_words(folder: Path) -> None:
    (folder / "t.en").write_text("the cat 's tail\n" * 8)
    (folder / "t.fr").write_text("der Schwanz der Katze\n" * 8)
    (folder / "links").write_text("3-1\n" * 8)  # of tokens: tail is Schwanz; of words, 3 is the s of 's
    targets = {}
    for level in ("words", "tokens"):
        guided = f"training.guided_alignment={{links: links, level: {level}}}"
        config = load_config(folder / "my.yaml", [guided, "tokenizer={type: word, vocab_size: 11}"])
        corpora = load_corpora(config)
        batch = corpora.train.batch([0])
        assert batch.guide is not None
        source = corpora.tokenizer.decode_src(batch.src_ids[0].tolist()).pieces
        targets[level] = {source[s] for _, _, s in batch.guide.nonzero().tolist()}
    assert targets == {"words": {"▁'s"}, "tokens": {"▁tail"}}


def test_gold_links_of_the_validation_split_give_curves(folder: Path) -> None:
    (folder / "gold").write_text("0-0 1-1 2-2 3-3 4-4\n" + "\n" * 74)
    assert runner.invoke(app, ["train", "-c", "my.yaml", "--set", "data.valid.links=gold"]).exit_code == 0
    lines = [json.loads(line) for line in (folder / "runs" / "my" / "metrics.jsonl").read_text().splitlines()]
    validations = [line["valid"] for line in lines if "valid" in line]
    assert validations
    assert all(0.0 <= line[key] <= 1.0 for line in validations for key in ("aer", "link_precision", "link_recall"))


def test_scores_and_links_come_before_all_pairs_are_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.invoke(app, ["train", "-c", "my.yaml"]).exit_code == 0
    monkeypatch.setattr(score, "_CHUNK", 10)
    read = 0

    def counted(*_: object) -> Iterator[tuple[str, str, str]]:
        nonlocal read
        for _ in range(100):
            read += 1
            yield "the cat", "le chat", ""

    monkeypatch.setattr(score, "read_pairs", counted)
    lines = score.run_score(load_model(Path("runs/my")), Source(src="t.en", tgt="t.fr"), "test", as_json=False)
    next(lines)
    assert read == 10
    assert sum(1 for _ in lines) == 99


def test_the_guided_head_of_a_transformer_learns_the_links(folder: Path) -> None:
    config = (
        (folder / "my.yaml")
        .read_text()
        .replace(
            "model: {embedding_size: 16, encoder: {hidden_size: 8}, decoder: {hidden_size: 16}, attention: {size: 8}}",
            "model: {embedding_size: 32, encoder: {type: self_attention}, decoder: {type: transformer}}",
        )
    )
    (folder / "stack.yaml").write_text(
        config.replace("max_updates: 4", "epochs: 30, optimizer: {lr: 3e-3}, guided_alignment: {weight: 3.0}")
    )
    trained = runner.invoke(app, ["train", "-c", "stack.yaml", "--set", "decoding.alignment_from=attention"])
    assert trained.exit_code == 0, trained.output
    [matrix] = nmt.load("runs/stack").align([("the dog sees a horse", "le chien voit un cheval")])
    assert matrix.read_from == "layer 1 of 2, head 1"
    assert matrix.links() == [(i, i) for i in range(5)]
