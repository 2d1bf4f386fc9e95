"""Diverse beams and the penalty for repetition, against slow searches in plain Python."""

from collections import Counter
from collections.abc import Callable
from itertools import product

import pytest
import torch

from nmt.config import DecodingConfig
from nmt.data.tokenizer import EOS, Tokenizer
from nmt.decoding.beam import beam_search
from nmt.decoding.diverse import diverse_beam_search
from nmt.decoding.rules import Rules, Scoring
from nmt.decoding.search import greedy
from nmt.decoding.translator import Translator
from nmt.errors import DataError
from nmt.model.seq2seq import Seq2Seq
from tests.toy_model import LIMIT, VOCAB, ToyMemory, ToyModel

SAYABLE = [EOS, *range(4, VOCAB)]  # UNK is forbidden


def memory_of(names: list[int]) -> ToyMemory:
    return ToyMemory(torch.ones(len(names), 3, dtype=torch.bool), torch.tensor(names))


def slowly(model: ToyModel, name: int, size: int, groups: int, strength: float) -> set[tuple[int, ...]]:
    """Every hypothesis that a group finishes before it is out of rows, for a search that nothing stops earlier."""
    beams: list[list[tuple[float, tuple[int, ...]]]] = [[(0.0, ())] for _ in range(groups)]
    slots, found = [size] * groups, set()
    for step in range(LIMIT):
        taken: Counter[int] = Counter()
        for at in range(groups):
            pieces = [EOS] if step == LIMIT - 1 else SAYABLE
            candidates = []
            for total, history in beams[at]:
                row = model.row(name, (2, *history))
                candidates += [
                    (total + float(row[piece]) - strength * taken[piece], total + float(row[piece]), (*history, piece))
                    for piece in pieces
                ]
            chosen = sorted(candidates, reverse=True)[: slots[at]]
            ended = [history for _, _, history in chosen if history[-1] == EOS]
            found |= set(ended)
            slots[at] -= len(ended)
            taken.update(history[-1] for _, _, history in chosen)
            beams[at] = [(total, history) for _, total, history in chosen if history[-1] != EOS]
    return found


@pytest.mark.parametrize(("groups", "strength"), [(2, 0.0), (2, 0.7), (3, 0.4), (3, 30.0)])
def test_groups_avoid_what_those_before_have_taken(groups: int, strength: float) -> None:
    for seed in range(20):
        model, names = ToyModel(seed), [0, 1]
        rules = Rules.of([LIMIT] * 2, forbid_unk=True)
        found = diverse_beam_search(
            model, memory_of(names), 2 * groups, rules, Scoring(0.0), groups, strength, 2 * groups
        )
        for name, hypotheses in zip(names, found, strict=True):
            assert {(*one.ids, EOS) for one in hypotheses} == slowly(model, name, 2, groups, strength)
            for one in hypotheses:
                rows = [model.row(name, (2, *one.ids[:at])) for at in range(len(one.ids) + 1)]
                own = sum(float(row[piece]) for row, piece in zip(rows, (*one.ids, EOS), strict=True))
                assert one.log_prob == pytest.approx(own, abs=1e-5)
                assert not one.proven
            assert [one.score for one in hypotheses] == sorted((one.score for one in hypotheses), reverse=True)


def test_a_sentence_does_not_see_the_others_of_its_batch() -> None:
    model, arguments = ToyModel(5), (Scoring(0.0), 2, 0.6, 4)
    together = diverse_beam_search(model, memory_of([0, 1, 2]), 4, Rules.of([LIMIT] * 3), *arguments)
    for name in range(3):
        [alone] = diverse_beam_search(model, memory_of([name]), 4, Rules.of([LIMIT]), *arguments)
        assert [one.ids for one in alone] == [one.ids for one in together[name]]


@pytest.mark.parametrize("penalty", [1.0, 1.3, 4.0])
def test_a_repeated_piece_costs_more_and_log_probabilities_stay_the_models(penalty: float) -> None:
    for seed in range(20):
        model = ToyModel(seed)
        best: dict[tuple[int, ...], tuple[float, float]] = {}
        for length in range(LIMIT):
            for ids in product(SAYABLE[1:], repeat=length):
                own = [float(model.row(0, (2, *ids[:at]))[piece]) for at, piece in enumerate((*ids, EOS))]
                again = [piece in ids[:at] for at, piece in enumerate((*ids, EOS))]
                penalised = [value * (penalty if repeats else 1.0) for value, repeats in zip(own, again, strict=True)]
                best[ids] = sum(penalised), sum(own)
        rules = Rules.of([LIMIT], forbid_unk=True, repetition_penalty=penalty)
        [found] = beam_search(model, memory_of([0]), 200, rules, Scoring(0.0), 5)
        expected = sorted(best, key=lambda ids: -best[ids][0])[:5]
        assert [tuple(one.ids) for one in found] == expected
        for one in [*found, greedy(model, memory_of([0]), rules, Scoring(0.0))[0]]:
            assert (one.score, one.log_prob) == pytest.approx(best[tuple(one.ids)], abs=1e-5)


def test_the_translator_takes_both_from_its_settings(make_model: Callable[..., Seq2Seq], tokenizer: Tokenizer) -> None:
    model = make_model(len(tokenizer.tgt_pieces))

    def translations(**settings: object) -> list[str]:
        config = DecodingConfig.model_validate({"beam_size": 4, "max_length_ratio": 1.0} | settings)
        [best] = Translator(model, tokenizer, config, torch.device("cpu")).translate(["two big dogs eat"], n_best=4)
        return [one.tgt.text for one in (best, *best.others)]

    plain = translations()
    diverse = translations(diversity={"groups": 2, "strength": 20.0})
    assert len(set(diverse)) == len(diverse) == 4
    assert diverse != plain

    def repeats(texts: list[str]) -> int:
        return sum(sum(count - 1 for count in Counter(tokenizer.encode_tgt(text).ids).values()) for text in texts)

    assert repeats(translations(repetition_penalty=5.0)) < repeats(plain)
    with pytest.raises(ValueError, match=r"diversity\.groups is 3, which does not divide beam_size = 4"):
        translations(diversity={"groups": 3})
    with pytest.raises(ValueError, match="switch sampling off"):
        translations(diversity={"groups": 2}, sampling={"enabled": True})
    with pytest.raises(ValueError, match="no effect with one group"):
        translations(diversity={"strength": 2.0})
    config = DecodingConfig.model_validate({"beam_size": 4, "diversity": {"groups": 2}})
    from nmt.decoding.request import Request

    with pytest.raises(DataError, match=r"set decoding\.diversity\.groups to 1"):
        Translator(model, tokenizer, config, torch.device("cpu")).translate([Request("a cat", require=["chat"])])
