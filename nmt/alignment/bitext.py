"""Word links of a bitext from nothing but the bitext: HMMs over several segmentations of its words, whose posteriors
are averaged.

Words that are rare (inflected forms, compounds) are common in pieces, and the errors that an HMM makes on words differ
from those that it makes on pieces of one size or another. On 60 hand-aligned sentences of Multi30k the mean makes half
as many errors as an HMM on words; docs/alignment.md has the figures.
"""

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np

from nmt.alignment.hmm import BidirectionalHMM, Floats, Ints, Pair
from nmt.alignment.links import Link

log = logging.getLogger("nmt")
WordPair = tuple[Sequence[str], Sequence[str]]  # the words of a source and a target sentence

# None stands for the words themselves.
SEGMENTATIONS: tuple[tuple[Literal["unigram", "bpe"], int] | None, ...] = (
    None,
    ("unigram", 1000),
    ("unigram", 2000),
    ("unigram", 4000),
    ("bpe", 1000),
    ("bpe", 2000),
    ("bpe", 4000),
)
LINK, LINK_ONE_FREE, LINK_BOTH_FREE = 0.4, 0.3, 0.1  # the least posteriors of `links_of`
_MOST_CELLS = 60_000_000  # pairs of pieces that one segmentation's HMM learns from; 1.3 KB of memory for 100 of them
_MOST_SENTENCES = 20_000  # that the pieces are learned from
_LARGEST_PAIR = 1_000_000  # cells; a pair with more has no links
_PAIRS_AT_ONCE = 5_000


def links_of(posteriors: Floats) -> list[Link]:
    """Return the links (source, target) of a sentence pair, in the order of target words.

    Every link with a posterior of 0.4 is taken. Then, the likeliest first, come links of at least 0.3 of which one word
    has no link yet, and links of at least 0.1 of which neither has: the idea of `grow-diag-final` (Koehn et al. 2003).

    Args:
        posteriors: ``[T, S]``, 0 to 1.
    """
    chosen = posteriors >= LINK  # [T, S]
    tgt_linked, src_linked = chosen.any(axis=1), chosen.any(axis=0)
    candidates = np.argwhere((posteriors >= LINK_BOTH_FREE) & ~(tgt_linked[:, None] & src_linked[None, :]))
    for tgt, src in candidates[np.argsort(-posteriors[candidates[:, 0], candidates[:, 1]], kind="stable")]:
        linked = int(tgt_linked[tgt]) + int(src_linked[src])
        if linked == 0 or (linked == 1 and posteriors[tgt, src] >= LINK_ONE_FREE):
            chosen[tgt, src] = tgt_linked[tgt] = src_linked[src] = True
    return [(int(src), int(tgt)) for tgt, src in np.argwhere(chosen)]


class BitextAligner:
    """An aligner that was trained on a bitext."""

    def __init__(self, views: Sequence["_View"]):
        """Take the trained views; see `fit`."""
        self._views = views

    @classmethod
    def fit(
        cls, pairs: Sequence[WordPair], threads: int = 1, done: Callable[[], None] = lambda: None
    ) -> "BitextAligner":
        """Return an aligner trained on sentence pairs.

        Args:
            pairs: their words; case is ignored.
            threads: how many segmentations are trained at the same time.
            done: is called after each of the `SEGMENTATIONS`.
        """
        lowered = [(_lower(src), _lower(tgt)) for src, tgt in pairs]

        def view(segmentation: tuple[Literal["unigram", "bpe"], int] | None) -> "_View | None":
            try:
                return _View.fit(lowered, segmentation)
            except RuntimeError:  # the text has too few words, or too many characters, for pieces of this number
                return None
            finally:
                done()

        with ThreadPoolExecutor(max(1, threads)) as pool:
            views = [each for each in pool.map(view, SEGMENTATIONS) if each is not None]
        return cls(views)

    def posteriors(self, pairs: Sequence[WordPair], threads: int = 1) -> list[Floats]:
        """Return for each pair ``[T, S]`` how likely each link is, from 0 to 1."""
        lowered = [
            (_lower(src), _lower(tgt)) if len(src) * len(tgt) <= _LARGEST_PAIR else ([], []) for src, tgt in pairs
        ]
        with ThreadPoolExecutor(max(1, threads)) as pool:
            by_view = list(pool.map(lambda view: view.posteriors(lowered), self._views))
        mean = [sum(each) / np.float32(len(each)) for each in zip(*by_view, strict=True)]
        return [
            found if found.shape == (len(tgt), len(src)) else np.zeros((len(tgt), len(src)), dtype=np.float32)
            for found, (src, tgt) in zip(mean, pairs, strict=True)
        ]

    def links(self, pairs: Iterator[WordPair] | Sequence[WordPair], threads: int = 1) -> Iterator[list[Link]]:
        """Yield the links of each pair, in order; only some thousand pairs are held in memory at a time."""
        iterator = iter(pairs)
        while chunk := list(islice(iterator, _PAIRS_AT_ONCE)):
            yield from map(links_of, self.posteriors(chunk, threads))


def _lower(words: Sequence[str]) -> list[str]:
    return [word.lower() for word in words]


class _Pieces:
    """One side's pieces: how a word is cut, and the number of each piece."""

    def __init__(self, cut: Callable[[str], Sequence[str]]):
        self._cut = cut
        self._numbers: dict[str, int] = {}
        self._known: dict[str, list[int]] = {}  # word -> the numbers of its pieces

    @property
    def size(self) -> int:
        """How many pieces there are."""
        return len(self._numbers)

    def learn(self, sentences: Sequence[Sequence[str]]) -> None:
        """Number the pieces of all words of a text."""
        for word in {word: None for words in sentences for word in words}:
            self._known[word] = [self._numbers.setdefault(piece, len(self._numbers)) for piece in self._cut(word)]

    def encode(self, words: Sequence[str]) -> tuple[Ints, Ints]:
        """Return the numbers of a sentence's pieces, -1 for unseen ones, and where each word begins among them."""
        cut = [
            self._known.get(word) or [self._numbers.get(piece, -1) for piece in self._cut(word)] for word in words
        ]
        starts = np.cumsum([0, *map(len, cut)])[:-1]
        return np.array([piece for pieces in cut for piece in pieces], dtype=np.int64), starts


@dataclass(frozen=True)
class _View:
    """An HMM on the words as one segmentation cuts them."""

    src: _Pieces
    tgt: _Pieces
    hmm: BidirectionalHMM

    @classmethod
    def fit(cls, pairs: Sequence[WordPair], segmentation: tuple[Literal["unigram", "bpe"], int] | None) -> "_View":
        """Train pieces and HMM.

        Raises:
            RuntimeError: if the text cannot have so many pieces.
        """
        sides = []
        for side in (0, 1):
            sentences = [pair[side] for pair in pairs]
            pieces = _Pieces(_whole if segmentation is None else _train_pieces(sentences, *segmentation))
            pieces.learn(sentences)
            sides.append(pieces)
        encoded = [(sides[0].encode(src)[0], sides[1].encode(tgt)[0]) for src, tgt in pairs]
        return cls(*sides, BidirectionalHMM.fit(_spread(encoded), sides[0].size, sides[1].size))

    def posteriors(self, pairs: Sequence[WordPair]) -> list[Floats]:
        """Return ``[T, S]`` for each pair; a link of two words is as likely as the likeliest of their pieces' links."""
        encoded = [(self.src.encode(src), self.tgt.encode(tgt)) for src, tgt in pairs]
        by_piece = self.hmm.posteriors([(src, tgt) for (src, _), (tgt, _) in encoded])
        return [
            np.maximum.reduceat(np.maximum.reduceat(weights, tgt_starts, axis=0), src_starts, axis=1)
            if weights.size
            else np.zeros((len(tgt_starts), len(src_starts)), dtype=np.float32)
            for weights, ((_, src_starts), (_, tgt_starts)) in zip(by_piece, encoded, strict=True)
        ]


def _whole(word: str) -> list[str]:
    return [word]


def _spread(pairs: Sequence[Pair]) -> Sequence[Pair]:
    """Return as many pairs, spread evenly, as an HMM may learn from."""
    usable = [pair for pair in pairs if 0 < len(pair[0]) * len(pair[1]) <= _LARGEST_PAIR]
    cells = sum(len(src) * len(tgt) for src, tgt in usable)
    return usable[:: max(1, -(-cells // _MOST_CELLS))]


def _train_pieces(
    sentences: Sequence[Sequence[str]], kind: Literal["unigram", "bpe"], size: int
) -> Callable[[str], Sequence[str]]:
    """Return how a sentencepiece model trained on these words cuts a word.

    Raises:
        RuntimeError: if the text cannot have so many pieces.
    """
    import sentencepiece as spm

    model = io.BytesIO()
    step = max(1, len(sentences) // _MOST_SENTENCES)
    spm.SentencePieceTrainer.train(
        sentence_iterator=(" ".join(words) for words in sentences[::step]),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        character_coverage=1.0,
        split_by_unicode_script=False,
        normalization_rule_name="identity",
        max_sentence_length=65536,
        num_threads=1,
        minloglevel=2,
    )
    processor = spm.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model.getvalue())

    def cut(word: str) -> Sequence[str]:
        pieces = [piece for piece in processor.encode(word, out_type=str) if piece != "\u2581"]
        return pieces or [word]

    return cut
