import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nmt.config import Config, Section
from nmt.config.load import differing_keys, load_comparison, load_config, save_config
from nmt.errors import ConfigError
from tests.config_files import GOOD, write

GUIDED = "training: {guided_alignment: {enabled: true, loss: cross_entropy}}\n"
NOTHING_DECODED = "training: {early_stopping: {metric: loss}, "


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


def test_a_problem_in_a_list_of_sources_is_named_as_it_is_written(tmp_path: Path) -> None:
    item = "{src: a.en, tgt: a.fr}, {src: b.en, tgt: b.fr, wieght: 2, header: 3.5}"
    valid = "  valid: builtin:phrasebook\n"
    for train, key in ((f"[{item}]", "data.train.1"), (f"{{parts: [{item}]}}", "data.train.parts.1")):
        with pytest.raises(ConfigError) as caught:
            load_config(write(tmp_path, f"data:\n  train: {train}\n{valid}"))
        assert f"line 2: {key}.wieght: unknown key; did you mean 'weight'?" in str(caught.value)
        assert f"line 2: {key}.header: " in str(caught.value)


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
        ("data: {train: builtin:wiki, valid: builtin:phrasebook}\n", "is not a corpus"),
        ("data: {train: {src: a}, valid: builtin:phrasebook}\n", "needs both src and tgt"),
        (GOOD + "x: &a 1\nname: *a\n", "aliases are not supported"),
        ("- 1\n", "is a mapping"),
        (": :\n  - [", "not valid YAML"),
        ("data: {train: {src: a, tgt: a}, valid: builtin:phrasebook}\n", "train: src and tgt are both the file a"),
        (GOOD + "model:\n\tbridge: zero\n", "indent with spaces, YAML forbids tabs"),
        ("data:\n  valid: builtin:phrasebook\n  train: {src: a, tgt: b, split: x}\n", "line 3: data.train.split: "),
        (GOOD + "name: a\x01b\n", "not valid YAML"),
        (GOOD + "name: latest\n", "choose another name"),
        (GOOD + "model: {bridge: last}\ntokenizer: {joint: false}\n", ""),
        (GOOD + "model: {bridge: last, decoder: {hidden_size: 100}}\n", "the sizes must be equal"),
        (GOOD + "model: {attention: {score: dot}, decoder: {hidden_size: 100}}\n", "needs equal sizes"),
        (GOOD + "model: {attention: {score: none}, bridge: zero}\n", "know nothing of the source"),
        (GOOD + "model: {tie_embeddings: all}\ntokenizer: {joint: false}\n", "tokenizer.joint must be true"),
        (GOOD + "model: {encoder: {type: linaer}}\n", "model.encoder.type: 'linaer' is not one of rnn, self_attention"),
        (GOOD + "model: {encoder: {type: linear, cell: gru}}\n", "line 4: model.encoder.cell: unknown key"),
        (GOOD + "model: {encoder: {type: linear, layrs: 2}}\n", "did you mean 'layers'?"),
        (GOOD + GUIDED + "model: {attention: {normaliser: entmax15}}\n", "exactly 0, as entmax15 gives"),
        (
            GOOD + GUIDED + "model: {attention: {score: kernel, kernel: boxcar}}\n",
            "exactly 0, as the kernel boxcar gives",
        ),
        (GOOD + GUIDED + "model: {attention: {score: none}}\n", ""),  # there is nothing to guide
        (
            GOOD + "training: {teacher_forcing: {start: 0.9}, guided_alignment: {step: input}}\n",
            "a step may read another word than the one whose links guide it",
        ),
        (GOOD + "training: {teacher_forcing: {schedule: linear}, consistency: {type: rdrop}}\n", "words of its own"),
        (GOOD + "model: {encoder: {type: self_attention, projections: none}}\n", "set heads to 1"),
        (GOOD + "model: {encoder: {type: linear, heads: 3}}\n", "256 is not a multiple of 3"),
        (GOOD + "model: {encoder: {type: linear}, bridge: last, decoder: {hidden_size: 256}}\n", "has none"),
        (GOOD + "model: {encoder: {type: perceiver}, attention: {window: local-m}}\n", "latents have no order"),
        (GOOD + "model: {encoder: {type: positional, max_positions: 99}}\n", "has positions for 99 on the src side"),
        (GOOD + "model: {attention: {score: fc, max_src_length: 99}}\n", "has positions for 99 on the src side"),
        (GOOD + "model: {decoder: {type: transformer, positions: learned, max_positions: 100}}\n", "100 on the tgt"),
        (
            GOOD + "model: {decoder: {type: transformer}, attention: {score: dot}}\n",
            "is only for the recurrent decoder",
        ),
        (GOOD + "model: {decoder: {type: transformer, alignment_layer: 3}}\n", "but there are 2 layers"),
        (GOOD + "model: {decoder: {type: transformer, alignment_heads: [5]}}\n", "numbered 1 to 4"),
        (GOOD + "model: {decoder: {type: transformer, feed_forward: 0}}\n", "needs feed_forward"),
        (GOOD + "model: {attention: {heads: 2}}\n", "heads has no effect with score: additive; it belongs to qkv"),
        (GOOD + "model: {attention: {score: qkv, heads: 3}}\n", "size 512 is not a multiple of heads = 3"),
        (
            GOOD + "model: {attention: {score: dot, normed: true}}\n",
            "normed has no effect with score: dot; it belongs to additive or concat",
        ),
        (GOOD + "model: {attention: {score: none, coverage: neural}}\n", "has no weights"),
        (GOOD + "model: {attention: {score: none}}\ntraining: {coverage_loss: 1.0}\n", "coverage_loss needs attention"),
        (GOOD + "training: {batch_size: 50}\n", "raise the first or lower the second"),
        (GOOD + "training: {schedule: {type: cosine}}\n", ""),
        (GOOD + "training: {schedule: {type: cosine, warmup: 9, total: 9}}\n", "needs a total"),
        (GOOD + "training: {validation: {sentences: 0}}\n", "training.early_stopping.metric is bleu, which needs"),
        (GOOD + "tokenizer: {type: char, sampling: {enabled: true}}\n", "needs type bpe or unigram"),
        (GOOD + "tokenizer: {sampling: {alpha: 0.2}}\n", "alpha has no effect with enabled: false"),
        (GOOD + "training: {averaging: {which: best}}\n", "averaging.which has no effect while"),
        (GOOD + "training: {smoothed_pieces: target, label_smoothing: 0}\n", "smoothed_pieces has no effect while"),
        (GOOD + "training: {averaging: {checkpoints: 1}}\n", "one checkpoint is its own mean"),
        (GOOD + NOTHING_DECODED + "validation: {sentences: 0, beam_size: 3}}\n", "validation.beam_size has no effect"),
        (GOOD + NOTHING_DECODED + "validation: {sentences: 0, samples: 5}}\n", "validation.samples has no effect"),
        (GOOD + NOTHING_DECODED + "validation: {sentences: 0, samples: 0}}\n", ""),
        (GOOD + "decoding: {alignment_at: input}\nmodel: {attention: none}\n", "decoding.alignment_at applies to the"),
        (
            GOOD + "decoding: {alignment_from: posterior}\nmodel: {attention: none}\n",
            "posterior needs a recurrent decoder with attention",
        ),
        (
            GOOD + "decoding: {alignment_from: posterior}\nmodel: {decoder: {type: transformer}}\n",
            "posterior needs a recurrent decoder with attention",
        ),
        (
            GOOD + "decoding: {alignment_from: posterior, alignment_at: input}\n",
            "posterior belongs to the step that predicts a word",
        ),
        (GOOD + "model: {encoder: linear, dropout: {attention: 0.1}}\n", "this model has none"),
        (GOOD + "model: {encoder: positional, dropout: {attention: 0.1}}\n", ""),
        (GOOD + "model: {attention: {score: kernel, kernel: constant, width: 2.0}}\n", "width has no effect with"),
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


def test_problems_between_sections_come_at_once_with_all_others(tmp_path: Path) -> None:
    text = (
        GOOD
        + "name: latest\nseed: '1'\n"
        + "model: {bridge: last, decoder: {hidden_size: 100}, attention: {score: dot, heads: 2}, tie_embeddings: all}\n"
        + "tokenizer: {joint: false, type: char, sampling: {enabled: true}}\n"
        + "training: {batch_size: 50, optimizer: {momentum: 0.9}, schedule: {type: cosine, warmup: 9, total: 9}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    message = str(caught.value)
    for part in (
        "line 4: name: name: 'latest'",
        "line 5: seed: input should be a valid integer, not '1'; take the quotation marks off",
        "the sizes must be equal",
        "score 'dot' needs equal sizes",
        "heads has no effect with score: dot",
        "tokenizer.joint must be true",
        "sampling needs type bpe or unigram",
        "batch_size is 50 tokens",
        "momentum has no effect with name: adam; it belongs to sgd",
        "needs a total",
    ):
        assert part in message, message


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("epochs=3", "did you mean 'training.epochs'?"),
        ("training.learning_rate=0.1", "unknown key; here it is called 'training.optimizer.lr'"),
        ("max_steps=100", "unknown key; here it is called 'training.max_updates'"),
        ("training.optimizer=adam", "this is a section; write training.optimizer.name: adam"),
        ("training.lr=0.1", "did you mean 'training.optimizer.lr'?"),
        ("training.betas=[0.9, 0.9]", "did you mean 'training.optimizer.betas'?"),
        ("model.attention=bahdanau", "here it is called 'additive'"),
        ("model.attention.score=luong", "here it is called 'general'"),
        ("model.encoder.type=transformer", "here it is called 'self_attention'"),
        ("model.encoder=lstm", "here it is called 'rnn'"),
    ],
)
def test_what_people_type_is_answered_with_the_right_name(tmp_path: Path, override: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, GOOD), [override])
    assert hint in str(caught.value)


def test_a_name_alone_stands_for_its_section(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD + "model: {attention: general, encoder: linear}\n")
    assert load_config(path).model.attention.score == "general"
    assert load_config(path, ["model.attention.normaliser=sparsemax"]).model.attention.normaliser.type == "sparsemax"
    assert load_config(path).model.encoder.type == "linear"
    assert load_config(path, ["model.encoder.layers=1"]).model.encoder.type == "linear"
    assert load_config(path, ["model.encoder.layers=1"]).model.encoder.layers == 1  # type: ignore[attr-defined]
    path = write(tmp_path, GOOD + "model: {decoder: transformer}\n")
    assert load_config(path, ["model.decoder.layers=1"]).model.decoder.type == "transformer"
    for wrong in ("model.attention.score=null", "model.encoder.type=3"):
        with pytest.raises(ConfigError, match=r"model\.(attention|encoder)"):
            load_config(path, [wrong])


def sections(kind: type[Section] = Section) -> Iterator[type[Section]]:
    """Every section of the configuration that this package has."""
    for section in kind.__subclasses__():
        if section.__module__.startswith("nmt.config"):
            yield section
        yield from sections(section)


def is_whole(section: type[Section]) -> bool:
    """Whether a section can be made from its defaults; the bases of what installed packages add cannot."""
    return not any(field.is_required() for field in section.model_fields.values())


OPTIONS = sorted(
    {(section, option) for section in sections() if is_whole(section) for option in section.belongs},
    key=lambda one: (str(one[0]), one[1]),
)


def other_value(section: type[Section], option: str) -> Any:
    """A value of an option that is allowed, and not its default."""
    field = section.model_fields[option]
    default = field.get_default(call_default_factory=True)
    if typing.get_origin(field.annotation) is Literal:
        return next(name for name in typing.get_args(field.annotation) if name != default)
    return {bool: not default, int: 7, float: 0.25 if default != 10.0 else 2.0, list: [0.5, 0.5], type(None): 9}[
        type(default)
    ]


@settings(deadline=None)
@given(data=st.data())
def test_an_option_without_effect_is_refused_wherever_it_stands(data: st.DataObject) -> None:
    section, option = data.draw(st.sampled_from(OPTIONS), label="option")
    other, values = section.belongs[option]
    annotation = section.model_fields[other].annotation
    names = [True, False] if annotation is bool else typing.get_args(annotation)
    name = data.draw(st.sampled_from([name for name in names if name not in values]), label=other)
    given_name = str(name).lower() if isinstance(name, bool) else name
    with pytest.raises(ValueError, match=f"{option} has no effect with {other}: {given_name}"):
        section.model_validate({other: name, option: other_value(section, option)})


def test_differing_keys_are_named_but_resumable_ones_may_change(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD))
    changed = load_config(
        write(tmp_path, GOOD), ["seed=2", "training.epochs=99", "decoding.beam_size=1", "model.attention.score=dot"]
    )
    assert differing_keys(config, load_config(tmp_path / "my-run.yaml", ["data.src_lang=en", "data.tgt_lang=fr"])) == []
    assert differing_keys(config, changed) == ["model.attention.score: 'additive' -> 'dot'", "seed: 1 -> 2"]


def test_reading_a_configuration_does_not_import_torch(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    code = "import sys, pathlib, nmt.config.load as c; "
    code += "c.load_config(pathlib.Path(sys.argv[1])); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 0


@pytest.mark.parametrize(
    "section", ["{encoder: {type: perceiver, latents: 3}}", "{decoder: {type: transformer}, encoder: {type: linear}}"]
)
def test_sections_of_several_types_are_saved_whole(tmp_path: Path, section: str) -> None:
    config = load_config(write(tmp_path, GOOD + f"model: {section}\n"))
    save_config(config, tmp_path / "saved.yaml")
    assert load_config(tmp_path / "saved.yaml") == config


def test_every_shipped_configuration_can_be_read() -> None:
    paths = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
    assert paths
    for path in paths:
        if path.name.startswith("compare"):
            assert load_comparison(path)[1]
        else:
            assert isinstance(load_config(path), Config)


def test_the_attention_is_read_at_the_step_that_was_guided(tmp_path: Path) -> None:
    def read_at(*lines: str) -> str:
        return load_config(write(tmp_path, GOOD + "".join(lines))).resolved_decoding.alignment_at

    guided = "training: {guided_alignment: {step: input}}\n"
    assert read_at() == "predicts"
    assert read_at(guided) == "input"
    assert read_at(guided, "decoding: {alignment_at: predicts}\n") == "predicts"
    assert read_at("training: {guided_alignment: {step: input, enabled: false}}\n") == "predicts"


def test_a_head_of_a_transformer_is_guided_where_the_word_is_known(tmp_path: Path) -> None:
    def source(*lines: str) -> tuple[str | None, str, str]:
        config = load_config(write(tmp_path, GOOD + "".join(lines)))
        at_input = config.guided_step == "input"
        return config.guided_step, config.resolved_decoding.alignment_at, config.model.read_from(at_input)

    transformer = "model: {encoder: {type: self_attention}, decoder: {type: transformer, layers: 4, heads: 2}}\n"
    unguided = "training: {guided_alignment: {enabled: false}}\n"
    assert source(transformer) == ("input", "input", "layer 2 of 4, head 1")
    assert source(transformer, unguided) == (None, "predicts", "layer 3 of 4, mean of heads 1, 2")
    assert source(transformer, "training: {guided_alignment: {step: predicts}}\n")[0] == "predicts"
    assert source(transformer.replace("layers: 4", "layers: 4, alignment_layer: 4"))[2] == "layer 4 of 4, head 1"
    lonely = transformer.replace("layers: 4, heads: 2", "layers: 1, heads: 1")
    assert source(lonely)[:2] == ("predicts", "predicts")  # there is no other head to find the next word
    assert source() == ("predicts", "predicts", "attention")
