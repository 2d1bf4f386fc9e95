import math
import warnings

import numpy as np
import pytest

from nmt.data.tokenizer import Encoded
from nmt.decoding.confidence import judged_words, word_log_probs
from nmt.evaluation.calibration import Calibration, calibration_error, correct_words, fit_calibration

TARGET = Encoded("je t'aime", [5, 6, 7, 8], ["▁je", "▁t'", "ai", "me"], [(0, 2), (2, 5), (5, 7), (7, 9)])


def test_a_words_log_prob_is_the_sum_of_its_pieces() -> None:
    values = [-0.1, -0.2, -0.3, -0.4, -9.0]
    assert word_log_probs(TARGET, values) == pytest.approx([-0.1, -0.2, -0.7])
    assert word_log_probs(TARGET, values, "tokens") == pytest.approx([-0.1, -0.9])
    assert word_log_probs(TARGET, values, "pieces") == values[:4]
    assert word_log_probs(Encoded("", [], [], []), [-9.0]) == []
    assert Calibration().confidences([math.log(0.25)]) == pytest.approx([0.25])
    # logit(0.2) is -log 4; halved and moved by log 2 it is 0
    assert Calibration(2.0, math.log(2)).confidences([math.log(0.2)]) == pytest.approx([0.5])


def test_words_are_judged_by_hand() -> None:
    words = Encoded("le chat.", [5, 6, 7], ["▁le", "▁chat", "."], [(0, 2), (2, 7), (7, 8)])
    targets = [words, Encoded("", [], [], [])]
    log_probs, correct = judged_words(targets, [[-1.0, -2.0, -3.0, -9.0], [-9.0]], ["un chat.", "rien"])
    assert log_probs == [-1.0, -2.0, -3.0]
    assert correct == [False, True, True]


def test_words_that_differ_in_unicode_form_only_are_the_same() -> None:
    target = Encoded("caf\u00e9 a", [4, 5], ["caf\u00e9", " a"], [(0, 4), (4, 6)])
    assert judged_words([target], [[-1.0, -2.0, 0.0]], ["cafe\u0301 b"]) == ([-1.0, -2.0], [True, False])


def test_correct_words_by_hand() -> None:
    assert correct_words(["le", "chat", "noir", "dort"], ["le", "petit", "chat", "dort"]) == [True, True, False, True]
    assert correct_words([], ["a"]) == []


def test_calibration_error_by_hand() -> None:
    # bin 0.9-1: three of confidence 0.95, two correct; bin 0.1-0.2: one of 0.15, not correct
    expected = (abs(2 / 3 - 0.95) * 3 + 0.15) / 4
    assert calibration_error([0.95, 0.95, 0.95, 0.15], [True, True, False, False]) == pytest.approx(expected)
    assert calibration_error([], []) == 0.0


@pytest.mark.parametrize("truth", [Calibration(0.5, 0.0), Calibration(2.0, -1.0), Calibration(1.0, 0.7)])
def test_the_calibration_is_found_again(truth: Calibration) -> None:
    generator = np.random.default_rng(1)
    log_probs = np.log(generator.uniform(0.05, 0.999, 40000)).tolist()
    correct = (generator.uniform(size=40000) < np.array(truth.confidences(log_probs))).tolist()
    found = fit_calibration(log_probs, correct)
    assert found.temperature == pytest.approx(truth.temperature, rel=0.05)
    assert found.offset == pytest.approx(truth.offset, abs=0.05)
    assert calibration_error(found.confidences(log_probs), correct) < 0.02
    assert calibration_error(Calibration().confidences(log_probs), correct) > 0.05


def test_few_or_separable_words_do_not_lead_astray() -> None:
    few = fit_calibration([-0.1, -0.2], [True, True])
    assert 0.5 < few.temperature < 2
    log_probs, correct = [-1e-4] * 500 + [-2.0] * 3, [True] * 499 + [False] * 4
    found = fit_calibration(log_probs, correct)
    assert 0.1 < found.temperature < 10
    assert abs(found.offset) < 10
    error = calibration_error(found.confidences(log_probs), correct)
    assert error <= calibration_error(Calibration().confidences(log_probs), correct) + 1e-6
    assert fit_calibration([-0.01] * 200 + [-3.0] * 200, [False] * 200 + [True] * 200) == Calibration()


def test_an_impossible_piece_makes_its_words_impossible_and_no_others() -> None:
    target = Encoded("ab cd", [4, 5, 6], ["ab", " c", "d"], [(0, 2), (2, 4), (4, 5)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert word_log_probs(target, [-1.0, -math.inf, -2.0, 0.0]) == [-1.0, -math.inf]
        assert word_log_probs(target, [-1.0, -0.5, -2.0, 0.0]) == pytest.approx([-1.0, -2.5])
