"""A model of four pieces whose probabilities are tables, for searches that can be checked by hand."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from nmt.data.tokenizer import BOS, EOS
from nmt.decoding.rules import length_penalty

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
