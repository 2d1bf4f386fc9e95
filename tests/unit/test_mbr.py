"""Minimum Bayes risk decoding."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sacrebleu.metrics import CHRF

from nmt.config import DecodingConfig, MbrConfig, SamplingConfig
from nmt.data.tokenizer import Encoded, Tokenizer
from nmt.decoding.mbr import by_agreement
from nmt.decoding.phrases import PhraseConstraint
from nmt.decoding.translation import Translation
from nmt.decoding.translator import Translator
from nmt.evaluation.metrics import utilities
from nmt.model.seq2seq import Seq2Seq

TEXTS = ["the cat sleeps", "a dog", "the cat sleeps now", "the cats sleep"]


def candidate(text: str, log_prob: float) -> Translation:
    nothing = np.zeros((1, 0), dtype=np.float32)
    return Translation(Encoded("", [], [], []), Encoded(text, [], [], []), log_prob, log_prob, [], False, nothing)


def settings(candidates: int = 4, sampled: bool = False) -> DecodingConfig:
    return DecodingConfig(mbr=MbrConfig(candidates=candidates), sampling=SamplingConfig(enabled=sampled))


def test_the_expected_utility_is_the_mean_score_by_probability() -> None:
    log_probs = [-2.0, -1.0, -3.0, -2.5]
    weights = np.exp(log_probs) / np.exp(log_probs).sum()
    expected = [
        sum(weight * CHRF().sentence_score(hyp, [ref]).score for weight, ref in zip(weights, TEXTS, strict=True))
        for hyp in TEXTS
    ]
    found = by_agreement([candidate(*pair) for pair in zip(TEXTS, log_probs, strict=True)], settings())
    assert [one.text for one in found] == [TEXTS[at] for at in np.argsort(-np.array(expected))]
    assert [one.text for one in by_agreement([candidate("a dog", -1.0)], settings())] == ["a dog"]


def test_a_text_that_was_found_twice_has_the_probability_of_both() -> None:
    found = [candidate("the cat", -1.0), candidate("two dogs", -0.8), candidate("the cat", -1.1)]
    assert by_agreement(found, settings())[0].text == "the cat"
    assert [one.log_prob for one in by_agreement(found, settings())] == [-1.0, -0.8]


def test_required_phrases_come_before_agreement() -> None:
    lacking = replace(candidate("the cat sleeps", -0.1), phrases=(PhraseConstraint("now", True, None),))
    has_it = replace(candidate("a dog now", -9.0), phrases=(PhraseConstraint("now", True, (6, 9)),))
    assert by_agreement([lacking, has_it], settings())[0].text == "a dog now"


def test_samples_count_as_often_as_they_were_drawn() -> None:
    drawn = [candidate("the cat sleeps", -9.0), candidate("a dog", -1.0), *[candidate("the cat", -8.0)] * 3]
    assert by_agreement(drawn, settings(5, sampled=True))[0].text == "the cat"
    assert by_agreement(drawn, settings(5))[0].text == "a dog"  # nearly all of the probability
    assert [one.text for one in by_agreement(drawn, settings(0))] == [one.text for one in drawn]


def test_a_text_agrees_with_itself() -> None:
    for metric in ("chrf", "bleu"):
        table = utilities(TEXTS, metric)  # type: ignore[arg-type]
        np.testing.assert_allclose(np.diag(table), 100.0, atol=1e-6)
        assert (table[~np.eye(4, dtype=bool)] < 100).all()
        assert utilities(["", "a b"], metric).tolist() == [[100.0, 0.0], [0.0, 100.0]]  # type: ignore[arg-type]
    assert utilities([], "chrf").shape == (0, 0)


def test_a_translator_gives_the_one_that_agrees_most(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    lines = ["the black cat", "I love you", ""]
    plain = settings(0).model_copy(update={"max_length_ratio": 1.0})
    model = make_model()
    candidates = Translator(model, tokenizer, plain, torch.device("cpu")).translate(lines, n_best=6)
    mbr = plain.model_copy(update={"mbr": MbrConfig(candidates=6)})
    found = Translator(model, tokenizer, mbr, torch.device("cpu")).translate(lines)
    for own, every in zip(found[:2], candidates[:2], strict=True):
        assert own.text == by_agreement([every, *every.others], mbr)[0].text
        assert own.others == ()
    assert found[2].text == ""


def test_what_has_no_effect_is_refused() -> None:
    with pytest.raises(ValidationError, match="candidates are compared with one another"):
        MbrConfig(candidates=1)
    with pytest.raises(ValidationError, match=r"mbr\.metric has no effect"):
        MbrConfig(metric="bleu")
