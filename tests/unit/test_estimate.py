"""How long a training takes."""

import pytest

from nmt.config import TrainingConfig
from nmt.training.estimate import duration_at


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
