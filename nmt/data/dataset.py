"""Sentence pairs as piece ids in a memory-mapped table."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nmt.data.batching import Batch, Floats, Ints, collate, cut_batches, pair_costs
from nmt.data.cache import Table, cached_table
from nmt.data.guide import TargetAlignments
from nmt.data.subword_regularization import Sampling
from nmt.data.tokenizer import Tokenizer

PIECE_COLUMNS = {"src_ids": ["int32"], "tgt_ids": ["int32"]}


@dataclass(frozen=True)
class DroppedPairs:
    """How many pairs each filter took from the training data."""

    empty: int
    too_long: int


class PieceCorpus:
    """Sentence pairs as piece ids in a memory-mapped table, and the rows of it that are used."""

    def __init__(
        self,
        table: Table,
        max_length: int | None = None,
        rows: Ints | None = None,
        guide: TargetAlignments | None = None,
        weights: Floats | None = None,
    ):
        """Measure the pairs and choose the rows.

        Args:
            table: columns `src_ids` and `tgt_ids`.
            max_length: drop pairs with an empty side, or with more pieces than this on either side; None keeps all.
            rows: use just these rows, and drop nothing.
            guide: the target alignments of guided attention; None if the attention is not guided.
            weights: how often each row of the table comes in an epoch; None for once each.
        """
        import pyarrow.compute

        self.guide = guide
        self._src, self._tgt = (table.column(name) for name in ("src_ids", "tgt_ids"))
        src_len, tgt_len = (pyarrow.compute.list_value_length(side).to_numpy() for side in (self._src, self._tgt))
        empty = (src_len == 0) | (tgt_len == 0)
        too_long = ~empty & (np.maximum(src_len, tgt_len) > (max_length or np.inf))
        kept = np.flatnonzero(~(empty | too_long)) if max_length is not None else np.arange(len(src_len))
        self.rows: Ints = kept if rows is None else rows
        self.row_weights = weights
        self.weights = None if weights is None else weights[self.rows]
        self.src_len: Ints = src_len[self.rows].astype(np.int64)
        self.tgt_len: Ints = tgt_len[self.rows].astype(np.int64)
        self.drops = (
            DroppedPairs(int(empty.sum()), int(too_long.sum())) if max_length is not None else DroppedPairs(0, 0)
        )

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: Sequence[int] | Ints) -> Batch:
        """Return the pairs `chosen` (positions among the used rows) as one padded batch."""
        rows = self.rows[np.asarray(chosen)]
        src, tgt = _ragged(self._src, rows), _ragged(self._tgt, rows)
        batch = collate(src, tgt)
        if self.guide is None:
            return batch
        srcs, tgts = (np.split(values, np.cumsum(lengths)[:-1]) for values, lengths in (src, tgt))
        guide = self.guide.batch(rows, srcs, tgts, (batch.tgt_in.shape[1], batch.src_ids.shape[1]))
        return replace(batch, guide=torch.from_numpy(guide))

    def in_order(self, batch_size: int = 4096) -> Iterator[Batch]:
        """Yield all pairs by length, in batches of at most `batch_size` padded tokens on the longer side."""
        order = np.lexsort((self.src_len, self.tgt_len))
        for chosen in cut_batches(order, self.costs, batch_size, "tokens"):
            yield self.batch(chosen)

    @functools.cached_property
    def costs(self) -> Ints:
        """The tokens of a batch's budget that each pair takes; see `pair_costs`. They are computed once."""
        return pair_costs(self.src_len, self.tgt_len)


def _ragged(column: Any, rows: Ints) -> tuple[Ints, Ints]:
    """Return the values and the lengths of the chosen rows of an Arrow list column."""
    import pyarrow

    taken = column.take(pyarrow.array(rows)).combine_chunks()
    if isinstance(taken, pyarrow.ChunkedArray):  # several chunks stay several when they are empty
        taken = pyarrow.concat_arrays(taken.chunks)
    return taken.flatten().to_numpy().astype(np.int64), np.diff(taken.offsets.to_numpy()).astype(np.int64)


def encode_table(text: Table, tokenizer: Tokenizer, path: Path) -> Table:
    """Return the piece ids of a text table, memory-mapped; write them to the cache if they are not there yet.

    Args:
        text: columns `src` and `tgt`.
        tokenizer: the models.
        path: the table's file in the cache.

    Raises:
        DataError: if the cache cannot be read or written.
    """
    return cached_table(path, PIECE_COLUMNS, piece_rows(text, tokenizer))


def piece_rows(
    text: Table, tokenizer: Tokenizer, sampling: Sampling | None = None, longest_sample: int | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table of piece ids.

    Args:
        text: columns `src` and `tgt`.
        tokenizer: the models.
        sampling: see `Tokenizer.encode_corpus`; None for the best segmentation.
        longest_sample: a side whose sampled segmentation has more pieces takes the best one.
    """
    encoded = tokenizer.encode_corpus(text_pairs(text), sampling)
    for (src, tgt), (src_text, tgt_text) in zip(encoded, text_pairs(text), strict=True):
        if longest_sample is not None and len(src) > longest_sample:
            src = tokenizer.encode_src(src_text).ids
        if longest_sample is not None and len(tgt) > longest_sample:
            tgt = tokenizer.encode_tgt(tgt_text).ids
        yield {"src_ids": src, "tgt_ids": tgt}


def text_pairs(text: Table) -> Iterator[tuple[str, str]]:
    """Yield the (source, target) texts of a table, in order."""
    yield from text.rows("src", "tgt")
