"""What `nmt config` prints."""

import inspect

import pytest

from nmt.commands.config import run_config
from nmt.config.decoding import MbrConfig
from nmt.config.encoder import RNNEncoderConfig
from nmt.errors import ConfigError


def test_a_section_is_explained_before_its_settings() -> None:
    *explained, empty, candidates, metric = run_config("decoding.mbr")
    assert "\n".join(explained) == inspect.cleandoc(MbrConfig.__doc__ or "")
    assert empty == ""
    assert candidates.split() == ["decoding.mbr.candidates", "int", ">=", "0", "default", "0"]
    assert metric.split() == ["decoding.mbr.metric", "chrf", "|", "bleu", "default", "chrf"]


def test_each_section_that_can_be_chosen_is_explained_under_its_names() -> None:
    lines = list(run_config("model.encoder"))
    assert lines[0] == "rnn:"
    assert lines[1] == inspect.cleandoc(RNNEncoderConfig.__doc__ or "").splitlines()[0]
    assert "perceiver:" in lines


def test_a_setting_and_all_settings_have_rows_alone() -> None:
    [row] = run_config("data.filters")
    assert row.endswith("| overlap  default []")
    assert row.split() in [each.split() for each in run_config(None)]
    assert all(row.split()[0].replace(".", "").replace("_", "").isalnum() for row in run_config(None))


def test_an_unknown_part_is_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"there is no setting 'model.encodr'; did you mean 'model.encoder'\?"):
        list(run_config("model.encodr"))


def test_an_unknown_part_that_ends_other_settings_is_named_with_these() -> None:
    with pytest.raises(ConfigError, match=r"no setting 'wiring'; did you mean 'model\.decoder\.wiring'\?"):
        list(run_config("wiring"))
