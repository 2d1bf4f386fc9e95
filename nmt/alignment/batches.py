"""Batches of sentence pairs of similar lengths, which need little padding."""

from collections.abc import Iterator

import numpy as np

from nmt.arrays import Int64Array


def similar_pairs(lengths: Int64Array, most_cells: int) -> Iterator[Int64Array]:
    """Yield the indices of the pairs of each batch, the shortest first; pairs with an empty side are left out.

    Args:
        lengths: ``[N, 2]`` source and target length of each pair.
        most_cells: the most cells of a padded batch ``[B, T, S]``; a single pair may have more.
    """
    longer, shorter = lengths.max(axis=1), lengths.min(axis=1)
    order = np.lexsort((shorter, longer))
    order = order[shorter[order] > 0]
    src_lengths, tgt_lengths = lengths[order].T.tolist()
    start = src_longest = tgt_longest = 0
    for end, (src_length, tgt_length) in enumerate(zip(src_lengths, tgt_lengths, strict=True)):
        src_longest, tgt_longest = max(src_longest, src_length), max(tgt_longest, tgt_length)
        if end > start and (end + 1 - start) * src_longest * tgt_longest > most_cells:
            yield order[start:end]
            start, src_longest, tgt_longest = end, src_length, tgt_length
    if start < len(order):
        yield order[start:]
