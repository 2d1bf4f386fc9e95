"""Configurations as text: any name and any value is read as it was written."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.config.load import load_comparison, load_config, save_config
from nmt.config.yaml_text import dump, parse, parse_value
from nmt.errors import ConfigError
from tests.config_files import GOOD, write


def test_a_saved_configuration_is_the_same_when_read_again(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD + "seed: 5\n"))
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config


ODD_TEXTS = [
    "2e-4",
    "1e5",
    "0x1F",
    "010",
    "1_000",
    "no",
    "yes",
    "null",
    "~",
    "",
    " ",
    "true",
    ".inf",
    "-",
    "a: b",
    "# x",
]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_texts_that_look_like_something_else_survive_writing_and_reading(text: str) -> None:
    assert parse(dump({"key": text, "list": [text]}), "x")[0] == {"key": text, "list": [text]}


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20), key=st.sampled_from(["name", "src_lang"]))
def test_any_text_survives_writing_and_reading(text: str, key: str) -> None:
    assert parse(dump({key: {"a": text}}), "x")[0] == {key: {"a": text}}


@pytest.mark.parametrize("name", ["2e-4", "1e5", "128", "true", "null", "한국어"])
def test_a_run_may_be_called_like_a_number(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.yaml"
    path.write_text(GOOD, encoding="utf-8")
    config = load_config(path)
    assert config.name == name
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config


def test_a_file_name_that_is_no_run_name_is_made_one(tmp_path: Path) -> None:
    path = tmp_path / "my config (2).yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load_config(path).name == "my-config--2-"
    with pytest.raises(ConfigError, match=r"'a/b' cannot be a run's name(.|\n)*--set name="):
        load_config(path, ["name=a/b"])
    for name in ("con", "NUL.en", "com1", "run."):  # Windows has no such folders
        with pytest.raises(ConfigError, match=f"'{name}' cannot be a run's name"):
            load_config(path, [f"name={name}"])
    assert load_config(path, ["name=console.2"]).name == "console.2"


def test_variants_may_be_called_like_numbers(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    comparison = tmp_path / "compare.yaml"
    names = ["128", "1e-3", "true", "null", "0x10"]
    variants = "".join(f"  {name}: {{training.optimizer.lr: 2e-3}}\n" for name in names)
    comparison.write_text("base: my-run.yaml\nvariants:\n" + variants, encoding="utf-8")
    _, configs = load_comparison(comparison)
    assert [config.name for config in configs.values()] == names
    assert {config.training.optimizer.lr for config in configs.values()} == {2e-3}


def test_numbers_are_decimal(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, GOOD + "seed: 010\n"), ["training.epochs=08"]).seed == 10


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.optimizer={lr: 1, lr: 2}", "lr: this key is given twice"),
        ("data.root=/data/my #1 x", "a # after a space begins a comment; put the value in quotation marks"),
        ("model=" + "[" * 2000, "the value is not valid YAML"),
        ("seed=9223372036854775808", "seed: "),
    ],
)
def test_a_value_on_the_command_line_is_read_as_strictly_as_a_file(tmp_path: Path, setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        load_config(write(tmp_path, GOOD), [setting])


def test_a_quoted_value_and_an_empty_one_are_values() -> None:
    assert parse_value('"/data/my #1 x"') == "/data/my #1 x"
    assert parse_value("a#b") == "a#b"
    assert parse_value("") is None
    assert parse_value("null") is None
