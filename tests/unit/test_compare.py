"""What a comparison keeps of a variant, and when it is scored again."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nmt.commands.compare import _first_sentences, _minutes, _note_guidance, _settings
from nmt.config import Comparison, Config
from nmt.config.load import load_comparison
from nmt.errors import ConfigError
from nmt.evaluation.comparison import RunResult, comparison_csv, comparison_table, mean_by_length
from nmt.evaluation.metrics import LengthScore
from tests.config_files import GOOD, write


def test_a_variant_is_scored_again_after_its_data_has_changed(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    comparison = Comparison(name="c", base="b.yaml", variants={"a": {}}, split="valid")
    config = make_config()
    before = _settings(comparison, config)
    assert _settings(comparison, config) == before
    assert _settings(comparison, make_config(training={"log_every": 7})) == before
    for split in ("train", "valid"):
        path = tmp_path / f"{split}.fr"
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("chat", "chien"), encoding="utf-8")
        assert _settings(comparison, config) != before
        path.write_text(text, encoding="utf-8")
    assert _settings(comparison, config) == before


def test_the_minutes_are_those_of_all_updates() -> None:
    logged = [{"update": at, "tgt_tokens": 6000, "tokens_per_second": 100.0} for at in (50, 100)]
    assert _minutes(logged) == pytest.approx(2.0)
    assert _minutes([*logged, {"update": 125, "loss": 1.0}]) == pytest.approx(2.5)
    assert _minutes([{"update": 20, "loss": 1.0}]) == 0.0


def test_all_wrong_variants_are_named(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    comparison = tmp_path / "compare.yaml"
    comparison.write_text("base: my-run.yaml\nvariants:\n  a: {seeed: 1}\n  b: {training.epoch: 2}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"variant 'a'(.|\n)*variant 'b'(.|\n)*'epochs'"):
        load_comparison(comparison)


def test_a_comparison_names_the_variant_that_is_wrong(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    comparison = tmp_path / "compare.yaml"
    variants = "variants:\n  a: {}\n  b: {model.attention.score: dto}\n"
    comparison.write_text("base: my-run.yaml\n" + variants, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"variant 'b'(.|\n)*--set model\.attention\.score: 'dto' is not one of"):
        load_comparison(comparison)
    comparison.write_text("base: my-run.yaml\nset: {seed: 7}\n" + variants.replace("dto", "dot"), encoding="utf-8")
    loaded, configs = load_comparison(comparison, ["training.epochs=2"])
    assert loaded.name == "compare"
    assert [config.seed for config in configs.values()] == [7, 7]
    assert configs["b"].model.attention.score == "dot"
    assert configs["b"].run_dir == Path("runs/compare/b")
    assert configs["a"].training.epochs == 2
    with pytest.raises(ConfigError, match="--set name: variants are named in the comparison"):
        load_comparison(comparison, ["name=other"])
    named = "base: my-run.yaml\nset: {name: x}\nvariants: {a: {}, b: {runs_dir: y}}\n"
    comparison.write_text(named, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"variant 'a': name is that of(.|\n)*variant 'b': runs_dir is that of"):
        load_comparison(comparison)
    comparison.write_text("base: my-run.yaml\nvariant: {}\nvariants: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"variant: unknown key; did you mean 'variants'"):
        load_comparison(comparison)


def run_of(name: str, bleu: float, **values: Any) -> RunResult:
    lengths = [LengthScore(1, 9, bleu - 1, 2.0), LengthScore(10, 20, bleu + 1, 2.0)]
    numbers: dict[str, Any] = {"parameters": 1000, "updates": 50, "tokens_per_second": 10.0, "minutes": 1.5, "ppl": 4.0}
    numbers |= {"bleu": bleu, "bleu_margin": 0.5, "signature": "s", "aer": None, "sentences_per_second": 7.0}
    return RunResult(name=name, by_length=lengths, **numbers | values)


def test_several_seeds_are_shown_by_mean_and_standard_deviation() -> None:
    runs = [run_of(f"a-{seed}", bleu, aer=aer) for seed, bleu, aer in ((1, 30.0, 0.1), (2, 32.0, 0.3))]
    table = comparison_table({"a": runs, "b": [run_of("b-1", 20.0), run_of("b-2", 20.0)]})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()[2:4]]
    assert cells[0][:6] == ["a", "1,000", "50", "1.5", "10", "4.00 ± 0.00"]
    assert cells[0][6:] == ["31.00 ± 1.41", "32.00 ± 1.41", "0.200 ± 0.141", "7"]
    assert cells[1][6:9] == ["20.00 ± 0.00", "21.00 ± 0.00", ""]
    assert table.endswith("± is the standard deviation over 2 seeds.")
    alone = comparison_table({"a": runs[:1]})
    assert "| 30.00 ± 0.50 | 31.00 | 0.100 |" in alone
    assert alone.endswith("± is half the 95 % interval (bootstrap).")
    assert [(one.bleu, one.margin) for one in mean_by_length(runs)] == [(30.0, None), (32.0, None)]
    assert mean_by_length(runs[:1]) == runs[0].by_length
    rows = comparison_csv({"a": runs}).splitlines()
    assert rows[0].startswith("variant,run,parameters,updates")
    assert rows[2] == "a,a-2,1000,50,1.5,10.0,4.0,32.0,0.5,0.3,7.0"


def test_each_variant_has_a_run_for_each_seed(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    comparison = tmp_path / "compare.yaml"
    text = "base: my-run.yaml\nseeds: [3, 5]\nvariants: {a: {}, b: {model.attention.score: dot}}\n"
    comparison.write_text(text, encoding="utf-8")
    loaded, configs = load_comparison(comparison)
    assert loaded.runs == {"a": ["a-3", "a-5"], "b": ["b-3", "b-5"]}
    assert {name: (config.name, config.seed) for name, config in configs.items()} == {
        f"{variant}-{seed}": (f"{variant}-{seed}", seed) for variant in "ab" for seed in (3, 5)
    }
    with pytest.raises(ConfigError, match="--set seed: the comparison has seeds"):
        load_comparison(comparison, ["seed=7"])
    for wrong, message in (
        (text.replace("[3, 5]", "[3, 3]"), "a seed occurs twice in seeds"),
        (text.replace("a: {}", "a: {seed: 7}"), "seeds has the seeds of all variants, so take seed out of a"),
        (text + "set: {seed: 7}\n", "seeds has the seeds of all variants, so take seed out of set"),
    ):
        comparison.write_text(wrong, encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_comparison(comparison)


def test_a_configuration_of_one_run_is_no_comparison(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    with pytest.raises(ConfigError, match=r"does not describe a comparison(.|\n)*nmt eval -m RUN --versus RUN"):
        load_comparison(path)


def test_guided_variants_are_named_and_different_steps_are_warned_of(
    make_config: Callable[..., Config], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "nmt")
    plain, guided = (make_config(training={"guided_alignment": {"enabled": enabled}}) for enabled in (False, True))
    _note_guidance({"a": plain})
    assert caplog.text == ""
    _note_guidance({"a": plain, "b": guided})
    assert "word links guide the attention of 1 of 2 runs" in caplog.text
    at_input = make_config(training={"guided_alignment": {"enabled": True, "step": "input"}})
    assert "different steps" not in caplog.text
    _note_guidance({"a": at_input, "b": guided})
    assert "the runs are guided at different steps (input, predicts)" in caplog.text


def test_the_first_short_sentences_of_the_split_are_drawn(make_config: Callable[..., Config], tmp_path: Path) -> None:
    for side in ("en", "fr"):
        (tmp_path / f"valid.{side}").write_text(f"{'long ' * 21}\n\na\nb\nc\nd\n", encoding="utf-8")
    comparison = Comparison(name="c", base="b.yaml", variants={"a": {}}, split="valid")
    assert _first_sentences(comparison, {"a": make_config()}) == ["a", "b", "c"]
    tagged = make_config(data={"valid": {"src": "valid.en", "tgt": "valid.fr", "tag": "<2fr>"}})
    assert _first_sentences(comparison, {"a": tagged}) == ["<2fr> a", "<2fr> b", "<2fr> c"]
