"""Batches: which pairs go together, in which order, and their padded tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from nmt.arrays import Float64Array, IntArray
from nmt.data.tokenizer import BOS, EOS, PAD, UNK

WINDOW_BATCHES = 500  # with batches of 64 sentences, some 3 % of the tokens are padding; with windows of 50, 12 %


@dataclass(frozen=True)
class Batch:
    """Padded sentence pairs; masks are True on real tokens.

    Attributes:
        src_ids: ``[B, S]`` source pieces.
        src_mask: ``[B, S]`` bool.
        src_lengths: ``[B]`` the number of real source tokens, always on the CPU, where packing needs it.
        tgt_in: ``[B, T]`` BOS and the target pieces.
        tgt_out: ``[B, T]`` the target pieces and EOS.
        tgt_mask: ``[B, T]`` bool, for both `tgt_in` and `tgt_out`.
        tgt_positions: ``[N]`` the positions of the real target tokens in ``[B x T]``. Unlike selecting by a mask,
            selecting by positions does not have to wait for a value from a GPU's memory.
        src_tokens: number of real source tokens.
        tgt_tokens: number of real target tokens, EOS counted.
        guide: ``[B, T, S]`` the target alignment; rows sum to 1, or to 0 for tokens without links;
            None if the attention is not guided.
    """

    src_ids: Tensor
    src_mask: Tensor
    src_lengths: Tensor
    tgt_in: Tensor
    tgt_out: Tensor
    tgt_mask: Tensor
    tgt_positions: Tensor
    src_tokens: int
    tgt_tokens: int
    guide: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """Return the same batch on `device`."""
        # Apple's GPU would read a tensor that is gone by then; an NVIDIA GPU copies memory that is not pinned at once.
        return self._moved(lambda values: values.to(device, non_blocking=device.type == "cuda"))

    def pinned(self) -> "Batch":
        """Return the same batch in pinned memory, which a GPU can read while the program continues."""
        return self._moved(Tensor.pin_memory)

    def _moved(self, move: Callable[[Tensor], Tensor]) -> "Batch":
        """Return the same batch with `move` applied to every tensor except the lengths, which stay on the CPU."""
        moved: dict[str, Any] = {
            field.name: move(value)
            for field in fields(self)
            if field.name != "src_lengths" and isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def twice(self, cut: float) -> "Batch":
        """Return a batch with the same pairs twice, first unchanged, then with some input tokens cut, and no `guide`.

        Args:
            cut: the probability with which an input token of the second half is cut. A cut token becomes PAD, whose
                embedding is 0, but the masks still treat it as a real token.
        """
        both: dict[str, Any] = {
            field.name: torch.cat([value, value])
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor) and field.name != "guide"
        }
        if cut:
            for name in ("src_ids", "tgt_in"):
                second = both[name][len(self.src_ids) :]
                second.masked_fill_(torch.rand(second.shape, device=second.device) < cut, PAD)
        both["tgt_positions"][len(self.tgt_positions) :] += self.tgt_mask.numel()
        both |= {"guide": None, "src_tokens": 2 * self.src_tokens, "tgt_tokens": 2 * self.tgt_tokens}
        return replace(self, **both)

    def halves(self) -> "list[Batch]":
        """Return the same pairs in two batches, or in one if there is a single pair."""
        middle = len(self.src_ids) // 2
        parts = []
        for rows in (slice(0, middle), slice(middle, None)) if middle else (slice(None),):
            masks = self.src_mask[rows], self.tgt_mask[rows]
            src, tgt = (slice(0, int(mask.sum(dim=1).max())) for mask in masks)
            parts.append(
                Batch(
                    self.src_ids[rows, src],
                    self.src_mask[rows, src],
                    self.src_lengths[rows],
                    self.tgt_in[rows, tgt],
                    self.tgt_out[rows, tgt],
                    self.tgt_mask[rows, tgt],
                    positions_of(self.tgt_mask[rows, tgt]),
                    int(masks[0].sum()),
                    int(masks[1].sum()),
                    None if self.guide is None else self.guide[rows, tgt, src],
                )
            )
        return parts


def batch_of(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Batch:
    """Return the batch of sentence pairs that are given as source and target piece ids."""
    sides = zip(*pairs, strict=True)
    ragged = (
        (np.concatenate([np.asarray(s, dtype=np.int64) for s in side]), np.array([len(s) for s in side]))
        for side in sides
    )
    return collate(*ragged)


def collate(src: tuple[IntArray, IntArray], tgt: tuple[IntArray, IntArray]) -> Batch:
    """Return a padded batch. An empty source becomes one unknown piece, so that there is something to attend to.

    Args:
        src: the ids of all source sentences concatenated, and the length of each sentence.
        tgt: the same for the target.
    """
    src_ids, src_len = _pad(*src, minimum=1)
    src_ids[src_len == 0, 0] = UNK
    tgt_ids, tgt_len = _pad(*tgt, minimum=0)
    start = np.full((len(tgt_ids), 1), BOS)
    tgt_out = np.concatenate([tgt_ids, np.full_like(start, PAD)], axis=1)
    tgt_out[np.arange(len(tgt_out)), tgt_len] = EOS
    src_mask = np.arange(src_ids.shape[1]) < np.maximum(src_len, 1)[:, None]
    tgt_mask = np.arange(tgt_out.shape[1]) <= tgt_len[:, None]
    return Batch(
        src_ids=torch.from_numpy(src_ids),
        src_mask=torch.from_numpy(src_mask),
        src_lengths=torch.from_numpy(np.maximum(src_len, 1).astype(np.int64)),
        tgt_in=torch.from_numpy(np.concatenate([start, tgt_ids], axis=1)),
        tgt_out=torch.from_numpy(tgt_out),
        tgt_mask=torch.from_numpy(tgt_mask),
        tgt_positions=torch.from_numpy(np.flatnonzero(tgt_mask)),
        src_tokens=int(src_mask.sum()),
        tgt_tokens=int(tgt_mask.sum()),
    )


def positions_of(mask: Tensor) -> Tensor:
    """Return where a mask ``[B, T]`` is True, as positions in ``[B x T]``."""
    return mask.flatten().nonzero()[:, 0]


def _pad(values: IntArray, lengths: IntArray, minimum: int) -> tuple[IntArray, IntArray]:
    width = max(minimum, int(lengths.max(initial=0)))
    padded = np.full((len(lengths), width), PAD, dtype=np.int64)
    padded[np.arange(width) < lengths[:, None]] = values
    return padded, lengths


def plan_batches(
    src_len: IntArray,
    tgt_len: IntArray,
    batch_size: int,
    unit: Literal["tokens", "sentences"],
    seed: int,
    epoch: int,
    weights: Float64Array | None = None,
) -> list[IntArray]:
    """Plan the batches of one epoch and their order; the same arguments always give the same plan.

    The pairs are shuffled, sorted by length within windows and cut into batches; then the batches are shuffled. Each
    pair occurs exactly once, or as often as its weight says.

    Args:
        src_len: ``[N]`` the number of source pieces of each pair.
        tgt_len: ``[N]`` the number of target pieces of each pair, without EOS.
        batch_size: the largest size of a batch, in `unit`.
        unit: what `batch_size` counts: `sentences`, or `tokens`. The tokens of a batch are its sentences times the
            pieces of the longest one (so they include padding), on the side where that is more. EOS counts on the
            target.
        seed: the seed of the run.
        epoch: the number of the epoch, from 0.
        weights: ``[N]`` how often each pair occurs; None if each occurs once. A fractional part is the share of the
            pairs with this fractional part that are chosen at random to occur once more.

    Returns:
        The positions of each batch's pairs, with the batches in the order of training.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(src_len) if weights is None else _occurrences(weights, random))
    costs = pair_costs(src_len, tgt_len)
    mean = max(1.0, float(costs.mean())) if unit == "tokens" and len(src_len) else 1.0
    window = max(1, int(WINDOW_BATCHES * batch_size / mean))
    batches: list[IntArray] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        part = part[np.lexsort((src_len[part], tgt_len[part]))]
        batches += cut_batches(part, costs, batch_size, unit)
    return [batches[i] for i in random.permutation(len(batches))]


def _occurrences(weights: Float64Array, random: np.random.Generator) -> IntArray:
    """Return the position of each pair as often as its weight says."""
    whole = np.floor(weights).astype(np.int64)
    chosen = [np.repeat(np.arange(len(weights)), whole)]
    fractions = weights - whole
    for fraction in np.unique(fractions[fractions > 0]):
        alike = np.flatnonzero(fractions == fraction)
        expected = float(fraction) * len(alike)
        # Otherwise a few pairs of small weight would be left out of every epoch.
        count = round(expected) or int(random.random() < expected)
        chosen.append(random.choice(alike, count, replace=False))
    return np.concatenate(chosen)


def pair_costs(src_len: IntArray, tgt_len: IntArray) -> IntArray:
    """Return how many tokens of a budget each pair takes: the pieces of its longer side, with EOS on the target."""
    costs: IntArray = np.maximum(src_len, tgt_len + 1)
    return costs


def cut_batches(
    order: IntArray, costs: IntArray, batch_size: int, unit: Literal["tokens", "sentences"]
) -> list[IntArray]:
    """Cut `order` into batches within the budget; a pair that exceeds the budget becomes a batch of its own."""
    if unit == "sentences":
        return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    batches: list[IntArray] = []
    in_order = costs[order].astype(np.int64)
    start = 0
    while start < len(order):
        most = max(1, batch_size // max(1, int(in_order[start])))  # a batch that begins here cannot have more pairs
        widest = np.maximum.accumulate(in_order[start : start + most])
        sizes = widest * np.arange(1, len(widest) + 1)
        end = start + max(1, int(np.searchsorted(sizes, batch_size, side="right")))
        batches.append(order[start:end])
        start = end
    return batches
