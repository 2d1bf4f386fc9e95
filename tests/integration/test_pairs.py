"""Every two parts of a recurrent translator that can be put together keep the invariants of translating.

Some hundred models hold every pair of settings, of the tens of thousands that hold every combination.
"""

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nmt.config import Config
from nmt.data.tokenizer import Tokenizer
from nmt.model.seq2seq import Seq2Seq
from tests.integration.test_translator import LINES, assert_same, translator_of
from tests.variants import ENCODERS

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "encoder": {
        **ENCODERS,
        "gru": {"cell": "gru", "hidden_size": 8},
        "two layers": {"hidden_size": 8, "layers": 2},
        "one direction": {"hidden_size": 16, "bidirectional": False},
    },
    "cell": {"lstm": {}, "gru": {"cell": "gru"}},
    "layers": {"1": {}, "2": {"layers": 2}},
    "wiring": {"luong": {}, "bahdanau": {"wiring": "bahdanau"}},
    "input feeding": {"yes": {}, "no": {"input_feeding": False}},
    "score": {
        **{score: {"score": score, "size": 10} for score in ("additive", "concat", "qkv")},
        **{score: {"score": score} for score in ("dot", "scaled_dot", "general")},
        **{score: {"score": score, "max_src_length": 120} for score in ("location", "fc")},
        "normed": {"score": "additive", "size": 10, "normed": True},
        "qkv, 2 heads": {"score": "qkv", "size": 10, "heads": 2},
        "kernel": {"score": "kernel", "size": 10, "width": 8.0},
    },
    "normaliser": {"softmax": {}, **{name: {"normaliser": name} for name in ("sparsemax", "entmax15", "hard")}},
    "coverage": {"none": {}, "linguistic": {"coverage": "linguistic"}, "neural": {"coverage": "neural"}},
    "window": {"none": {}, **{name: {"window": name, "window_size": 2.0} for name in ("local-m", "local-p")}},
    "bridge": {"zero": {"bridge": "zero"}, "learned": {"bridge": "learned"}},
    "ties": {"none": {}, "src_tgt": {"tie_embeddings": "src_tgt"}, "all": {"tie_embeddings": "all"}},
}
Choice = dict[str, str]  # of each setting


def model_section(choice: Choice) -> dict[str, Any]:
    """The section `model` of a configuration."""
    value = {name: SETTINGS[name][chosen] for name, chosen in choice.items()}
    decoder = {"hidden_size": 16} | value["cell"] | value["layers"] | value["wiring"] | value["input feeding"]
    attention = value["score"] | value["normaliser"] | value["coverage"] | value["window"]
    return {"encoder": value["encoder"], "decoder": decoder, "attention": attention} | value["bridge"] | value["ties"]


def pairs_of(choice: Choice) -> set[tuple[tuple[str, str], ...]]:
    return set(itertools.combinations(choice.items(), 2))


def chosen_models(make_config: Callable[..., Config]) -> list[Choice]:
    """Models that together hold every pair of settings that a configuration allows."""
    generator = random.Random(1)
    possible: list[Choice] = []
    for _ in range(2000):
        choice = {name: generator.choice(list(values)) for name, values in SETTINGS.items()}
        try:
            make_config(model=model_section(choice))
        except ValueError:  # these do not go together
            continue
        possible.append(choice)
    left = set().union(*map(pairs_of, possible))
    chosen = []
    while left:
        best = max(possible, key=lambda choice: len(pairs_of(choice) & left))
        chosen.append(best)
        left -= pairs_of(best)
    return chosen


def test_every_pair_of_parts_translates_alike_in_any_batch_and_when_forced(
    make_config: Callable[..., Config], make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer
) -> None:
    models = chosen_models(make_config)
    assert len(set().union(*map(pairs_of, models))) > 800
    for choice in models:
        torch.manual_seed(1)
        model = make_model(**model_section(choice)).double()  # rounding would be magnified by sparse weights
        translator = translator_of(model, tokenizer)
        many = translator.translate(LINES)
        for one, alone in zip(many, translator_of(model, tokenizer, batch_size=1).translate(LINES), strict=True):
            assert_same(one, alone)
        found = [translation for translation in many if translation.src.ids]
        forced = translator._score([(translation.src, translation.tgt) for translation in found])
        for translation, (log_probs, score, weights) in zip(found, forced, strict=True):
            assert log_probs == pytest.approx(translation.token_log_probs, abs=1e-5), choice
            assert score == pytest.approx(translation.score, abs=1e-5), choice
            np.testing.assert_allclose(weights, translation.weights, atol=1e-5, err_msg=str(choice))
