"""From cached piece ids to batches: which pairs, in which order, and their padded tensors."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nmt.data.corpus import cached_table
from nmt.data.guide import Guide
from nmt.data.sampling import Sampling
from nmt.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer, encode_corpus

if TYPE_CHECKING:
    import datasets

Ints = NDArray[np.int64]
WINDOW_BATCHES = 500  # of 64 sentences, some 3 % of the tokens are padding then; 12 % with 50


@dataclass(frozen=True)
class Batch:
    """Padded sentence pairs; masks are True on real tokens.

    Attributes:
        src_ids: ``[B, S]`` source pieces.
        src_mask: ``[B, S]`` bool.
        tgt_in: ``[B, T]`` BOS and the target pieces.
        tgt_out: ``[B, T]`` the target pieces and EOS.
        tgt_mask: ``[B, T]`` bool, of both.
        src_tokens: number of real source tokens.
        tgt_tokens: number of real target tokens, EOS counted.
        guide: ``[B, T, S]`` what the attention ought to be, rows sum to 1 or are 0; None where nobody says.
    """

    src_ids: Tensor
    src_mask: Tensor
    tgt_in: Tensor
    tgt_out: Tensor
    tgt_mask: Tensor
    src_tokens: int
    tgt_tokens: int
    guide: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        moved: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **moved)

    def halves(self) -> "list[Batch]":
        """The same pairs in two batches, or in one if there is a single pair."""
        middle = len(self.src_ids) // 2
        parts = []
        for rows in (slice(0, middle), slice(middle, None)) if middle else (slice(None),):
            masks = self.src_mask[rows], self.tgt_mask[rows]
            src, tgt = (slice(0, int(mask.sum(dim=1).max())) for mask in masks)
            parts.append(
                Batch(
                    self.src_ids[rows, src],
                    self.src_mask[rows, src],
                    self.tgt_in[rows, tgt],
                    self.tgt_out[rows, tgt],
                    self.tgt_mask[rows, tgt],
                    int(masks[0].sum()),
                    int(masks[1].sum()),
                    None if self.guide is None else self.guide[rows, tgt, src],
                )
            )
        return parts


@dataclass(frozen=True)
class Drops:
    """How many pairs each filter took from the training data."""

    empty: int
    too_long: int


class PieceCorpus:
    """Sentence pairs as piece ids in a memory-mapped table, and the rows of it that are used."""

    def __init__(
        self,
        table: "datasets.Dataset",
        max_length: int | None = None,
        rows: Ints | None = None,
        guide: Guide | None = None,
    ):
        """Measure the pairs and choose the rows.

        Args:
            table: columns `src_ids` and `tgt_ids`.
            max_length: drop pairs with an empty side, or with more pieces than this on either side; None keeps all.
            rows: use just these rows, and drop nothing.
            guide: what the attention ought to be; None where nobody says.
        """
        import pyarrow.compute

        self.guide = guide
        self._src, self._tgt = (table.data.column(name) for name in ("src_ids", "tgt_ids"))
        src_len, tgt_len = (pyarrow.compute.list_value_length(side).to_numpy() for side in (self._src, self._tgt))
        empty = (src_len == 0) | (tgt_len == 0)
        too_long = ~empty & (np.maximum(src_len, tgt_len) > (max_length or np.inf))
        kept = np.flatnonzero(~(empty | too_long)) if max_length is not None else np.arange(len(src_len))
        self.rows: Ints = kept if rows is None else rows
        self.src_len: Ints = src_len[self.rows].astype(np.int64)
        self.tgt_len: Ints = tgt_len[self.rows].astype(np.int64)
        self.drops = Drops(int(empty.sum()), int(too_long.sum())) if max_length is not None else Drops(0, 0)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: Sequence[int] | Ints) -> Batch:
        """The pairs `chosen` (positions among the used rows) as one padded batch."""
        rows = self.rows[np.asarray(chosen)]
        src, tgt = _ragged(self._src, rows), _ragged(self._tgt, rows)
        batch = collate(src, tgt)
        if self.guide is None:
            return batch
        srcs, tgts = (np.split(values, np.cumsum(lengths)[:-1]) for values, lengths in (src, tgt))
        guide = self.guide.batch(rows, srcs, tgts, (batch.tgt_in.shape[1], batch.src_ids.shape[1]))
        return replace(batch, guide=torch.from_numpy(guide))

    def in_order(self, batch_size: int = 4096) -> Iterator[Batch]:
        """All pairs by length, nothing random, in batches of at most `batch_size` padded tokens on the longer side."""
        order = np.lexsort((self.src_len, self.tgt_len))
        for chosen in cut_batches(order, self.costs, batch_size, "tokens"):
            yield self.batch(chosen)

    @property
    def costs(self) -> Ints:
        """What each pair takes of a token budget: the pieces of its longer side, EOS counted on the target."""
        return np.maximum(self.src_len, self.tgt_len + 1)


def _ragged(column: Any, rows: Ints) -> tuple[Ints, Ints]:
    """Values and lengths of the chosen rows of an Arrow list column."""
    import pyarrow

    taken = column.take(pyarrow.array(rows)).combine_chunks()
    if isinstance(taken, pyarrow.ChunkedArray):  # several chunks stay several when they are empty
        taken = pyarrow.concat_arrays(taken.chunks)
    return taken.flatten().to_numpy().astype(np.int64), np.diff(taken.offsets.to_numpy()).astype(np.int64)


def batch_of(pairs: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Batch:
    """A batch from piece ids held in memory."""
    sides = zip(*pairs, strict=True)
    ragged = (
        (np.concatenate([np.asarray(s, dtype=np.int64) for s in side]), np.array([len(s) for s in side]))
        for side in sides
    )
    return collate(*ragged)


def collate(src: tuple[Ints, Ints], tgt: tuple[Ints, Ints]) -> Batch:
    """Pad both sides; an empty source becomes one unknown piece, since there must be something to look at.

    Args:
        src: all source ids in a row, and the length of each sentence.
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
        tgt_in=torch.from_numpy(np.concatenate([start, tgt_ids], axis=1)),
        tgt_out=torch.from_numpy(tgt_out),
        tgt_mask=torch.from_numpy(tgt_mask),
        src_tokens=int(src_mask.sum()),
        tgt_tokens=int(tgt_mask.sum()),
    )


def _pad(values: Ints, lengths: Ints, minimum: int) -> tuple[Ints, Ints]:
    width = max(minimum, int(lengths.max(initial=0)))
    padded = np.full((len(lengths), width), PAD, dtype=np.int64)
    padded[np.arange(width) < lengths[:, None]] = values
    return padded, lengths


def encode_table(
    text: "datasets.Dataset",
    tokenizer: Tokenizer,
    path: Path,
    sampling: Sampling | None = None,
    longest_sample: int | None = None,
) -> "datasets.Dataset":
    """The piece ids of a text table, memory-mapped; written to `path` if they are not there yet.

    Args:
        text: columns `src` and `tgt`.
        tokenizer: the models.
        path: the Arrow file.
        sampling: see `encode_corpus`; None for the best segmentation.
        longest_sample: a side whose sampled segmentation has more pieces takes the best one.
    """

    def rows() -> Iterator[dict[str, Any]]:
        encoded = encode_corpus(tokenizer, text_pairs(text), sampling)
        if longest_sample is None:
            yield from ({"src_ids": src, "tgt_ids": tgt} for src, tgt in encoded)
            return
        for (src, tgt), (src_text, tgt_text) in zip(encoded, text_pairs(text), strict=True):
            yield {
                "src_ids": src if len(src) <= longest_sample else tokenizer.encode_src(src_text).ids,
                "tgt_ids": tgt if len(tgt) <= longest_sample else tokenizer.encode_tgt(tgt_text).ids,
            }

    return cached_table(path, {"src_ids": ["int32"], "tgt_ids": ["int32"]}, rows())


def text_pairs(text: "datasets.Dataset") -> Iterator[tuple[str, str]]:
    """The (source, target) texts of a table, in order."""
    for chunk in text.select_columns(["src", "tgt"]).iter(batch_size=2000):
        yield from zip(chunk["src"], chunk["tgt"], strict=True)


def plan_batches(
    corpus: PieceCorpus, batch_size: int, unit: Literal["tokens", "sentences"], seed: int, epoch: int
) -> list[Ints]:
    """Which pairs go together, and in which order, in one epoch; a function of the lengths, `seed` and `epoch` alone.

    The pairs are shuffled, sorted by length within windows, cut into batches, and the batches shuffled. Each pair comes
    exactly once.

    Args:
        corpus: the pairs.
        batch_size: for `tokens`, the most padded positions on the longer side (sentences x longest, EOS counted on the
            target); for `sentences`, the most sentences.
        unit: what `batch_size` counts.
        seed: of the run.
        epoch: from 0.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(corpus))
    costs = corpus.costs
    mean = max(1.0, float(costs.mean())) if unit == "tokens" and len(corpus) else 1.0
    window = max(1, int(WINDOW_BATCHES * batch_size / mean))
    batches: list[Ints] = []
    for start in range(0, len(order), window):
        part = order[start : start + window]
        part = part[np.lexsort((corpus.src_len[part], corpus.tgt_len[part]))]
        batches += cut_batches(part, costs, batch_size, unit)
    return [batches[i] for i in random.permutation(len(batches))]


def cut_batches(order: Ints, costs: Ints, batch_size: int, unit: Literal["tokens", "sentences"]) -> list[Ints]:
    """Cut `order` into runs that stay within the budget; a pair that alone is over it becomes a batch of its own."""
    batches: list[Ints] = []
    start, widest = 0, 0
    for position, cost in enumerate(costs[order]):
        count = position - start + 1
        over = count > batch_size if unit == "sentences" else count * max(widest, cost) > batch_size
        if over and count > 1:
            batches.append(order[start:position])
            start, widest = position, 0
        widest = max(widest, int(cost))
    if start < len(order):
        batches.append(order[start:])
    return batches
