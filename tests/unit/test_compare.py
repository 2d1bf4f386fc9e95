"""What a comparison keeps of a variant, and when it is scored again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.commands.compare import _minutes, _settings
from nmt.config import Comparison, Config


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
