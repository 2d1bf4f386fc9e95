"""Ensembles: several models with the same target vocabulary that translate together."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from nmt.data.batching import Batch
from nmt.model.memory import Memory
from nmt.model.seq2seq import TOKENS_AT_ONCE, Seq2Seq

Part = TypeVar("Part")


@dataclass(frozen=True)
class EnsembleMemory:
    """Each model's memory of one batch."""

    memories: tuple[Memory, ...]

    @property
    def src_mask(self) -> Tensor:
        """``[B, S]``, True on real tokens."""
        return self.memories[0].src_mask

    def without(self, hidden: Tensor) -> "EnsembleMemory":
        """Return the memories without hidden source tokens; see `Memory.without`."""
        return EnsembleMemory(tuple(memory.without(hidden) for memory in self.memories))

    def select(self, rows: Tensor) -> "EnsembleMemory":
        """Return the memories of the sentences `rows`."""
        return EnsembleMemory(tuple(memory.select(rows) for memory in self.memories))


@dataclass(frozen=True)
class EnsembleState:
    """Each model's decoder state."""

    states: tuple[Any, ...]

    def select(self, rows: Tensor) -> "EnsembleState":
        """Return the states with their rows reordered, repeated or left out."""
        return EnsembleState(tuple(state.select(rows) for state in self.states))


class Ensemble(torch.nn.Module):
    """Several models that are searched like one: log-probabilities and attention weights are means over the models.

    As is usual, the means of the log-probabilities are not normalised again, so the probabilities sum to less than 1.
    Models without attention do not contribute to the weights, nor do those whose weights belong to another step than
    those of the first model with attention (`decoding.alignment_at`).
    """

    def __init__(self, models: Sequence[Seq2Seq], steps: Sequence[str | None] = ()):
        """Take the models.

        Args:
            models: at least one model; all must have the same target pieces.
            steps: where the weights of each model belong (`decoding.alignment_at`), None for a model without attention;
                empty if all models agree.
        """
        super().__init__()
        self.models = torch.nn.ModuleList(models)
        first = next((step for step in steps if step is not None), None)
        self.agrees = [step in (None, first) for step in steps] or [True] * len(models)
        self.attends = [step == first for step in steps] or [True] * len(models)

    @property
    def max_src_length(self) -> int | None:
        """The longest source, in pieces, that all models have positions for; None for any length."""
        return min((model.max_src_length for model in self._models() if model.max_src_length), default=None)

    @property
    def max_tgt_length(self) -> int | None:
        """The longest target, in pieces with EOS, that all models have positions for; None for any length."""
        return min((model.max_tgt_length for model in self._models() if model.max_tgt_length), default=None)

    @property
    def read_from(self) -> str:
        """A description, for display, of the weights whose mean is the alignment."""
        named = [model.read_from for model, attends in zip(self._models(), self.attends, strict=True) if attends]
        return f"mean of {'; '.join(named)}"

    def encode(self, batch: Batch) -> EnsembleMemory:
        """Encode the sources of a batch with every model."""
        return EnsembleMemory(tuple(model.encode(batch) for model in self._models()))

    def start(self, memory: EnsembleMemory) -> EnsembleState:
        """Return the states before the first token."""
        return EnsembleState(
            tuple(model.start(own) for model, own in zip(self._models(), memory.memories, strict=True))
        )

    def step(
        self, tokens: Tensor, state: EnsembleState, memory: EnsembleMemory
    ) -> tuple[Tensor, Tensor, EnsembleState]:
        """Read one token per row; see `Seq2Seq.step`."""
        steps = [
            model.step(tokens, own_state, own_memory)
            for model, own_state, own_memory in zip(self._models(), state.states, memory.memories, strict=True)
        ]
        log_probs, weights = _mean([step[0] for step in steps]), self._mean_weights([step[1] for step in steps])
        return log_probs, weights, EnsembleState(tuple(step[2] for step in steps))

    def forced(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the targets' log-probabilities ``[B, T]`` and the attention weights ``[B, T, S]``.

        As in search, the log-probabilities are means over the models, so their exponentials need not sum to 1.
        """
        scored = [model.forced(batch) for model in self._models()]
        return _mean([log_probs for log_probs, _ in scored]), self._mean_weights([weights for _, weights in scored])

    def posterior(self, batch: Batch, hidden: Tensor | None = None) -> Tensor:
        """Return the mean of the models' posterior weights ``[B, T, S]``; see `Seq2Seq.posterior`."""
        return _mean([model.posterior(batch, hidden) for model in self._models()])

    def normalised(self, batch: Batch) -> Tensor:
        """Return the targets' log-probabilities ``[B, T]``, 0 on padding, after normalising the means over the pieces.

        Perplexity needs normalised probabilities. Search does not, since it only compares hypotheses.
        """
        real = batch.tgt_positions
        gold = batch.tgt_out.flatten()[real]  # [N]
        features = [model(batch, need_weights=False)[0].flatten(0, 1)[real] for model in self._models()]
        log_probs = torch.zeros(batch.tgt_mask.shape, device=gold.device)
        parts = []
        for start in range(0, len(gold), TOKENS_AT_ONCE):
            rows = slice(start, start + TOKENS_AT_ONCE)
            means = _mean(
                [
                    model.project(own[rows]).float().log_softmax(dim=-1)
                    for model, own in zip(self._models(), features, strict=True)
                ]
            )
            parts.append(means.log_softmax(dim=-1).gather(-1, gold[rows, None]).squeeze(-1))
        log_probs.view(-1)[real] = torch.cat(parts)
        return log_probs

    def _models(self) -> list[Seq2Seq]:
        return list(self.models)  # type: ignore[arg-type]

    def _of_agreeing(self, parts: Sequence[Part]) -> list[Part]:
        """Return the parts of the models whose weights belong to the step of the first model with attention."""
        return [part for part, agrees in zip(parts, self.agrees, strict=True) if agrees]

    def _mean_weights(self, weights: Sequence[Tensor]) -> Tensor:
        shown = [one for one in self._of_agreeing(weights) if one.shape[-1] > 0]
        return _mean(shown) if shown else weights[0]


def _mean(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(parts)).mean(dim=0)
