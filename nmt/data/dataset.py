"""Sentence pairs as piece ids in a memory-mapped table."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nmt.arrays import Float64Array, IntArray
from nmt.data.batching import Batch, collate, cut_batches, pair_costs
from nmt.data.cache import Table, cached_table
from nmt.data.guide import TargetAlignments
from nmt.data.tokenizer import EOS, Tokenizer

PIECE_COLUMNS = {"src_ids": ["int32"], "tgt_ids": ["int32"]}


@dataclass(frozen=True)
class DroppedPairs:
    """How many training pairs were dropped, by reason."""

    empty: int
    too_long: int


class PieceCorpus:
    """Sentence pairs as piece ids in a memory-mapped table, of which some or all rows are used."""

    def __init__(
        self,
        table: Table,
        max_length: int | None = None,
        guide: TargetAlignments | None = None,
    ):
        """Measure the pairs and choose the rows.

        Args:
            table: columns `src_ids` and `tgt_ids`.
            max_length: drop pairs with an empty side, or with more pieces than this on either side; None keeps all.
            guide: the target alignments of guided attention; None if the attention is not guided.
        """
        self.guide = guide
        self._src, self._tgt = (_ListColumn(table.column(name)) for name in ("src_ids", "tgt_ids"))
        src_len, tgt_len = self._src.lengths(), self._tgt.lengths()
        self.rows: IntArray = np.arange(len(src_len), dtype=np.int32)
        self.drops = DroppedPairs(0, 0)
        if max_length is not None:
            empty = (src_len == 0) | (tgt_len == 0)
            too_long = ~empty & (np.maximum(src_len, tgt_len) > max_length)
            self.drops = DroppedPairs(int(empty.sum()), int(too_long.sum()))
            self.rows = self.rows[~(empty | too_long)]
        self.weights: Float64Array | None = None  # how often each used row occurs in an epoch; None if each occurs once
        self.src_len: IntArray = src_len[self.rows]
        self.tgt_len: IntArray = tgt_len[self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: Sequence[int] | IntArray) -> Batch:
        """Return the pairs `chosen` (positions among the used rows) as one padded batch."""
        rows = self.rows[np.asarray(chosen)]
        src, tgt = self._pieces(rows)
        batch = collate(src, tgt)
        if self.guide is None:
            return batch
        srcs, tgts = (np.split(values, np.cumsum(lengths)[:-1]) for values, lengths in (src, tgt))
        guide = self.guide.batch(rows, srcs, tgts, (batch.tgt_in.shape[1], batch.src_ids.shape[1]))
        return replace(batch, guide=torch.from_numpy(guide))

    def token_counts(self, chosen: IntArray) -> tuple[int, int]:
        """Return the numbers of source and target tokens of the pairs `chosen`, as `Batch` counts them."""
        return int(np.maximum(self.src_len[chosen], 1).sum()), int(self.tgt_len[chosen].sum()) + len(chosen)

    def tgt_pieces(self, size: int) -> torch.Tensor:
        """Return ``[V]`` bool, True on EOS and on every piece that is on the target side of the table.

        Rows that are not used count, too. With subword sampling, the pieces are those of the best segmentations.

        Args:
            size: the number V of target pieces.
        """
        found = np.zeros(size, dtype=bool)
        found[EOS] = True
        for values in self._tgt.values():
            found[values] = True
        return torch.from_numpy(found)

    def _pieces(self, rows: IntArray) -> tuple[tuple[IntArray, IntArray], tuple[IntArray, IntArray]]:
        """Return, for each side, the concatenated piece ids of the rows and the number of pieces in each row."""
        return self._src.take(rows), self._tgt.take(rows)

    def in_order(self, batch_size: int = 4096) -> Iterator[Batch]:
        """Yield all pairs, sorted by length, in batches of at most `batch_size` padded tokens on the longer side."""
        order = np.lexsort((self.src_len, self.tgt_len))
        for chosen in cut_batches(order, self.costs, batch_size, "tokens"):
            yield self.batch(chosen)

    @functools.cached_property
    def costs(self) -> IntArray:
        """How many tokens of a batch's budget each pair takes; see `pair_costs`. This is computed once."""
        return pair_costs(self.src_len, self.tgt_len)


class _ListColumn:
    """An Arrow column of lists that is read in place. Looking up a row is as fast with many chunks as with one."""

    def __init__(self, column: Any):
        self._chunks = [(chunk.offsets.to_numpy(), chunk.values.to_numpy()) for chunk in column.chunks if len(chunk)]
        self._starts = np.cumsum([0, *(len(offsets) - 1 for offsets, _ in self._chunks)])  # of the chunks, and the end

    def lengths(self) -> IntArray:
        """Return the number of values of each row."""
        lengths = np.empty(self._starts[-1], dtype=np.int32)
        for start, (offsets, _) in zip(self._starts, self._chunks, strict=False):
            np.subtract(offsets[1:], offsets[:-1], out=lengths[start : start + len(offsets) - 1])
        return lengths

    def values(self) -> Iterator[IntArray]:
        """Yield the values of all rows, a part at a time."""
        for offsets, values in self._chunks:
            yield values[offsets[0] : offsets[-1]]

    def take(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return the concatenated values of the chosen rows and the number of values in each row."""
        chunks = np.searchsorted(self._starts, rows, side="right") - 1
        parts = []
        for chunk, row in zip(chunks.tolist(), (rows - self._starts[chunks]).tolist(), strict=True):
            offsets, values = self._chunks[chunk]
            parts.append(values[offsets[row] : offsets[row + 1]])
        lengths = np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))
        return np.concatenate(parts or [np.zeros(0)]).astype(np.int64), lengths


def encode_table(text: Table, tokenizer: Tokenizer, path: Path) -> Table:
    """Return the piece ids of a text table as a memory-mapped table; write it to the cache first if it is missing.

    Args:
        text: columns `src` and `tgt`.
        tokenizer: the tokenizer of both sides.
        path: the table's file in the cache.

    Raises:
        DataError: if the cache cannot be read or written.
    """
    return cached_table(path, PIECE_COLUMNS, piece_rows(text, tokenizer))


def piece_rows(text: Table, tokenizer: Tokenizer) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table of piece ids.

    Args:
        text: columns `src` and `tgt`.
        tokenizer: the tokenizer of both sides.
    """
    for src, tgt in tokenizer.encode_corpus(text_pairs(text)):
        yield {"src_ids": src, "tgt_ids": tgt}


def text_pairs(text: Table) -> Iterator[tuple[str, str]]:
    """Yield the (source, target) texts of a table, in order."""
    yield from text.rows("src", "tgt")
