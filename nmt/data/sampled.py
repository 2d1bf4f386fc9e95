"""Training pairs with subword sampling: each epoch has new segmentations, which are sampled batch by batch."""

from collections.abc import Callable
from typing import Literal, assert_never

import numpy as np

from nmt.arrays import IntArray
from nmt.config import Config, TokenizerConfig
from nmt.data.dataset import PieceCorpus
from nmt.data.prepare import Corpora
from nmt.data.subword_regularization import Sampler, Sampling


class SampledCorpus(PieceCorpus):
    """The pairs of one epoch. The segmentation of a pair depends only on the seed, the epoch and its row.

    Batches are planned with the lengths of the best segmentations, so a batch has somewhat more tokens than planned.
    """

    def __init__(self, best: PieceCorpus, samplers: tuple[Sampler, Sampler], seed: int, epoch: int, longest: int):
        """Share the table of `best` and start without sampled segmentations.

        Args:
            best: the training pairs in their best segmentation.
            samplers: the samplers of the source and the target side.
            seed: the seed of the run.
            epoch: the number of the epoch, from 0.
            longest: a side keeps its best segmentation if the sampled one has more pieces than this.
        """
        vars(self).update(vars(best))  # share the table, rows and lengths without copying them
        self._samplers, self._seed, self._longest = samplers, seed << 32 | epoch, longest
        self._sampled: dict[int, tuple[IntArray, IntArray]] = {}  # row → source and target, of the last count

    def token_counts(self, chosen: IntArray) -> tuple[int, int]:
        """Return the numbers of source and target tokens of the pairs `chosen`, as `Batch` counts them."""
        rows = self.rows[chosen]
        sides = [np.split(values, np.cumsum(lengths)[:-1]) for values, lengths in super()._pieces(rows)]
        self._sampled = {
            row: (self._sample(0, row, src), self._sample(1, row, tgt))
            for row, src, tgt in zip(rows.tolist(), *sides, strict=True)
        }
        pairs = [self._sampled[row] for row in rows.tolist()]
        return sum(max(1, len(src)) for src, _ in pairs), sum(len(tgt) + 1 for _, tgt in pairs)

    def _pieces(self, rows: IntArray) -> tuple[tuple[IntArray, IntArray], tuple[IntArray, IntArray]]:
        if any(row not in self._sampled for row in rows.tolist()):
            self.token_counts(np.searchsorted(self.rows, rows))
        sides = zip(*(self._sampled[row] for row in rows.tolist()), strict=True)
        src, tgt = ((np.concatenate(side), np.array([len(ids) for ids in side])) for side in sides)
        return src, tgt

    def _sample(self, side: int, row: int, best: IntArray) -> IntArray:
        sampled = self._samplers[side].sample(best.tolist(), (self._seed << 64 | row) << 1 | side)
        return np.array(sampled, dtype=np.int64) if len(sampled) <= self._longest else best


def sampled_epochs(config: Config, corpora: Corpora) -> Callable[[int], PieceCorpus]:
    """Return a function that takes the number of an epoch (from 0) and returns its training pairs.

    If the tokenizer samples, each epoch has newly sampled segmentations; otherwise the pairs are always the same.

    Args:
        config: the configuration of the run.
        corpora: the tokenizer and the pairs of the run.
    """
    settings = config.tokenizer
    if not (isinstance(settings, TokenizerConfig) and settings.sampling.enabled):
        return lambda epoch: corpora.train
    sampling = Sampling(_sampled_type(settings), settings.sampling.alpha, settings.sampling.nbest)
    samplers = corpora.tokenizer.samplers(sampling)
    return lambda epoch: SampledCorpus(corpora.train, samplers, config.seed, epoch, config.data.max_length)


def _sampled_type(settings: TokenizerConfig) -> Literal["bpe", "unigram"]:
    """Return the type of a tokenizer that can sample; the configuration allows sampling for no other type."""
    match settings.type:
        case "bpe" | "unigram":
            return settings.type
        case "char" | "word":
            raise ValueError(f"a tokenizer of type {settings.type} has one segmentation of a text only")
        case _:
            assert_never(settings.type)
