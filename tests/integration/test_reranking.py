"""Translations re-ranked by a model of the other direction."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import nmt
from nmt.config import DecodingConfig
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.phrases import PhraseConstraint, missing_phrases
from nmt.decoding.request import Request
from nmt.decoding.reranking import by_backward
from nmt.decoding.translation import Translation
from nmt.decoding.translator import Translator
from nmt.model.seq2seq import Seq2Seq

LINES = ["the black cat sees me", "", "I love you", "two big dogs eat"]


@pytest.fixture
def make(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> Callable[..., Translator]:
    torch.manual_seed(5)
    forward, back = make_model(), make_model()

    def translator(reranked: bool, limit: int = 500, weight: float = 0.3) -> Translator:
        settings = {"beam_size": 4, "max_length_ratio": 1.0, "backward_weight": weight}
        short = DecodingConfig.model_validate({"max_tgt_length": limit})
        backward = Translator(back, tokenizer, short, torch.device("cpu")) if reranked else None
        return Translator(
            forward, tokenizer, DecodingConfig.model_validate(settings), torch.device("cpu"), backward=backward
        )

    return translator


def texts(found: Sequence[Translation]) -> list[list[str]]:
    return [[one.text for one in (first, *first.others)] for first in found]


@pytest.mark.parametrize("weight", [0.0, 0.7, 1000.0])
def test_the_order_is_that_of_both_scores(make: Callable[..., Translator], weight: float) -> None:
    plain = make(False).translate(LINES, n_best=4)
    reranked = make(True, weight=weight)
    assert reranked.backward is not None
    for candidates, found in zip(plain, reranked.translate(LINES, n_best=4), strict=True):
        if not candidates.src.text:
            continue
        every = [candidates, *candidates.others]
        total = {
            one.text: one.score + weight * reranked.backward.force([(one.text, one.src.text)])[0].score for one in every
        }
        assert texts([found])[0] == sorted((one.text for one in every), key=lambda text: -total[text])
        assert {one.score for one in every} == {one.score for one in (found, *found.others)}


def test_one_translation_is_the_first_of_the_list_whatever_the_batch(make: Callable[..., Translator]) -> None:
    reranked = make(True, weight=0.7)
    best = [each[0] for each in texts(reranked.translate(LINES, n_best=4))]
    assert [each.text for each in reranked.translate(LINES)] == best
    assert [reranked.translate([line])[0].text for line in LINES] == best
    assert best != [each.text for each in make(False).translate(LINES)]


def test_a_line_that_the_backward_model_cannot_score_keeps_its_order(make: Callable[..., Translator]) -> None:
    assert texts(make(True, limit=1, weight=5.0).translate(LINES, n_best=4)) == texts(
        make(False).translate(LINES, n_best=4)
    )


def test_required_phrases_come_before_both_scores(make: Callable[..., Translator]) -> None:
    found = make(True, weight=1000.0).translate([Request("I love you", require=("chat",))], n_best=4)
    missing = [missing_phrases(one.phrases) for one in (found[0], *found[0].others)]
    assert missing == sorted(missing)
    lacking = replace(found[0], phrases=(PhraseConstraint("chien", True, None),))
    has_it = replace(found[0].others[0], phrases=(PhraseConstraint("chien", True, (0, 5)),))
    backward = make(True).backward
    assert backward is not None
    assert by_backward([[lacking, has_it], [has_it, lacking]], backward, 1000.0) == [[has_it, lacking]] * 2


def test_samples_are_not_re_ranked(make: Callable[..., Translator]) -> None:
    model = nmt.Model(SimpleNamespace(translator=make(True)))  # type: ignore[arg-type]
    for options in ({"sample": True}, {"beam": 1}):
        with pytest.raises(TypeError, match="the backward model chooses among the translations of a beam"):
            model.translate(["I love you"], **options)  # type: ignore[arg-type]
    assert model.translate(["I love you"], beam=3)[0].text
