"""Keys for the pairs of words that occur in a corpus. A translation table has an entry for these pairs only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nmt.arrays import Int64Array

# The word ids of a source and a target sentence; -1 is a word that training did not see.
Pair = tuple[Int64Array, Int64Array]
_MOST_DENSE = 1 << 25  # training keeps a table of all possible pairs of words if they are not more (128 MiB)


def keys_of(src: Int64Array, tgt: Int64Array, tgt_size: int) -> Int64Array:
    """Return the key of each pair of words, ``[..., T, S]``.

    Args:
        src: ``[..., S]`` word ids.
        tgt: ``[..., T]`` word ids.
        tgt_size: number of target words.
    """
    return src[..., None, :] * max(1, tgt_size) + tgt[..., :, None]


def distinct_keys(pairs: Sequence[Pair], src_size: int, tgt_size: int) -> Int64Array:
    """Return the keys that occur in a corpus, in ascending order."""
    is_dense = src_size * tgt_size <= _MOST_DENSE
    seen = np.zeros(src_size * tgt_size if is_dense else 0, dtype=np.bool_)
    parts: list[Int64Array] = []
    for start in range(0, len(pairs), 5000):
        keys = np.concatenate([keys_of(src, tgt, tgt_size).ravel() for src, tgt in pairs[start : start + 5000]])
        if is_dense:
            seen[keys] = True
        else:
            parts.append(np.unique(keys))
    if is_dense:
        return np.flatnonzero(seen)
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.int64)


def dense_numbers(keys: Int64Array, size: int) -> NDArray[np.int32] | None:
    """Return the index of each possible key in `keys`, or `len(keys)` for a key that is not in it.

    Args:
        keys: the keys, in ascending order.
        size: number of possible keys.

    Returns:
        ``[size]``, or None if that would take too much memory.
    """
    if size > _MOST_DENSE:
        return None
    numbers = np.full(size, len(keys), dtype=np.int32)
    numbers[keys] = np.arange(len(keys), dtype=np.int32)
    return numbers


def numbers_of(keys: Int64Array, known: Int64Array) -> Int64Array:
    """Return the index of each key in `known` (in ascending order), or `len(known)` for a key that is not in it."""
    if not len(known):
        return np.zeros(keys.shape, dtype=np.int64)
    numbers = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[numbers] == keys, numbers, len(known))
