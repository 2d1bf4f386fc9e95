import subprocess
import sys
from pathlib import Path

import pytest

from nmt.config import Config
from nmt.config_file import differing_keys, load_config, save_config
from nmt.errors import ConfigError

GOOD = "data:\n  train: builtin:phrasebook\n  valid: builtin:phrasebook\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my-run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_all_problems_come_at_once_with_line_and_nearest_name(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        GOOD + "model:\n  atention: {score: dot}\n  bridge: lerned\ntraining:\n  epochs: -3\n  clip_norm: .nan\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert "4 problems" in message
    assert "line 5: model.atention: unknown key; did you mean 'attention'?" in message
    assert "line 6: model.bridge: 'lerned' is not one of zero, last, mean, learned; did you mean 'learned'?" in message
    assert "line 8: training.epochs: input should be greater than 0, not -3" in message
    assert "line 9: training.clip_norm" in message


def test_overrides_are_read_as_yaml_and_blamed_on_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    config = load_config(path, ["model.attention.score=general", "training.optimizer.lr=3e-4", "data.tgt_lang=no"])
    assert config.model.attention.score == "general"
    assert config.training.optimizer.lr == 3e-4
    assert config.data.tgt_lang == "no"
    with pytest.raises(ConfigError, match=r"--set model\.attention\.scor: unknown key; did you mean 'score'"):
        load_config(path, ["model.attention.scor=dot"])
    with pytest.raises(ConfigError, match=r"write it as key\.path=value"):
        load_config(path, ["model.attention.score"])


def test_the_name_is_the_files_name_unless_given(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, GOOD)).name == "my-run"
    assert load_config(write(tmp_path, GOOD + "name: other\n")).name == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "seed: 1\nseed: 2\n", "line 5: seed: this key is given twice"),
        (GOOD + "seed: '1'\n", "line 4: seed: input should be a valid integer, not '1'"),
        ("data: {train: builtin:wiki, valid: builtin:phrasebook}\n", "is no corpus"),
        ("data: {train: {src: a}, valid: builtin:phrasebook}\n", "needs both src and tgt"),
        (GOOD + "x: &a 1\nname: *a\n", "aliases are not supported"),
        ("- 1\n", "is a mapping"),
        (": :\n  - [", "not valid YAML"),
        (GOOD + "name: a\x01b\n", "not valid YAML"),
        (GOOD + "name: latest\n", "choose another name"),
        (GOOD + "model: {bridge: last}\ntokenizer: {joint: false}\n", ""),
        (GOOD + "model: {bridge: last, decoder: {hidden_size: 100}}\n", "the sizes must be equal"),
        (GOOD + "model: {attention: {score: dot}, decoder: {hidden_size: 100}}\n", "needs equal sizes"),
        (GOOD + "model: {attention: {score: none}, bridge: zero}\n", "know nothing of the source"),
        (GOOD + "model: {tie_embeddings: all}\ntokenizer: {joint: false}\n", "tokenizer.joint must be true"),
        (GOOD + "training: {batch_size: 50}\n", "raise the one or lower the other"),
        (GOOD + "training: {schedule: {type: cosine}}\n", "needs total"),
        (GOOD + "training: {validation: {sentences: 0}}\n", "training.early_stopping.metric is bleu, which needs"),
        (GOOD + "tokenizer: {type: char, sampling: {enabled: true}}\n", "needs type bpe or unigram"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    if not message:
        load_config(path)
        return
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in str(caught.value)


def test_a_saved_configuration_is_the_same_when_read_again(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD + "seed: 5\n"))
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config


def test_differing_keys_are_named_but_resumable_ones_may_change(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    changed = load_config(
        write(tmp_path, GOOD), ["seed=2", "training.epochs=99", "decoding.beam_size=1", "model.attention.score=dot"]
    )
    assert differing_keys(config, changed) == ["model.attention.score: 'additive' -> 'dot'", "seed: 1 -> 2"]


def test_reading_a_configuration_does_not_import_torch(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    code = "import sys, pathlib, nmt.config_file as c; "
    code += "c.load_config(pathlib.Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


def test_every_shipped_configuration_can_be_read() -> None:
    paths = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    assert paths
    for path in paths:
        assert isinstance(load_config(path), Config)


def test_numbers_are_decimal(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, GOOD + "seed: 010\n"), ["training.epochs=08"]).seed == 10
