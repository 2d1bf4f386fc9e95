"""The doctor's report on a whole configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nmt.commands.doctor import run_doctor, write_training_data
from nmt.config import Config
from nmt.data.prepare import load_corpora
from nmt.errors import TokenizerError
from nmt.training.estimate import measure_duration
from nmt.training.trainer import Trainer
from tests.conftest import SENTENCES


def test_the_report_has_sizes_time_and_the_tokenizer_of_bleu(make_config: Callable[..., Config]) -> None:
    report = "\n".join(run_doctor(make_config(training={"epochs": 30})))
    assert "train: 8 pairs, 40 source" in report
    rows = dict(line.strip().rsplit("   ", 1) for line in report.splitlines() if "   " in line.strip())
    rows = {name.strip(): value.strip() for name, value in rows.items()}
    assert rows["BLEU tokenizer"] == "13a"
    assert rows["feasible tokenizer.vocab_size"].endswith("by sentencepiece; it is 120")
    assert "target tokens/s, over " in rows["training rate here"]
    assert rows["estimated time"].endswith("in all, validation aside")
    assert "more than" not in "".join(name for name in rows if name.startswith("longer side"))


def test_the_time_is_that_of_sampled_pieces_and_of_guided_attention(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    class Watched(Trainer):
        def __init__(self, *arguments: Any):
            asked.append(arguments[6])
            super().__init__(*arguments)

    found: list[float] = []
    monkeypatch.setattr("nmt.training.estimate.Trainer", Watched)
    monkeypatch.setattr("nmt.training.estimate.duration_at", lambda rates, epoch, *_: found.append(epoch))
    for enabled in (False, True):
        sampling = {"sampling": {"enabled": True, "alpha": 0.9}} if enabled else {}
        training = {"epochs": 30, "guided_alignment": {"enabled": True}}
        config = make_config(training=training, tokenizer={"vocab_size": 120, **sampling})
        measure_duration(config, load_corpora(config, with_guide=False))
    assert found[1] > 1.1 * found[0]  # with merges dropped there are more pieces
    assert asked == ["cross_entropy", "cross_entropy"]


def test_exchanged_sides_and_tokenised_text_are_reported(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config(training={"epochs": 30})
    for name, side in (("en", 1), ("fr", 0)):
        (tmp_path / f"valid.{name}").write_text("".join(pair[side] + "\n" for pair in SENTENCES), encoding="utf-8")
    (tmp_path / "train.fr").write_text("".join(pair[1] + " .\n" for pair in SENTENCES), encoding="utf-8")
    report = "\n".join(run_doctor(config))
    assert "source and target seem swapped" in report
    assert "the target is tokenised already" in report
    assert "set evaluation.bleu_tokenize=none" in report


def test_a_script_that_13a_cannot_split_is_reported(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config(training={"epochs": 1})
    (tmp_path / "valid.fr").write_text("这是一只黑色的猫\n" * len(SENTENCES), encoding="utf-8")
    report = "\n".join(run_doctor(config))
    assert "zh, since 13a cannot split the targets' script" in report
    assert "training is over before its rate can be measured" in report


def test_a_corpus_of_blank_lines_is_a_message(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config()
    for side in ("en", "fr"):
        (tmp_path / f"train.{side}").write_text(" \n\n", encoding="utf-8")
    with pytest.raises(TokenizerError, match="sentencepiece could not be trained"):
        list(run_doctor(config))


def test_sides_in_one_language_are_written_to_two_files(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config(data={"src_lang": "en", "tgt_lang": "en", "filters": ["markup"]})
    list(write_training_data(config, tmp_path / "out"))
    src, tgt = ((tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("train.src", "train.tgt"))
    assert list(zip(src.splitlines(), tgt.splitlines(), strict=True)) == SENTENCES
