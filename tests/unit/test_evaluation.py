import math

import pytest
import sacrebleu

from nmt.errors import DataError
from nmt.evaluation.metrics import corpus_scores, perplexity

HYPS, REFS = ["the cat sat on a mat .", "hello there"], ["The cat sat on the mat .", "hello there"]


def test_scores_are_sacrebleus_with_signature() -> None:
    scores = corpus_scores(HYPS, REFS)
    assert scores["bleu"].value == sacrebleu.corpus_bleu(HYPS, [REFS]).score
    assert scores["chrf"].value == sacrebleu.corpus_chrf(HYPS, [REFS]).score
    assert "tok:13a" in scores["bleu"].signature
    assert (
        corpus_scores(HYPS, REFS, "none", True)["bleu"].value
        == sacrebleu.corpus_bleu(HYPS, [REFS], tokenize="none", lowercase=True).score
    )


def test_margins_come_only_when_asked_for() -> None:
    assert corpus_scores(HYPS, REFS)["bleu"].margin is None
    assert (corpus_scores(HYPS * 5, REFS * 5, bootstrap=50)["bleu"].margin or 0) > 0


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="2 translations but 1 references"):
        corpus_scores(HYPS, REFS[:1])


def test_perplexity() -> None:
    assert perplexity(math.log(4)) == pytest.approx(4)
