"""The package from Python: what it shows of itself, and what it refuses."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import nmt
from nmt.alignment.words import spans_at
from nmt.config import Config
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.translator import Translator
from nmt.evaluation.calibration import Calibration
from nmt.model.seq2seq import Seq2Seq
from nmt.runs.folder import RunFolder
from nmt.runs.load import LoadedModel


@pytest.fixture
def model(
    make_config: Callable[..., Config], make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer, tmp_path: Path
) -> nmt.Model:
    """A random model as `nmt.load` would return it."""
    config = make_config(decoding={"beam_size": 2, "max_length_ratio": 1.0})
    translator = Translator(make_model(), tokenizer, config.decoding, torch.device("cpu"))
    run = RunFolder(tmp_path / "runs" / "tiny")
    return nmt.Model(LoadedModel(run, config, run.path / "checkpoints" / "step-1", translator, (run.path,)))


def test_the_package_lists_what_it_has() -> None:
    assert {"load", "Model", "__version__"} <= set(dir(nmt))


def test_a_model_and_a_translation_show_themselves_in_one_short_line(model: nmt.Model) -> None:
    assert repr(model) == "Model('tiny', src -> tgt, cpu)"
    [one] = model.translate(["I love you"])
    assert repr(one) == f"Translation(text={one.text!r}, score={one.score:.4f})"


def test_a_model_tells_its_settings(model: nmt.Model) -> None:
    assert model.config.name == "tiny"
    assert model.device == torch.device("cpu")
    assert model.languages == ("src", "tgt")
    assert model.calibration == Calibration()


def test_translations_can_be_compared_and_kept_in_sets(model: nmt.Model) -> None:
    one, two = model.translate(["I love you", "I love you"])
    assert one == one
    assert one != two
    assert len({one, two}) == 2


def test_generators_are_lists_too(model: nmt.Model) -> None:
    lines, pairs = ["a cat", "I love you"], [("a cat", "un chat"), ("I love you", "je t'aime")]
    expected = [one.text for one in model.translate(lines)]
    assert [one.text for one in model.translate(line for line in lines)] == expected
    prefixed = model.translate(iter(lines), prefixes=iter(["un", ""]))
    assert prefixed[0].text.startswith("un")
    assert [one.text for one in model.score(iter(pairs))] == ["un chat", "je t'aime"]
    assert len(model.align(iter(pairs))) == 2


@pytest.mark.parametrize("wrong", [None, b"a cat", 3])
def test_what_is_no_text_is_refused_with_its_index(model: nmt.Model, wrong: Any) -> None:
    with pytest.raises(TypeError, match=rf"lines\[1\] is {type(wrong).__name__}"):
        model.translate(["a cat", wrong])
    with pytest.raises(TypeError, match=rf"prefixes\[0\] is {type(wrong).__name__}"):
        model.translate(["a cat"], prefixes=[wrong])
    with pytest.raises(TypeError, match=r"pairs\[1\]"):
        model.score([("a cat", "un chat"), ("a cat", wrong)])
    with pytest.raises(TypeError, match=r"pairs\[0\]"):
        model.align([wrong])


def test_the_beam_has_the_name_of_the_setting_as_well(model: nmt.Model) -> None:
    [one], [two] = model.translate(["a cat"], beam_size=1), model.translate(["a cat"], beam=1)
    assert one.text == two.text
    with pytest.raises(TypeError, match="beam and beam_size are two names"):
        model.translate(["a cat"], beam=1, beam_size=2)
    with pytest.raises(ValueError, match="at least 1"):
        model.translate(["a cat"], beam_size=0)


def test_an_unknown_level_is_refused_with_the_names_that_there_are(model: nmt.Model) -> None:
    with pytest.raises(ValueError, match="'word' is not a level; choose words, tokens or pieces"):
        spans_at("word", "a cat")  # type: ignore[arg-type]
    [one] = model.score([("a cat", "un chat")])
    with pytest.raises(ValueError, match="choose words, tokens or pieces"):
        one.alignment(level="word")  # type: ignore[arg-type]


def test_samples_are_drawn_by_seed_and_temperature(model: nmt.Model) -> None:
    lines = ["I love you", "a cat", "she sings"]

    def texts(**options: Any) -> list[str]:
        return [one.text for one in model.translate(lines, sample=True, **options)]

    assert texts(seed=3) == texts(seed=3)
    assert len({tuple(texts(seed=seed)) for seed in range(5)}) > 1
    assert texts(temperature=1e-4) == [one.text for one in model.translate(lines, beam=1)]
    assert [one.text for one in model.translate(lines)] == [one.text for one in model.translate(lines, beam=2)]
    with pytest.raises(TypeError, match="temperature and seed can only be given with sample=True"):
        model.translate(lines, seed=3)
    with pytest.raises(ValueError, match="temperature"):
        model.translate(lines, sample=True, temperature=0.0)


def test_a_model_whose_settings_sample_can_search_all_the_same(model: nmt.Model) -> None:
    lines = ["I love you", "a cat", "she sings"]
    loaded = model._loaded
    sampling = loaded.translator.settings.sampling.model_copy(update={"enabled": True})
    settings = loaded.translator.settings.model_copy(update={"sampling": sampling})
    translator = Translator(loaded.translator.model, loaded.translator.tokenizer, settings, torch.device("cpu"))
    sampler = nmt.Model(replace(loaded, translator=translator))

    def texts(one: nmt.Model, **options: Any) -> list[str]:
        return [found.text for found in one.translate(lines, **options)]

    assert texts(sampler) == texts(model, sample=True)
    assert texts(sampler, beam=2) == texts(sampler, sample=False) == texts(model, beam=2)
    assert texts(sampler, seed=3) == texts(model, sample=True, seed=3) != texts(sampler)
    with pytest.raises(TypeError, match="temperature and seed can only be given with sample=True"):
        sampler.translate(lines, beam=2, seed=3)


def test_numbers_and_lists_of_another_kind_are_refused(model: nmt.Model) -> None:
    with pytest.raises(TypeError, match=r"beam must be an int, not 2\.5"):
        model.translate(["a cat"], beam=2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="n_best must be an int, not True"):
        model.translate(["a cat"], n_best=True)
    with pytest.raises(TypeError, match=r"require\[0\] must be a list of phrases, not one string"):
        model.translate(["a cat"], require=["chat"])
    with pytest.raises(ValueError, match="the list of models is empty"):
        nmt.load([])
    with pytest.raises(TypeError, match="give a list of overrides"):
        nmt.load(overrides="decoding.beam_size=3")


def test_phrases_can_be_required_and_forbidden_of_each_line(model: nmt.Model) -> None:
    found = model.translate(["a cat", "I love you"], require=[["chat"], []], forbid=[[], ["elle"]])
    assert [(one.phrase, one.required) for line in found for one in line.phrases] == [("chat", True), ("elle", False)]
    assert all(one.satisfied for line in found for one in line.phrases)
    with pytest.raises(ValueError, match="require has 1 lists of phrases for 2 lines"):
        model.translate(["a cat", "I love you"], require=[["chat"]])
    with pytest.raises(TypeError, match="not one string"):
        model.translate(["a cat"], require=["chat"])


def test_a_translation_is_drawn(model: nmt.Model) -> None:
    [one] = model.translate(["I love you"])
    picture = one._repr_svg_()
    assert picture is not None
    assert "<svg" in picture
    assert one.plot().axes


def test_what_cannot_be_text_and_a_beam_of_samples_are_refused(model: nmt.Model) -> None:
    with pytest.raises(ValueError, match=r"lines\[1\] is not text: surrogates not allowed"):
        model.translate(["a cat", "\ud800"])
    with pytest.raises(ValueError, match=r"pairs\[0\] is not text"):
        model.score([("a cat", "\ud800")])
    with pytest.raises(TypeError, match="give only one of them"):
        model.translate(["a cat"], sample=True, beam=7)
