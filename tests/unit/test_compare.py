"""What a comparison keeps of a variant, and when it is scored again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.commands.compare import _minutes, _settings
from nmt.config import Comparison, Config
from nmt.config.load import load_comparison
from nmt.errors import ConfigError
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
