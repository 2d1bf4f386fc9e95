"""Segmentations sampled at random: BPE-dropout and the sampling of a unigram model, from a generator of one's own.

sentencepiece samples, too, but its generator depends on the process, so a resumed run would get other segmentations
than the run it goes on with. Here the same seeds give the same ones in every process. Words are sampled one by one: a
piece never reaches over the space between two words.
"""

import functools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

from nmt.alignment.words import SPACE

_WORDS_KEPT = 50_000  # words whose segmentations are kept


@dataclass(frozen=True)
class Sampling:
    """How to sample; see `SubwordSamplingConfig`."""

    type: Literal["bpe", "unigram"]
    alpha: float
    nbest: int


@dataclass(frozen=True)
class _Arc:
    """A piece that may end somewhere in a word."""

    start: int
    piece: int
    energy: float  # of all segmentations up to here that end with it, in nats


class Sampler:
    """Samples segmentations of texts whose best one is known."""

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
        # Only those of the latest words are kept: a large corpus has more kinds of words than memory holds.
        self._lattices = functools.lru_cache(_WORDS_KEPT)(self._lattice)
        self._best = functools.lru_cache(_WORDS_KEPT)(self._best_segmentations)

    def sample(self, ids: Sequence[int], seed: int) -> list[int]:
        """Return another segmentation of the text whose best one is `ids`; the same seed gives the same one.

        Words with unknown pieces, bytes or user-defined symbols stay as they are.
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
        """BPE-dropout (Provilkov et al. 2020): each merge that comes up is left out with probability alpha."""
        merges = len(text) - len(best)
        until_dropped = self._merges_until_dropped()
        if until_dropped >= merges:
            return best  # nothing is left out, which the best segmentation shows
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
                until_dropped -= 1

    def _merges_until_dropped(self) -> float:
        """Return how many merges are done before the next is left out."""
        alpha = self.sampling.alpha
        return 0 if alpha >= 1.0 else math.log(1.0 - self._random.random()) // math.log1p(-alpha)

    def _from_lattice(self, text: str) -> list[int]:
        """One of all segmentations, in proportion to P ** alpha (Kudo 2018, section 3.2), from the end backwards."""
        lattice, end, sampled = self._lattices(text), len(text), []
        while end > 0:
            arcs = lattice[end]
            top = max(arc.energy for arc in arcs)
            arc = self._random.choices(arcs, [math.exp(arc.energy - top) for arc in arcs])[0]
            sampled.append(arc.piece)
            end = arc.start
        return sampled[::-1]

    def _lattice(self, text: str) -> list[list[_Arc]]:
        """Return, for each position, the pieces that end there."""
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
        """Return one of the word's `nbest` best segmentations, in proportion to P ** alpha (Kudo 2018, section 3.2)."""
        return list(self._random.choices(*self._best(text))[0])

    def _best_segmentations(self, text: str) -> tuple[list[tuple[int, ...]], list[float]]:
        """Return the word's `nbest` best segmentations, and their weights when one is sampled."""
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
    """Return the ids of a sentencepiece model's user-defined symbols, which its processor tells nobody.

    A model is a message of protocol buffers. Its fields of number 1 are the pieces, in the order of their ids, each a
    message whose field 3 is the kind of piece; 4 is a user-defined symbol.
    """
    pieces = [value for number, value in _fields(model) if number == 1]
    return {index for index, piece in enumerate(pieces) if isinstance(piece, bytes) and (3, 4) in _fields(piece)}


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the numbers and values of a message of protocol buffers."""
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
