import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from nmt.data.batching import batch_of
from nmt.data.tokenizer import BOS, EOS
from nmt.decoding.rules import Rules, Scoring, length_penalty
from nmt.decoding.search import Hypothesis, beam_search, greedy
from nmt.model.seq2seq import Seq2Seq

VOCAB, LIMIT = 7, 4  # pieces 4, 5, 6 and UNK = 1 can be said


@dataclass(frozen=True)
class ToyMemory:
    src_mask: Tensor
    names: Tensor  # [B] which table a sentence uses

    def select(self, rows: Tensor) -> "ToyMemory":
        return ToyMemory(self.src_mask[rows], self.names[rows])


@dataclass(frozen=True)
class ToyState:
    history: Tensor  # [N, t]

    def select(self, rows: Tensor) -> "ToyState":
        return ToyState(self.history[rows])


class ToyModel:
    """Random log-probabilities for every sentence and history; weights say which history was read."""

    def __init__(self, seed: int):
        self.seed = seed

    def row(self, name: int, history: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(hash((self.seed, name, history)) % 2**31)
        return (torch.randn(VOCAB, generator=generator, dtype=torch.float64) * 2).log_softmax(-1)

    def start(self, memory: ToyMemory) -> ToyState:
        return ToyState(torch.empty(len(memory.src_mask), 0, dtype=torch.long))

    def step(self, tokens: Tensor, state: ToyState, memory: ToyMemory) -> tuple[Tensor, Tensor, ToyState]:
        history = torch.cat([state.history, tokens[:, None]], dim=1)
        beams = len(tokens) // len(memory.src_mask)
        rows = [self.row(int(memory.names[i // beams]), tuple(h)) for i, h in enumerate(history.tolist())]
        weights = torch.zeros(len(tokens), memory.src_mask.shape[1])
        weights[:, 0] = history.sum(1).float()
        return torch.stack(rows), weights, ToyState(history)

    def every_sequence(
        self, name: int, alpha: float, limit: int, min_length: int = 0
    ) -> list[tuple[float, float, list[int]]]:
        found = []
        for length in range(min_length, limit):
            for ids in itertools.product([1, 4, 5, 6], repeat=length):
                prefix = [BOS, *ids]
                total = sum(float(self.row(name, tuple(prefix[: i + 1]))[token]) for i, token in enumerate([*ids, EOS]))
                found.append((total / length_penalty(length + 1, alpha), total, list(ids)))
        return sorted(found, reverse=True)


def toy_memory(names: list[int]) -> ToyMemory:
    return ToyMemory(torch.ones(len(names), 3, dtype=torch.bool), torch.tensor(names))


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0, 2.0])
def test_a_wide_beam_is_brute_force(alpha: float) -> None:
    for seed in range(12):
        model = ToyModel(seed)
        found = beam_search(model, toy_memory([0, 1, 2]), 4**LIMIT, Rules.of([LIMIT, LIMIT - 1, 2]), Scoring(alpha))
        for name, (hypotheses, limit) in enumerate(zip(found, [LIMIT, LIMIT - 1, 2], strict=True)):
            score, log_prob, ids = model.every_sequence(name, alpha, limit)[0]
            assert hypotheses[0].ids == ids
            assert hypotheses[0].score == pytest.approx(score, abs=1e-5)
            assert hypotheses[0].log_prob == pytest.approx(log_prob, abs=1e-5)


def test_the_n_best_of_a_wide_beam_are_the_n_best_of_all() -> None:
    model = ToyModel(3)
    found = beam_search(model, toy_memory([0]), 4**LIMIT, Rules.of([LIMIT]), Scoring(1.0), n_best=5)[0]
    assert [hypothesis.ids for hypothesis in found] == [ids for _, _, ids in model.every_sequence(0, 1.0, LIMIT)[:5]]


def test_beam_one_is_greedy() -> None:
    for seed in range(30):
        model = ToyModel(seed)
        limits = [6, 9, 3, 1]
        one = beam_search(model, toy_memory([0, 1, 2, 3]), 1, Rules.of(limits, 1), Scoring(1.0))
        assert [hypotheses[0].ids for hypotheses in one] == [
            h.ids for h in greedy(model, toy_memory([0, 1, 2, 3]), Rules.of(limits, 1), Scoring())
        ]


@pytest.mark.parametrize("search", ["greedy", "beam"])
def test_lengths_keep_their_bounds(search: str) -> None:
    for seed in range(20):
        model, memory, limits = ToyModel(seed), toy_memory([0, 1, 2]), [3, 5, 8]
        found = (
            greedy(model, memory, Rules.of(limits, 2), Scoring())
            if search == "greedy"
            else [h[0] for h in beam_search(model, memory, 3, Rules.of(limits, 2), Scoring(1.0))]
        )
        for hypothesis, limit in zip(found, limits, strict=True):
            assert 2 <= len(hypothesis.ids) < limit
            assert not {0, BOS, EOS} & set(hypothesis.ids)


@pytest.mark.parametrize("beam", [1, 2, 5])
def test_the_log_prob_is_the_sum_along_the_path_and_the_weights_are_the_paths_own(beam: int) -> None:
    for seed in range(10):
        model = ToyModel(seed)
        for name, hypotheses in enumerate(beam_search(model, toy_memory([0, 1]), beam, Rules.of([7, 7]), Scoring(0.6))):
            best = hypotheses[0]
            prefix, total = [BOS], 0.0
            for row, token in zip(best.weights, [*best.ids, EOS], strict=True):
                assert row[0] == sum(prefix)  # what the toy model wrote when it read this very history
                total += float(model.row(name, tuple(prefix))[token])
                prefix.append(token)
            assert best.log_prob == pytest.approx(total, abs=1e-5)


def test_a_sentence_does_not_see_its_batch() -> None:
    model = ToyModel(1)
    together = beam_search(model, toy_memory([0, 1, 2, 3]), 3, Rules.of([8, 3, 8, 5]), Scoring(1.0))
    for name, limit in enumerate([8, 3, 8, 5]):
        alone = beam_search(model, toy_memory([name]), 3, Rules.of([limit]), Scoring(1.0))[0]
        assert [h.ids for h in alone] == [h.ids for h in together[name]]


def test_length_penalty_is_wus() -> None:
    assert length_penalty(1, 1.0) == 1.0
    assert length_penalty(7, 1.0) == 2.0
    assert length_penalty(7, 0.5) == pytest.approx(math.sqrt(2))


MakeModel = Callable[..., Seq2Seq]
SOURCES = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14, 15, 16, 17, 18], [19]]
LIMITS = [12, 8, 16, 6]


def search(model: Seq2Seq, sources: list[list[int]], limits: list[int], beam: int) -> list[Hypothesis]:
    batch = batch_of([(source, []) for source in sources])
    with torch.inference_mode():
        memory = model.encode(batch.src_ids, batch.src_mask)
        if beam == 0:
            return greedy(model, memory, Rules.of(limits, 1), Scoring(1.0))
        return [found[0] for found in beam_search(model, memory, beam, Rules.of(limits, 1), Scoring(1.0))]


@pytest.mark.parametrize("beam", [0, 1, 4])
@pytest.mark.parametrize(
    ("score", "wiring", "feeding"),
    [("additive", "luong", True), ("general", "bahdanau", False), ("dot", "luong", False)],
)
def test_real_models_do_not_depend_on_batch_or_order(
    make_model: MakeModel, beam: int, score: str, wiring: str, feeding: bool
) -> None:
    model = make_model(attention={"score": score}, decoder={"wiring": wiring, "input_feeding": feeding})
    together = search(model, SOURCES, LIMITS, beam)
    backwards = search(model, SOURCES[::-1], LIMITS[::-1], beam)[::-1]
    for index, (source, limit) in enumerate(zip(SOURCES, LIMITS, strict=True)):
        alone = search(model, [source], [limit], beam)[0]
        for other in (together[index], backwards[index]):
            assert other.ids == alone.ids
            assert other.log_prob == pytest.approx(alone.log_prob, abs=1e-4)
            np.testing.assert_allclose(other.weights, alone.weights, atol=1e-5)
            assert other.weights.shape == (len(other.ids) + 1, len(source))


@pytest.mark.parametrize("wiring", ["luong", "bahdanau"])
def test_forced_scores_and_matrices_are_the_searchs_own(make_model: MakeModel, wiring: str) -> None:
    model = make_model(decoder={"wiring": wiring})
    for source, found in zip(SOURCES, search(model, SOURCES, LIMITS, 4), strict=True):
        batch = batch_of([(source, found.ids)])
        with torch.inference_mode():
            features, weights = model(batch)
            log_probs = model.project(features).log_softmax(-1)
        forced = float(log_probs.gather(-1, batch.tgt_out[..., None]).sum())
        assert forced == pytest.approx(found.log_prob, abs=1e-4)
        np.testing.assert_allclose(weights[0].numpy(), found.weights, atol=1e-5)
