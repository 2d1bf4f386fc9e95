"""The HMM of word alignment (Vogel et al. 1996), trained in both directions by agreement (Liang et al. 2006).

Shapes: B sentence pairs, S source words, T target words. A *cell* is one source word and one target word of a sentence
pair. In the forward direction, every target word has a hidden state: the source word that it is aligned to, or the null
word. In the backward direction, the sides are exchanged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt.alignment.batches import similar_pairs
from nmt.alignment.word_pair_keys import Pair, dense_numbers, distinct_keys, keys_of, numbers_of
from nmt.arrays import Float32Array, Float64Array, Int64Array

ALPHA = 1e-3  # parameter of the symmetric Dirichlet prior of translation probabilities (Riley & Gildea 2012)
NULL_PROBABILITY = 0.1
MODEL1_ITERATIONS, HMM_ITERATIONS = 4, 5
_JUMPS = 50  # jumps farther than this share one probability
_SMALLEST = 1e-12  # the smallest probability of a translation
_KEPT = 1e-4  # only larger table entries are saved
_EXTRA = 3  # entries at the end of a table, for pairs that are not in it, for unknown words, and for padding
_CELLS_IN_TRAINING = 1 << 19  # cells of a batch in training; large, as each batch adds to counts as long as the table
_CELLS_AT_ONCE = 1 << 17  # cells of a batch when links are found; its arrays fit a cache and have little padding


@dataclass(frozen=True)
class _Batch:
    """Pairs of similar lengths, padded.

    Attributes:
        pairs: ``[B]`` the positions of the pairs in the corpus.
        src, tgt: ``[B, S]`` and ``[B, T]`` word ids.
        src_mask, tgt_mask: True on real words.
        cells: ``[B, T, S]`` the index of each cell's entry in the translation table. The last `_EXTRA` entries are for
            words that never occurred together in training, for unseen words, and for padding, in this order.
    """

    pairs: Int64Array
    src: Int64Array
    tgt: Int64Array
    src_mask: NDArray[np.bool_]
    tgt_mask: NDArray[np.bool_]
    cells: NDArray[np.int32]


class _Direction:
    """The parameters of one direction: translation, null and jump probabilities."""

    def __init__(self, given: Int64Array, sizes: tuple[int, int], frequencies: Float32Array):
        """Start with uniform probabilities.

        Args:
            given: for each entry of the translation table, the word that is translated.
            sizes: the vocabulary sizes of the given side and of the generated side.
            frequencies: the relative frequencies of the generated words, which are the null word's probabilities of
                generating them.
        """
        self.given, self.sizes = given, sizes
        self.null = np.append(frequencies, np.float32(1.0 / max(1, sizes[1])))  # id -1 reads the last entry
        self.translation = np.full(len(given) + _EXTRA, 1.0 / max(1, sizes[1]), dtype=np.float32)
        self.translation[-_EXTRA:] = _SMALLEST, 1.0 / max(1, sizes[1]), 0.0
        self.jumps = np.ones(2 * _JUMPS + 1)
        self.first = np.ones(_JUMPS + 1)

    def update_translation(self, counts: Float64Array) -> None:
        """Set the table from expected counts: the mean-field update of variational Bayes (Riley & Gildea 2012)."""
        totals = np.bincount(self.given, counts, minlength=self.sizes[0]).astype(np.float64)
        logarithms = _digamma(counts + ALPHA) - _digamma(totals + ALPHA * self.sizes[1])[self.given]
        self.translation[:-_EXTRA] = np.maximum(np.exp(logarithms), _SMALLEST)


class BidirectionalHMM:
    """The HMMs of both directions, whose translation tables have entries for the same pairs of words."""

    def __init__(self, pairs: Sequence[Pair], src_size: int, tgt_size: int):
        """Collect the pairs of words that occur in a corpus; `fit` also trains the model.

        Args:
            pairs: the sentence pairs to learn from, as word ids.
            src_size: number of source words.
            tgt_size: number of target words.
        """
        self.sizes = src_size, tgt_size
        self.keys: Int64Array = distinct_keys(pairs, src_size, tgt_size)
        src_frequencies, tgt_frequencies = (
            _frequencies([pair[side] for pair in pairs], size) for side, size in enumerate(self.sizes)
        )
        src_of_key, tgt_of_key = self.keys // max(1, tgt_size), self.keys % max(1, tgt_size)
        self.forward = _Direction(src_of_key, (src_size, tgt_size), tgt_frequencies)
        self.backward = _Direction(tgt_of_key, (tgt_size, src_size), src_frequencies)

    @classmethod
    def fit(cls, pairs: Sequence[Pair], src_size: int, tgt_size: int) -> "BidirectionalHMM":
        """Return an HMM trained on a corpus: IBM Model 1 first, then the HMM; see the class for the arguments.

        In the HMM's iterations both translation tables count the product of the two directions' posteriors, so that
        they learn from links on which the directions agree (Liang et al. 2006, section 4). Each direction counts its
        jumps by itself.
        """
        model = cls(pairs, src_size, tgt_size)
        batches = list(model._batches(pairs, _CELLS_IN_TRAINING, dense_numbers(model.keys, src_size * tgt_size)))
        for iteration in range(MODEL1_ITERATIONS + HMM_ITERATIONS):
            model._iterate(batches, with_jumps=iteration >= MODEL1_ITERATIONS)
        return model

    def posteriors(self, pairs: Sequence[Pair]) -> list[Float32Array]:
        """Return ``[T, S]`` for each pair: the mean of both directions' link posteriors, 0 to 1."""
        results = [np.zeros((len(tgt), len(src)), dtype=np.float32) for src, tgt in pairs]
        for batch in self._batches(pairs):
            ahead = _posteriors(self.forward, batch, jump_counts=None)  # [B, T, S]
            back = _posteriors(self.backward, _turned(batch), jump_counts=None).transpose(0, 2, 1)
            both = (ahead + back) / 2
            for row, pair in enumerate(batch.pairs):
                tgt_length, src_length = results[pair].shape
                results[pair] = both[row, :tgt_length, :src_length]
        return results

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the parameters, from which `from_arrays` rebuilds the model.

        Table entries that are improbable in both directions are left out; these are nearly all entries.
        """
        sides = {"forward": self.forward, "backward": self.backward}
        kept = np.maximum(*(side.translation[:-_EXTRA] for side in sides.values())) > _KEPT
        arrays: dict[str, NDArray[np.generic]] = {"keys": self.keys[kept]}
        for name, side in sides.items():
            arrays |= {
                f"{name}.translation": side.translation[:-_EXTRA][kept],
                f"{name}.null": side.null,
                f"{name}.jumps": side.jumps,
                f"{name}.first": side.first,
            }
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], src_size: int, tgt_size: int) -> "BidirectionalHMM":
        """Return the model whose parameters were returned by `arrays`.

        Raises:
            KeyError: if an array is missing.
            ValueError: if an array has another type, size or range than it should.
        """
        model = cls([], src_size, tgt_size)
        keys = arrays["keys"]
        if (
            keys.dtype != np.int64
            or keys.ndim != 1
            or (len(keys) and not 0 <= keys[0] <= keys[-1] < src_size * tgt_size)
        ):
            raise ValueError("the keys are not pairs of words")
        if (np.diff(keys) <= 0).any():
            raise ValueError("the keys are not in order")
        model.keys = keys
        shapes = {"null": model.forward.null.dtype, "translation": np.float32, "jumps": np.float64, "first": np.float64}
        for name, side in (("forward", model.forward), ("backward", model.backward)):
            sizes = {
                "null": len(side.null),
                "translation": len(keys),
                "jumps": len(side.jumps),
                "first": len(side.first),
            }
            for part, size in sizes.items():
                array = arrays[f"{name}.{part}"]
                if array.shape != (size,) or array.dtype != shapes[part] or not (array >= 0).all():
                    raise ValueError(f"{name}.{part} is not an array of {size} probabilities")
            side.null, side.jumps, side.first = (arrays[f"{name}.{part}"] for part in ("null", "jumps", "first"))
            side.translation = np.concatenate([arrays[f"{name}.translation"], side.translation[-_EXTRA:]])
        return model

    def _batches(
        self, pairs: Sequence[Pair], most_cells: int = _CELLS_AT_ONCE, numbers: NDArray[np.int32] | None = None
    ) -> Iterator[_Batch]:
        """Yield padded batches of pairs of similar lengths; pairs with an empty side are left out.

        Args:
            pairs: sentence pairs, as word ids.
            most_cells: the most cells of a batch; a single pair may have more.
            numbers: the result of `dense_numbers` for `self.keys`; None to look the keys up.
        """
        lengths = np.array([(len(src), len(tgt)) for src, tgt in pairs], dtype=np.int64).reshape(-1, 2)
        for chosen in similar_pairs(lengths, most_cells):
            yield self._batch(pairs, chosen, numbers)

    def _batch(self, pairs: Sequence[Pair], chosen: Int64Array, numbers: NDArray[np.int32] | None) -> _Batch:
        src, src_mask = _padded([pairs[index][0] for index in chosen])
        tgt, tgt_mask = _padded([pairs[index][1] for index in chosen])
        real = src_mask[:, None, :] & tgt_mask[:, :, None]  # [B, T, S]
        keys = keys_of(src, tgt, self.sizes[1])[real]
        number = numbers_of(keys, self.keys) if numbers is None else numbers[np.maximum(keys, 0)]
        is_unknown = (src < 0)[:, None, :] | (tgt < 0)[:, :, None]
        cells = np.full(real.shape, len(self.keys) + 2, dtype=np.int32)
        cells[real] = np.where(is_unknown[real], len(self.keys) + 1, number)
        return _Batch(chosen, src, tgt, src_mask, tgt_mask, cells)

    def _iterate(self, batches: Sequence[_Batch], with_jumps: bool) -> None:
        """Do one iteration of expectation maximisation, in place."""
        sides = self.forward, self.backward
        counts = [np.zeros(len(self.keys) + _EXTRA) for _ in sides]
        jump_counts = [_JumpCounts() for _ in sides] if with_jumps else [None, None]
        for batch in batches:
            ahead = _posteriors(self.forward, batch, jump_counts[0])
            back = _posteriors(self.backward, _turned(batch), jump_counts[1]).transpose(0, 2, 1)
            expected = [ahead * back] * 2 if with_jumps else [ahead, back]
            cells = batch.cells.ravel()
            added = [
                np.bincount(cells, each.ravel(), len(self.keys) + _EXTRA) for each in expected[: 1 if with_jumps else 2]
            ]
            for count, more in zip(counts, added * 2, strict=False):
                count += more
        for side, count, jumps in zip(sides, counts, jump_counts, strict=True):
            side.update_translation(count[:-_EXTRA])
            if jumps is not None:
                side.jumps, side.first = jumps.jumps + 0.5, jumps.first + 0.5


class _JumpCounts:
    """Expected counts of jumps from one aligned position to the next, and of first positions."""

    def __init__(self) -> None:
        self.jumps = np.zeros(2 * _JUMPS + 1)
        self.first = np.zeros(_JUMPS + 1)

    def add(self, transitions: Float32Array, first: Float32Array) -> None:
        """Add the counts ``[S, S]`` of jumps (from row to column) and ``[S]`` of first positions."""
        # Positions that share a probability count with their mean, since each of them has this probability.
        offsets = _offsets(len(first))
        for far in (offsets == 0, offsets == 2 * _JUMPS):  # [S, S] the positions far before, and far after, each row
            transitions = np.where(far, transitions / far.sum(axis=1, keepdims=True).clip(min=1), transitions)
        self.jumps += np.bincount(offsets.ravel(), transitions.ravel(), minlength=2 * _JUMPS + 1)
        self.first[:_JUMPS] += np.pad(first[:_JUMPS], (0, max(0, _JUMPS - len(first))))
        self.first[_JUMPS] += first[_JUMPS:].mean() if len(first) > _JUMPS else 0.0


def _posteriors(direction: _Direction, batch: _Batch, jump_counts: _JumpCounts | None) -> Float32Array:
    """Return the posterior probability ``[B, T, S]`` of each link, 0 on padding.

    Before the first HMM iteration all jumps are equally likely, so the HMM is the same as IBM Model 1.
    """
    emission = direction.translation[batch.cells] * np.float32(1 - NULL_PROBABILITY)
    null = np.where(batch.tgt_mask, direction.null[batch.tgt], np.float32(0)) * np.float32(NULL_PROBABILITY)  # [B, T]
    if jump_counts is None and (direction.jumps == 1).all():
        lengths = batch.src_mask.sum(axis=1).astype(np.float32)[:, None]  # [B, 1]
        total = emission.sum(axis=2) / lengths + null  # [B, T]
        shares = emission / np.where(total > 0, total * lengths, np.float32(1))[:, :, None]
        return shares.astype(np.float32)
    return _forward_backward(direction, batch, emission, null, jump_counts)


def _forward_backward(
    direction: _Direction, batch: _Batch, emission: Float32Array, null: Float32Array, jump_counts: _JumpCounts | None
) -> Float32Array:
    """Compute the link posteriors ``[B, T, S]`` with the scaled forward-backward algorithm.

    Each position has a state, and a null state that remembers it (Och & Ney 2003, section 2.1). The expected jumps and
    first positions are added to `jump_counts`, unless that is None.
    """
    size, steps, length = emission.shape
    jumps = direction.jumps[_offsets(length)].astype(np.float32)  # [S, S], from row to column
    last = batch.src_mask.sum(axis=1) - 1  # [B]
    # Jumps beyond the end of a sentence do not exist: each row is normalised over its sentence's own positions.
    scale = (1.0 / jumps.cumsum(axis=1)[:, last].T).astype(np.float32)  # [B, S]
    first = direction.first[np.minimum(np.arange(length), _JUMPS)]
    start = (first / first.cumsum()[last][:, None]).astype(np.float32) * batch.src_mask  # [B, S]

    linked = np.zeros((steps, size, length), dtype=np.float32)  # forward probabilities of the positions
    unlinked = np.zeros((steps, size, length), dtype=np.float32)  # and of the null states that remember them
    totals = np.ones((steps, size, 1), dtype=np.float32)
    for t in range(steps):
        before = start if t == 0 else linked[t - 1] + unlinked[t - 1]
        linked[t] = (before if t == 0 else (before * scale) @ jumps) * emission[:, t]
        unlinked[t] = before * null[:, t, None]
        total = linked[t].sum(axis=1, keepdims=True) + unlinked[t].sum(axis=1, keepdims=True)
        totals[t] = np.where(total > 0, total, np.float32(1))
        linked[t] /= totals[t]
        unlinked[t] /= totals[t]
    posteriors = np.zeros((size, steps, length), dtype=np.float32)
    transitions = np.zeros((length, length), dtype=np.float32)
    after = np.ones((size, length), dtype=np.float32)  # backward probabilities; those of a null state are the same
    for t in range(steps - 1, -1, -1):
        posteriors[:, t] = linked[t] * after
        if t > 0:
            ahead = emission[:, t] * after / totals[t]  # [B, S]
            if jump_counts is not None:
                transitions += jumps * (((linked[t - 1] + unlinked[t - 1]) * scale).T @ ahead)
            earlier = (ahead @ jumps.T) * scale + after * null[:, t, None] / totals[t]
            after = np.where(batch.tgt_mask[:, t, None], earlier, after)
    if jump_counts is not None:
        # A first word without a link remembers a position, too, from which the next word jumps.
        jump_counts.add(transitions, ((linked[0] + unlinked[0]) * after).sum(axis=0))
    return posteriors


def _offsets(length: int) -> Int64Array:
    """Return the index of the jump from each position (row) to each position (column), ``[S, S]``."""
    positions = np.arange(length)
    offsets: Int64Array = np.clip(positions[None, :] - positions[:, None], -_JUMPS, _JUMPS) + _JUMPS
    return offsets


def _turned(batch: _Batch) -> _Batch:
    """Return the batch with its sides exchanged."""
    cells = batch.cells.transpose(0, 2, 1)
    return _Batch(batch.pairs, batch.tgt, batch.src, batch.tgt_mask, batch.src_mask, cells)


def _padded(sentences: Sequence[Int64Array]) -> tuple[Int64Array, NDArray[np.bool_]]:
    """Return the sentences as one array ``[B, L]``, and a mask that is True on real words."""
    lengths = np.array([len(sentence) for sentence in sentences])
    mask = np.arange(lengths.max())[None, :] < lengths[:, None]
    ids = np.zeros(mask.shape, dtype=np.int64)
    ids[mask] = np.concatenate(sentences)
    return ids, mask


def _frequencies(sentences: Sequence[Int64Array], size: int) -> Float32Array:
    """Return the relative frequency of each word, after adding one occurrence of each word."""
    counts = np.bincount(np.concatenate(sentences) if sentences else np.zeros(0, dtype=np.int64), minlength=size) + 1.0
    shares: Float32Array = (counts / counts.sum()).astype(np.float32)
    return shares


def _digamma(x: Float64Array) -> Float64Array:
    """Return the digamma function of positive numbers, to 1e-8 (Abramowitz & Stegun 1964, 6.3.5 and 6.3.18)."""
    shifted = x + 6.0  # the series is exact enough for arguments above 6, and the recurrence leads back to x
    result = -1 / x
    for step in range(1, 6):
        result -= 1 / (x + step)
    inverse = 1 / shifted**2
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    return result + np.log(shifted) - 0.5 / shifted - series
