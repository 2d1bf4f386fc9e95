"""Sampling of segmentations with a seeded random generator: BPE-dropout, and sampling from a unigram model.

sentencepiece can sample, too, but its generator depends on the process, so a resumed run would get other segmentations
than an uninterrupted one. Here the same seed gives the same segmentation in every process. Each word is sampled
separately, since a piece never extends over the space between two words.
"""

import functools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from nmt.alignment.words import SPACE

_WORDS_KEPT = 50_000  # words whose segmentations are cached


@dataclass(frozen=True)
class Sampling:
    """How to sample; see `SubwordSamplingConfig`."""

    type: Literal["bpe", "unigram"]
    alpha: float
    nbest: int


@dataclass(frozen=True)
class _Arc:
    """A piece that may end at a given position of a word."""

    start: int
    piece: int
    energy: float  # log of the sum of P ** alpha over all segmentations up to here that end with this piece


class Sampler:
    """Samples segmentations of texts whose best segmentation is known."""

    def __init__(self, processor: Any, sampling: Sampling):
        """Read the pieces.

        Args:
            processor: a sentencepiece processor.
            sampling: how to sample.
        """
        self.sampling, self._random = sampling, random.Random()
        size = int(processor.get_piece_size())
        self._pieces = [str(processor.id_to_piece(piece)) for piece in range(size)]
        special = [
            bool(kind(piece))
            for kind in (processor.is_control, processor.is_unknown, processor.is_byte, processor.is_unused)
            for piece in range(size)
        ]
        whole = _user_defined(processor.serialized_model_proto())
        plain = [piece for piece in range(size) if piece not in whole and not any(special[piece::size])]
        self._vocabulary = {self._pieces[piece]: (piece, float(processor.get_score(piece))) for piece in plain}
        self._longest = max(map(len, self._vocabulary), default=1)
        # Only the results for recent words are cached: a large corpus has more distinct words than fit in memory.
        self._lattices = functools.lru_cache(_WORDS_KEPT)(self._lattice)
        self._best = functools.lru_cache(_WORDS_KEPT)(self._best_segmentations)

    def sample(self, ids: Sequence[int], seed: int) -> list[int]:
        """Sample a segmentation of the text whose best segmentation is `ids`; the same seed gives the same result.

        Words with unknown pieces, bytes or user-defined symbols keep their best segmentation.
        """
        self._random.seed(seed)
        sampled: list[int] = []
        for word in self._words(ids):
            text = "".join(self._pieces[piece] for piece in word)
            known = all(self._pieces[piece] in self._vocabulary for piece in word)
            if not known or not all(character in self._vocabulary for character in text):
                sampled += word
            else:
                sampled += self._sampled(text, word)
        return sampled

    def _sampled(self, text: str, best: list[int]) -> list[int]:
        match self.sampling.type:
            case "bpe":
                return self._with_dropout(text, best)
            case "unigram" if self.sampling.nbest == -1:
                return self._from_lattice(text)
            case "unigram":
                return self._of_the_best(text)
            case _:
                assert_never(self.sampling.type)

    def _words(self, ids: Sequence[int]) -> list[list[int]]:
        words: list[list[int]] = []
        for piece in ids:
            if not words or self._pieces[piece].startswith(SPACE):
                words.append([])
            words[-1].append(piece)
        return words

    def _with_dropout(self, text: str, best: list[int]) -> list[int]:
        """Sample by BPE-dropout (Provilkov et al. 2020, algorithm 1).

        Before each merge, every possible merge is left out with probability alpha, and the best of the others is done.
        """
        merges = len(text) - len(best)
        until_dropped = self._merges_until_dropped()
        if until_dropped >= merges:
            return best  # no merge is left out, so the result is the best segmentation
        symbols, dropped = list(text), set()
        while True:
            found, at, start = -math.inf, -1, 0
            for position in range(len(symbols) - 1):
                joined = symbols[position] + symbols[position + 1]
                score = self._vocabulary.get(joined, (0, -math.inf))[1]
                if score > found and (start, len(joined)) not in dropped:
                    found, at, where = score, position, (start, len(joined))
                start += len(symbols[position])
            if at < 0:
                return [self._vocabulary[symbol][0] for symbol in symbols]
            if until_dropped == 0:
                dropped.add(where)
                until_dropped = self._merges_until_dropped()
            else:
                symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
                dropped.clear()
                until_dropped -= 1

    def _merges_until_dropped(self) -> float:
        """Sample how many merges are done before the next one is left out."""
        alpha = self.sampling.alpha
        return 0 if alpha >= 1.0 else math.log(1.0 - self._random.random()) // math.log1p(-alpha)

    def _from_lattice(self, text: str) -> list[int]:
        """Sample from all segmentations in proportion to P ** alpha (Kudo 2018, section 3.2), starting at the end."""
        lattice, end, sampled = self._lattices(text), len(text), []
        while end > 0:
            arcs = lattice[end]
            top = max(arc.energy for arc in arcs)
            arc = self._random.choices(arcs, [math.exp(arc.energy - top) for arc in arcs])[0]
            sampled.append(arc.piece)
            end = arc.start
        return sampled[::-1]

    def _lattice(self, text: str) -> list[list[_Arc]]:
        """Return, for each position in a word, the pieces that may end there."""
        sums: list[float] = [0.0]
        lattice: list[list[_Arc]] = [[]]
        for end in range(1, len(text) + 1):
            arcs = []
            for start in range(max(0, end - self._longest), end):
                if (entry := self._vocabulary.get(text[start:end])) is not None and sums[start] > -math.inf:
                    arcs.append(_Arc(start, entry[0], sums[start] + self.sampling.alpha * entry[1]))
            top = max((arc.energy for arc in arcs), default=-math.inf)
            total = sum(math.exp(arc.energy - top) for arc in arcs)
            sums.append(top + math.log(total) if arcs else -math.inf)
            lattice.append(arcs)
        return lattice

    def _of_the_best(self, text: str) -> list[int]:
        """Sample from the word's `nbest` best segmentations in proportion to P ** alpha (Kudo 2018, section 3.2)."""
        return list(self._random.choices(*self._best(text))[0])

    def _best_segmentations(self, text: str) -> tuple[list[tuple[int, ...]], list[float]]:
        """Return the word's `nbest` best segmentations and the weights with which they are sampled."""
        best: list[list[tuple[float, tuple[int, ...]]]] = [[(0.0, ())]]
        for end in range(1, len(text) + 1):
            found = [
                (score + entry[1], (*pieces, entry[0]))
                for start in range(max(0, end - self._longest), end)
                if (entry := self._vocabulary.get(text[start:end])) is not None
                for score, pieces in best[start]
            ]
            best.append(sorted(found, reverse=True)[: self.sampling.nbest])
        weights = [math.exp(self.sampling.alpha * (score - best[-1][0][0])) for score, _ in best[-1]]
        return [pieces for _, pieces in best[-1]], weights


def _user_defined(model: bytes) -> set[int]:
    """Return the ids of a sentencepiece model's user-defined symbols, which its processor does not expose.

    A model is a message in Protocol Buffers format. Its fields with number 1 are the pieces, in the order of their ids.
    Each piece is itself a message; its field 3 is the kind of piece, where 4 is a user-defined symbol.
    """
    pieces = [value for number, value in _fields(model) if number == 1]
    return {index for index, piece in enumerate(pieces) if isinstance(piece, bytes) and (3, 4) in _fields(piece)}


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and value of each field of a message in Protocol Buffers format."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        number, kind = divmod(varint(), 8)
        if kind == 0:
            yield number, varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        yield number, message[at : at + size]
        at += size
