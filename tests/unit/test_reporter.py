"""What a person sees of a training run."""

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from nmt.config import TrainingConfig
from nmt.training import reporter as module
from nmt.training.curve import draw_curve
from nmt.training.reporter import Reporter, duration_text, readable
from nmt.training.trainer import Update


def update(number: int, epoch: int = 1, position: int = 1, nll: float = 2.0) -> Update:
    return Update(number, epoch, position, 10, nll, nll, 40, 50, 1e-3, 1.0, 1.0)


def reporter(tmp_path: Path, tensorboard: bool = False, **training: Any) -> Reporter:
    settings = TrainingConfig(**{"epochs": 3, "log_every": 1} | training)
    return Reporter(
        metrics=tmp_path / "metrics.jsonl",
        curve=tmp_path / "curve.png",
        tensorboard=tmp_path / "tensorboard" if tensorboard else None,
        training=settings,
        vocabulary=100,
        updates_done=0,
        seconds_done=0.0,
        best=None,
        window={},
    )


@pytest.mark.parametrize(
    ("training", "at", "seconds"),
    [
        ({}, update(4, position=4), 26.0),  # three epochs of ten updates, a second each
        ({}, update(25, epoch=3, position=5), 5.0),
        ({}, update(30, epoch=3, position=10), 0.0),
        ({"max_updates": 12}, update(4, position=4), 8.0),
        ({"max_minutes": 0.15}, update(4, position=4), 5.0),
    ],
)
def test_the_time_left_is_that_of_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, training: dict[str, Any], at: Update, seconds: float
) -> None:
    with reporter(tmp_path, **training) as said:
        now = said._started + at.number
        said._updates = at.number
        monkeypatch.setattr(module.time, "perf_counter", lambda: now)
        assert said.seconds_left(at) == pytest.approx(seconds)


def test_log_lines_say_epoch_update_rate_and_time_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with reporter(tmp_path) as said:
        said.update(update(4, position=4))
    assert "epoch 1 of 3, update 4 (4 of 10): loss 2.000, ppl 7.39, lr 1.00e-03, " in caplog.text
    assert " tokens/s, at most " in caplog.text
    assert caplog.text.rstrip().endswith(" left")


def test_rate_and_time_left_have_room_in_80_columns() -> None:
    postfix = "ppl 123.45, 12,345 tokens/s, 10 h 20 min left"
    text = tqdm.format_meter(1234, 12345, 1, 80, "epoch 12/20", bar_format=module._BAR, postfix=postfix)
    assert len(text) <= 80
    assert "12,345 tokens/s, 10 h 20 min left" in text


def test_durations_and_huge_numbers_can_be_read() -> None:
    shown = [duration_text(seconds) for seconds in (0, 45, 600, 4800, 36000)]
    assert shown == ["0 s", "45 s", "10 min", "80 min", "10 h 00 min"]
    assert [readable(value, 2) for value in (1.234, 999_999.0, 1e110)] == ["1.23", "999999.00", "1e+110"]


def test_a_loss_worse_than_guessing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with reporter(tmp_path) as said:
        said.update(update(1, nll=2 * math.log(100)))
        assert "diverges" not in caplog.text
        said.update(update(2, nll=260.0))
        said.update(update(3, nll=270.0))
        said.validation(3, 1, {"loss": 260.0, "ppl": 1e110}, best=True)
    assert caplog.text.count("training diverges; lower training.optimizer.lr") == 1
    assert max(map(len, caplog.text.split())) < 60


def test_the_curve_is_drawn_at_every_validation(tmp_path: Path) -> None:
    with reporter(tmp_path) as said:
        said.update(update(1))
        assert not said.curve_path.exists()
        said.validation(1, 1, {"loss": 2.0, "bleu": 3.0, "chrf": 20.0}, best=True)
        assert said.curve_path.read_bytes().startswith(b"\x89PNG")
        assert said.best == 1
        said.validation(2, 1, {"loss": 3.0, "bleu": 2.0, "chrf": 10.0}, best=False)
        assert said.best == 1


def test_the_curve_marks_the_best_on_a_shared_axis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    train = [{"update": number, "loss": 3.0 - number} for number in (1, 2)]
    draw_curve([*train, {"update": 2, "valid": {"loss": 1.5, "bleu": 4.0}}], tmp_path / "c.png", best=2)
    draw_curve([*train, {"update": 2, "valid": {"loss": 1.5}}], tmp_path / "c.png")
    with_scores, without = drawn
    left, right = with_scores.axes
    assert left.get_xlim() == right.get_xlim()
    labels = [[text.get_text() for text in axis.get_legend().get_texts()] for axis in with_scores.axes]
    assert labels == [["training", "validation", "best, update 2"], ["bleu", "best, update 2"]]
    assert len(without.axes) == 1


def test_tensorboard_gets_the_numbers_of_the_metrics(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with reporter(tmp_path, tensorboard=True) as said:
        said.update(update(1))
        said.validation(1, 1, {"loss": 2.5, "bleu": 3.0}, best=True)
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"train/loss", "train/ppl", "train/lr", "valid/loss", "valid/bleu"} <= set(found.Tags()["scalars"])
    for tag, value in (("train/ppl", records[0]["ppl"]), ("valid/bleu", 3.0)):
        (event,) = found.Scalars(tag)
        assert (event.step, event.value) == (1, pytest.approx(value))


def test_a_run_that_becomes_far_slower_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    with reporter(tmp_path) as said:
        for number, seconds in enumerate((1.0, 1.0, 2.0, 3.0, 3.0, 1.0, 3.0), start=1):
            clock[0] += seconds
            said.update(update(number))
    warned = [record.getMessage() for record in caplog.records if "before: other programs" in record.getMessage()]
    assert len(warned) == 1
    assert warned[0].startswith(
        "update 4: 17 tokens/s, and it was 50 before"
    )  # 50 tokens in 3 s; 2 s is not far slower
