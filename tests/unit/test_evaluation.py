import importlib
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
from matplotlib.figure import Figure

from nmt.config import EvaluationConfig
from nmt.errors import ConfigError, DataError
from nmt.evaluation.metrics import (
    LengthScore,
    choose_tokenizer,
    compare_systems,
    corpus_scores,
    perplexity,
    scores_by_length,
    sentence_scores,
    word_counts,
)
from nmt.evaluation.plots import draw_lengths

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


@pytest.mark.parametrize(
    ("refs", "expected"),
    [
        (["the cat sees me", "I love you"], "13a"),
        (["我今天看见了一只黑猫。", "猫在花园里睡觉。"], "zh"),
        (["私はあなたを愛しています。", "猫が眠っている。"], "char"),
        (["ฉันรักคุณ", "แมวกำลังนอนหลับ"], "char"),
        (["나는 너를 사랑한다", "고양이가 잔다"], "13a"),
        (["我 爱 你 。", "猫 在 睡觉 。"], "13a"),  # cut into words already
        ([], "13a"),
        (["123 !"], "13a"),
    ],
)
def test_the_tokenizer_suits_the_script_of_the_references(refs: list[str], expected: str) -> None:
    assert choose_tokenizer("auto", refs) == expected
    assert choose_tokenizer("intl", refs) == "intl"


def test_ter_splits_chinese_and_japanese_characters() -> None:
    hyps, refs = ["我今天看见了一只白猫。", "猫在花园里睡觉。"], ["我今天看见了一只黑猫。", "猫在花园里睡觉。"]
    ter = corpus_scores(hyps, refs, "auto", metrics=("ter",))["ter"]
    assert ter.value < 20  # one character is wrong; it was one sentence of two
    assert "norm:yes" in ter.signature
    assert "asian:yes" in ter.signature
    [one, two] = compare_systems([("a", hyps), ("b", refs)], refs, "auto", samples=10, metrics=("ter",))
    assert (one.value, two.value) == (pytest.approx(ter.value), 0.0)
    assert "asian:no" in corpus_scores(HYPS, REFS, "auto", metrics=("ter",))["ter"].signature


def test_systems_that_a_metric_cannot_tell_apart_do_not_differ() -> None:
    refs = ["the cat sat on the mat .", "hello there my friend"] * 5
    same = [("a", refs), ("b", [ref.upper() for ref in refs])]
    for lowercase, equal in ((True, True), (False, False)):
        for score in compare_systems(same, refs, lowercase=lowercase, samples=50)[1::2]:
            assert (score.p_value == 1.0) is equal
    for few in ([], refs[:1]):
        with pytest.raises(DataError, match=f"give at least two, not {len(few)}"):
            compare_systems([("a", few), ("b", few)], few)


@pytest.mark.parametrize(("name", "extra"), [("ja-mecab", "ja"), ("ko-mecab", "ko")])
def test_a_tokenizer_that_needs_more_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, extra: str
) -> None:
    assert EvaluationConfig(bleu_tokenize=name).bleu_tokenize == name  # type: ignore[arg-type]
    module = importlib.import_module(f"sacrebleu.tokenizers.tokenizer_{extra}_mecab")
    monkeypatch.setattr(module, "MeCab", None)
    for count in (lambda: corpus_scores(HYPS, REFS, name), lambda: sentence_scores(HYPS, REFS, name)):
        with pytest.raises(ConfigError, match=rf"pip install 'sacrebleu\[{extra}\]'"):
            count()


def test_a_tokenizer_that_cannot_be_downloaded_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no network")

    module = importlib.import_module("sacrebleu.tokenizers.tokenizer_spm")
    monkeypatch.setattr(module, "download_file", refuse)
    monkeypatch.setattr(module, "SACREBLEU_DIR", "nowhere")
    with pytest.raises(ConfigError, match=r"flores200 needs a file that sacrebleu downloads once.*no network"):
        corpus_scores(HYPS, REFS, "flores200")


def test_a_handful_of_sentences_without_a_match_has_an_interval_too() -> None:
    score = corpus_scores(["a b c d", "e"], ["a b c x", "y"], bootstrap=20)["bleu"]
    assert score.margin is not None
    assert score.margin >= 0
    assert corpus_scores(["a b"], ["a b"], bootstrap=20)["bleu"].margin is None


def test_the_interval_is_the_one_that_sacrebleu_counts() -> None:
    hyps, refs = HYPS * 5, REFS * 5
    metric = sacrebleu.metrics.BLEU(force=True)
    told = str(metric.corpus_score(hyps, [refs], n_bootstrap=50))
    score = corpus_scores(hyps, refs, bootstrap=50)["bleu"]
    assert f"± {score.margin:.2f}" in told
    assert score.signature == str(metric.get_signature())


def test_groups_by_length_are_cut_only_where_the_length_changes() -> None:
    lengths = [1, 1, 1, 1, 1, 2, 3, 3]
    lines = [" ".join(["word"] * length) for length in lengths]
    groups = scores_by_length(lines, lines, lines, groups=4)
    assert [(group.shortest, group.longest) for group in groups] == [(1, 1), (2, 2), (3, 3)]
    assert scores_by_length(lines[:5], lines[:5], lines[:5])[0].longest == 1
    assert scores_by_length([], [], []) == []


def test_sources_without_spaces_are_grouped_by_their_characters() -> None:
    srcs = ["猫" * size for size in range(1, 9)]
    assert [(one.shortest, one.longest) for one in scores_by_length(srcs, srcs, srcs, groups=2)] == [(1, 4), (5, 8)]
    assert word_counts(["わたしは猫です。", "iPhoneを 買う"]) == [8, 9]
    assert word_counts(["a cat's", "猫 が 好き", ""]) == [2, 3, 0]


def test_groups_have_intervals_if_wanted() -> None:
    [group] = scores_by_length(["a b"] * 10, HYPS * 5, REFS * 5, bootstrap=20)
    assert group.margin == corpus_scores(HYPS * 5, REFS * 5, bootstrap=20)["bleu"].margin
    [group] = scores_by_length(["a b"] * 10, HYPS * 5, REFS * 5)
    assert group.margin is None


def test_the_picture_of_lengths_begins_at_zero_and_has_a_title(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **b: drawn.append(self) or save(self, *a, **b))
    groups = [LengthScore(1, 5, 40.0, 2.0), LengthScore(6, 9, 35.0, 1.5)]
    without: list[Any] = [LengthScore(1, 5, 20.0), LengthScore(6, 9, 0.0)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="matplotlib")  # what it does inside
        draw_lengths({"模型 $\\frac$": groups}, tmp_path / "one.png")
        draw_lengths({"_a": groups, "b": without}, tmp_path / "two.png")
        draw_lengths({"empty": []}, tmp_path / "none.png")
    one, two, _ = (figure.axes[0] for figure in drawn)
    assert one.get_ylim()[0] == two.get_ylim()[0] == 0.0
    assert "BLEU" in one.get_title()
    assert one.get_legend() is None
    assert [text.get_text() for text in two.get_legend().get_texts()] == ["_a", "b"]
    assert [container.has_yerr for container in two.containers] == [True, False]
