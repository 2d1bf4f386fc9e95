"""Word links learned from the bitext alone: the mean of HMMs on several segmentations of its words.

Rare words (inflected forms, compounds) consist of common pieces, and an HMM on words makes other errors than HMMs on
pieces of different sizes. On 60 hand-aligned sentences of Multi30k the mean makes half as many errors as an HMM on
words; docs/alignment.md has the figures.
"""

import json
from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmt.alignment.hmm import BidirectionalHMM
from nmt.alignment.links import Link, likely_links
from nmt.alignment.pieces import Pieces, Segmentation, encode_pairs
from nmt.alignment.word_pair_keys import Pair
from nmt.alignment.words import WordLevel, lower
from nmt.arrays import Float32Array
from nmt.errors import AlignmentError
from nmt.regular import GIB, read_regular

TokenizedPair = tuple[Sequence[str], Sequence[str]]  # the words of a source and a target sentence

# None stands for the words themselves.
SEGMENTATIONS: tuple[Segmentation | None, ...] = (
    None,
    ("unigram", 1000),
    ("unigram", 2000),
    ("unigram", 4000),
    ("bpe", 1000),
    ("bpe", 2000),
    ("bpe", 4000),
)
_MOST_CELLS = 60_000_000  # pairs of pieces that one segmentation's HMM learns from; 100 of them take 1.3 KB of memory
_LARGEST_PAIR = 1_000_000  # cells; a sentence pair with more gets no links
_LONGEST_SIDE = 2_000  # words; a sentence pair with a longer side gets no links
_CELLS_AT_ONCE = 5_000_000  # cells of the pairs whose probabilities all segmentations compute at the same time
_PAIRS_AT_ONCE = 5_000
_LARGEST_FILE = 1 * GIB
_NAMES, _ARRAYS = "aligner.json", "aligner.safetensors"


class BitextAligner:
    """A word aligner that was trained on a bitext."""

    def __init__(self, views: Sequence["_View"], level: WordLevel):
        """Take the trained views; see `fit`."""
        self._views, self.level = views, level

    @classmethod
    def fit(
        cls,
        pairs: Sequence[TokenizedPair],
        level: WordLevel = "words",
        threads: int = 1,
        done: Callable[[], object] = lambda: None,
    ) -> "BitextAligner":
        """Return an aligner trained on sentence pairs.

        Args:
            pairs: the words of each sentence pair; case is ignored.
            level: whether these are `words` or white-space separated `tokens`.
            threads: how many segmentations are trained at the same time.
            done: a function that is called after each of the `SEGMENTATIONS`.
        """
        lowered = [(_lower(src), _lower(tgt)) for src, tgt in pairs]

        def view(segmentation: Segmentation | None) -> "_View | None":
            try:
                return _View.fit(lowered, segmentation)
            except RuntimeError:  # the text has too few words, or too many characters, for this number of pieces
                return None
            finally:
                done()

        with ThreadPoolExecutor(max(1, threads)) as pool:
            views = [each for each in pool.map(view, SEGMENTATIONS) if each is not None]
        return cls(views, level)

    @property
    def largest_pieces(self) -> tuple[Pieces, Pieces]:
        """Source and target pieces of the segmentation with the most pieces; words only if there is no other one."""
        with_model = [view for view in self._views if view.src.model is not None]
        view = max(with_model or self._views, key=lambda view: len(view.src) + len(view.tgt))
        return view.src, view.tgt

    def posteriors(self, pairs: Sequence[TokenizedPair], threads: int = 1) -> list[Float32Array]:
        """Return ``[T, S]`` for each pair: the probability of each link, from 0 to 1."""
        lowered = [(_lower(src), _lower(tgt)) if _is_usable(src, tgt) else ([], []) for src, tgt in pairs]
        mean: list[Float32Array] = []
        with ThreadPoolExecutor(max(1, threads)) as pool:
            for chunk in _in_chunks(lowered):
                by_view = list(pool.map(lambda view, chunk=chunk: view.posteriors(chunk), self._views))
                mean += [sum(each) / np.float32(len(each)) for each in zip(*by_view, strict=True)]
        return [
            found if found.shape == (len(tgt), len(src)) else np.zeros((len(tgt), len(src)), dtype=np.float32)
            for found, (src, tgt) in zip(mean, pairs, strict=True)
        ]

    def links(self, pairs: Iterator[TokenizedPair] | Sequence[TokenizedPair], threads: int = 1) -> Iterator[list[Link]]:
        """Yield the links of each pair, in order; only some thousand pairs are held in memory at a time."""
        iterator = iter(pairs)
        while chunk := list(islice(iterator, _PAIRS_AT_ONCE)):
            yield from map(likely_links, self.posteriors(chunk, threads))

    def save(self, folder: Path) -> None:
        """Write the aligner into an existing folder, as ``aligner.json`` and ``aligner.safetensors``."""
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {}
        names = []
        for number, view in enumerate(self._views):
            arrays |= {f"{number}.{name}": array for name, array in view.hmm.arrays().items()}
            for side, pieces in (("src", view.src), ("tgt", view.tgt)):
                if pieces.model is not None:
                    arrays[f"{number}.{side}"] = np.frombuffer(pieces.model, dtype=np.uint8)
            names.append({"src": view.src.names, "tgt": view.tgt.names})
        content = {"level": self.level, "views": names}
        (folder / _NAMES).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
        (folder / _ARRAYS).write_bytes(save(arrays))

    @classmethod
    def load(cls, folder: Path) -> "BitextAligner":
        """Return the aligner that `save` wrote into `folder`.

        Raises:
            AlignmentError: if its files are missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            content = json.loads(read_regular(folder / _NAMES, _LARGEST_FILE))
            level, names = content["level"], content["views"]
            if level not in ("words", "tokens") or not names:
                raise ValueError(f"the level {level} with {len(names)} segmentations")
            arrays = load(read_regular(folder / _ARRAYS, _LARGEST_FILE))
            views = []
            for number, sides in enumerate(names):
                own = {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{number}.")}
                src, tgt = (
                    Pieces(sides[side], own.pop(side).tobytes() if side in own else None) for side in ("src", "tgt")
                )
                views.append(_View(src, tgt, BidirectionalHMM.from_arrays(own, len(src), len(tgt))))
        except OSError as error:
            raise AlignmentError(f"{folder}: there is no word aligner here ({error.strerror})") from None
        except (SafetensorError, ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
            raise AlignmentError(f"{folder}: the word aligner is damaged ({error})") from None
        return cls(views, level)


def _lower(words: Sequence[str]) -> list[str]:
    return [lower(word) for word in words]


@dataclass(frozen=True)
class _View:
    """The pieces of one segmentation of the words, and an HMM on these pieces."""

    src: Pieces
    tgt: Pieces
    hmm: BidirectionalHMM

    @classmethod
    def fit(cls, pairs: Sequence[TokenizedPair], segmentation: Segmentation | None) -> "_View":
        """Train the pieces and the HMM of a segmentation.

        Raises:
            RuntimeError: if the text does not allow this number of pieces.
        """
        src, tgt = (Pieces.train([pair[side] for pair in pairs], segmentation) for side in (0, 1))
        encoded = [(src_ids, tgt_ids) for (src_ids, _), (tgt_ids, _) in encode_pairs(src, tgt, pairs)]
        return cls(src, tgt, BidirectionalHMM.fit(_spread(encoded), len(src), len(tgt)))

    def posteriors(self, pairs: Sequence[TokenizedPair]) -> list[Float32Array]:
        """Return ``[T, S]`` for each pair; the probability of a link is the largest among the words' pieces.

        It is 0 for pairs with too many pieces, as of a word with thousands of characters.
        """
        encoded = encode_pairs(self.src, self.tgt, pairs)
        by_piece = self.hmm.posteriors(
            [(src, tgt) if _is_usable(src, tgt, times=2) else (src[:0], tgt[:0]) for (src, _), (tgt, _) in encoded]
        )
        return [
            np.maximum.reduceat(np.maximum.reduceat(weights, tgt_starts, axis=0), src_starts, axis=1)
            if weights.size
            else np.zeros((len(tgt_starts), len(src_starts)), dtype=np.float32)
            for weights, ((_, src_starts), (_, tgt_starts)) in zip(by_piece, encoded, strict=True)
        ]


def _spread(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """Return an evenly spread selection of the pairs, without empty and very large ones, for an HMM to learn from."""
    usable = [pair for pair in pairs if _is_usable(*pair)]
    cells = sum(len(src) * len(tgt) for src, tgt in usable)
    return usable[:: max(1, -(-cells // _MOST_CELLS))]


def _is_usable(src: Sized, tgt: Sized, times: int = 1) -> bool:
    """Return whether no side of a pair is empty and memory suffices for it; sides may be several `times` as long."""
    cells, longest = len(src) * len(tgt), max(len(src), len(tgt))
    return 0 < cells <= _LARGEST_PAIR * times**2 and longest <= _LONGEST_SIDE * times


def _in_chunks(pairs: Sequence[TokenizedPair]) -> Iterator[Sequence[TokenizedPair]]:
    """Yield the pairs in order, in chunks of about `_CELLS_AT_ONCE` cells."""
    cells = np.cumsum([len(src) * len(tgt) for src, tgt in pairs], dtype=np.int64)
    first = 0
    while first < len(pairs):
        before = cells[first - 1] if first else 0
        end = max(first + 1, int(np.searchsorted(cells, before + _CELLS_AT_ONCE)))
        yield pairs[first:end]
        first = end
