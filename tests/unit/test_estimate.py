"""How long a training takes."""

from collections.abc import Callable
from typing import Any

import pytest

from nmt.config import Config, TrainingConfig
from nmt.training.estimate import duration_at, uncounted_rows


def test_one_slow_update_does_not_count_and_the_time_is_a_range() -> None:
    rates = [100.0, 100.0, 1.0, 100.0, 200.0, 50.0, 100.0, 100.0]
    found = duration_at(rates, 60_000.0, 100.0, TrainingConfig(epochs=3))
    assert found.tokens_per_second == 100.0
    low, high = found.epoch_minutes
    assert low == 10.0 <= high < 12.0
    assert found.total_minutes == pytest.approx((3 * low, 3 * high))


def test_limits_of_updates_and_minutes_are_kept() -> None:
    rates = [100.0] * 4
    assert duration_at(rates, 60_000.0, 100.0, TrainingConfig(max_updates=60)).total_minutes == (1.0, 1.0)
    assert duration_at(rates, 60_000.0, 100.0, TrainingConfig(max_minutes=5)).total_minutes == (5.0, 5.0)


def test_what_the_estimate_leaves_out_is_said(make_config: Callable[..., Config]) -> None:
    def left_out(**sections: Any) -> list[str]:
        return [text for _, text in uncounted_rows(make_config(**sections))]

    guided = {"guided_alignment": {"enabled": True}}
    assert left_out(training={"guided_alignment": {"enabled": False}}) == []
    [text] = left_out(training=guided)
    assert text.startswith("word links, made before the first update")
    assert text.endswith("and a word aligner after the last one")
    [text] = left_out(training=guided, decoding={"alignment_from": "attention"})
    assert "word aligner" not in text
    assert left_out(training={"guided_alignment": {"enabled": True, "links": "some.links"}}) == []
    assert left_out(training=guided, data={"train": "builtin:phrasebook"}) == []
