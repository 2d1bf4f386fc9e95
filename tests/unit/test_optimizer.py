import logging
import math

import pytest
import torch

from nmt.config import OptimizerConfig, ScheduleConfig, TeacherForcingConfig
from nmt.training.optimizer import Schedule, build_optimizer, teacher_forcing_ratio


def rates(config: ScheduleConfig, updates: list[int]) -> list[float]:
    schedule = Schedule(config, 1.0)
    return [schedule.lr(update) for update in updates]


def test_constant_with_warmup() -> None:
    assert rates(ScheduleConfig(warmup=4), [1, 2, 4, 5, 99]) == [0.25, 0.5, 1.0, 1.0, 1.0]


def test_inverse_sqrt_peaks_at_warmup() -> None:
    assert rates(ScheduleConfig(type="inverse_sqrt", warmup=100), [50, 100, 400]) == pytest.approx([0.5, 1.0, 0.5])


def test_cosine_ends_at_the_floor_and_stays() -> None:
    config = ScheduleConfig(type="cosine", warmup=10, total=110, min_factor=0.2)
    assert rates(config, [10, 60, 110, 500]) == pytest.approx([1.0, 0.6, 0.2, 0.2])


def test_cosine_without_a_total_ends_with_the_run() -> None:
    schedule, resumed = (Schedule(ScheduleConfig(type="cosine", warmup=10, min_factor=0.2), 1.0) for _ in range(2))
    schedule.ends_at(110)
    schedule.ends_at(500)  # a later call, of a longer run, changes nothing
    resumed.load_state_dict(schedule.state_dict())
    resumed.ends_at(500)
    for one in (schedule, resumed):
        assert [one.lr(update) for update in (10, 60, 110, 500)] == pytest.approx([1.0, 0.6, 0.2, 0.2])
    short = Schedule(ScheduleConfig(type="cosine", warmup=10), 1.0)
    short.ends_at(5)
    assert short.lr(5) == 0.5


@pytest.mark.parametrize(("metric", "good", "bad"), [("ppl", 5.0, 6.0), ("bleu", 30.0, 20.0)])
def test_plateau_waits_for_patience_then_halves(metric: str, good: float, bad: float) -> None:
    schedule = Schedule(ScheduleConfig(type="plateau", metric=metric, patience=1, factor=0.5, min_factor=0.25), 1.0)  # type: ignore[arg-type]
    seen = []
    for value in [good, bad, bad, bad, bad, bad, bad]:
        schedule.observe({metric: value})
        seen.append(schedule.lr(10))
    assert seen == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_a_plateau_during_warm_up_lowers_the_rate_at_once() -> None:
    schedule = Schedule(ScheduleConfig(type="plateau", warmup=10, patience=0, factor=0.5), 1.0)
    for value in (5.0, 6.0):
        schedule.observe({"ppl": value})
    assert [schedule.lr(update) for update in (5, 9, 10, 11)] == [0.25, 0.45, 0.5, 0.5]


def test_a_schedule_goes_on_where_it_was() -> None:
    config = ScheduleConfig(type="plateau", patience=1)
    one, other = Schedule(config, 1.0), Schedule(config, 1.0)
    for value in (5.0, 6.0):
        one.observe({"ppl": value})
    other.load_state_dict(one.state_dict())
    one.observe({"ppl": 7.0}), other.observe({"ppl": 7.0})
    assert one.lr(3) == other.lr(3) == 0.5


def test_teacher_forcing_ratios() -> None:
    assert teacher_forcing_ratio(TeacherForcingConfig(start=0.7), 10**6) == 0.7
    linear = TeacherForcingConfig(schedule="linear", start=1.0, end=0.5, updates=10)
    assert [teacher_forcing_ratio(linear, update) for update in (1, 6, 11, 99)] == [1.0, 0.75, 0.5, 0.5]
    sigmoid = TeacherForcingConfig(schedule="inverse_sigmoid", start=1.0, end=0.0, updates=20)
    values = [teacher_forcing_ratio(sigmoid, update) for update in range(1, 400)]
    assert values[0] == 1.0
    assert values == sorted(values, reverse=True)
    assert values[40] == pytest.approx(21 / (20 + math.exp(2)))
    assert teacher_forcing_ratio(sigmoid, 10**9) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimisers_descend(name: str) -> None:
    parameter = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    optimizer = build_optimizer(OptimizerConfig(name=name, lr=0.1), [parameter])  # type: ignore[arg-type]
    for _ in range(200):
        optimizer.zero_grad()
        parameter.square().sum().backward()
        optimizer.step()
    assert float(parameter.detach().abs().max()) < 0.1


def test_a_run_with_other_epochs_says_that_its_schedule_ends_as_before(caplog: pytest.LogCaptureFixture) -> None:
    config = ScheduleConfig(type="cosine", warmup=10)
    schedule = Schedule(config, 1.0)
    schedule.ends_at(1000)
    resumed = Schedule(config, 1.0)
    resumed.load_state_dict(schedule.state_dict())
    with caplog.at_level(logging.WARNING, logger="nmt"):
        resumed.ends_at(1010)
        assert not caplog.records
        for _ in range(2):
            resumed.ends_at(700)
    [record] = caplog.records
    assert record.getMessage() == (
        "the cosine schedule ends at update 1000, as when the run began; this training ends at update 700"
    )
    assert resumed.lr(1000) == schedule.lr(1000)
