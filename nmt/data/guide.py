"""Guided attention: word links of the training pairs as a target for the attention weights (Chen et al. 2016)."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nmt.alignment.links import missing_words, parse_pharaoh
from nmt.alignment.matrix import piece_shares
from nmt.alignment.words import WordLevel, spans_at
from nmt.arrays import Float32Array, IntArray
from nmt.data.cache import Table
from nmt.data.tokenizer import Encoded, Tokenizer
from nmt.errors import AlignmentError

GUIDANCE_COLUMNS = {"guidance": "int8"}
GUIDED, NO_LINKS, WORDS_CHANGED = 0, 1, 2  # the values of that column
_NAMED_LINES = 5  # bad lines named in a message


@dataclass(frozen=True)
class GuidanceCounts:
    """How many pairs have guidance, and why the others have none.

    Attributes:
        guided: pairs whose links guide the attention.
        no_links: pairs without a link.
        words_changed: pairs with links whose pieces spell more or fewer words than their text, because the tokenizer
            normalises a character or does not know it; their links would point to wrong words.
    """

    guided: int
    no_links: int
    words_changed: int


class TargetAlignments:
    """The word links of every pair, projected to the pieces that the pair has in an epoch."""

    def __init__(
        self,
        links: Table,
        guidance: Table,
        tokenizer: Tokenizer,
        level: WordLevel = "words",
        step: Literal["predicts", "input"] = "predicts",
    ):
        """Keep the tables; the links are read batch by batch.

        Args:
            links: a table whose column `links` has one string in Pharaoh notation for each row of the corpus.
            guidance: a table of the rows of `guidance_rows` for the same corpus.
            tokenizer: turns piece ids back into words.
            level: the units that the links connect.
            step: which decoder step is guided to the links of a target word: the step that `predicts` the word, or the
                step that has it as `input`.
        """
        self._first_row = 0 if step == "predicts" else 1
        self._links, self._tokenizer, self._level = links.column("links"), tokenizer, level
        self._guided: NDArray[np.bool_] = guidance.column("guidance").to_numpy() == GUIDED
        counts = np.bincount(guidance.column("guidance").to_numpy(), minlength=3)
        self.counts = GuidanceCounts(int(counts[GUIDED]), int(counts[NO_LINKS]), int(counts[WORDS_CHANGED]))

    def batch(
        self, rows: Iterable[int], srcs: Sequence[IntArray], tgts: Sequence[IntArray], shape: tuple[int, int]
    ) -> Float32Array:
        """Return the target alignment of a batch.

        Args:
            rows: the rows of the corpus.
            srcs: source piece ids of each pair.
            tgts: target piece ids.
            shape: T and S of the padded batch.

        Returns:
            ``[B, T, S]``: the row of each piece of a linked target word has equal weights on all pieces of the source
            words that it is linked to, with sum 1. The rows of words without links, and of BOS or EOS, are 0.
        """
        target = np.zeros((len(srcs), *shape), dtype=np.float32)  # [B, T, S]
        for index, (row, src, tgt) in enumerate(zip(rows, srcs, tgts, strict=True)):
            if not (self._guided[row] and len(src) and len(tgt)):
                continue
            links = parse_pharaoh(self._links[int(row)].as_py()).sure
            src_words = words_of_pieces(self._tokenizer.decode_src(src.tolist()), self._level)
            tgt_words = words_of_pieces(self._tokenizer.decode_tgt(tgt.tolist()), self._level)
            rows_of_words = slice(self._first_row, self._first_row + len(tgt))
            target[index, rows_of_words, : len(src)] = project_links(links, src_words, tgt_words)
        return target


def guidance_rows(
    links: Table, text: Table, pieces: Table, tokenizer: Tokenizer, level: WordLevel = "words"
) -> Iterator[dict[str, int]]:
    """Yield a row with `GUIDANCE_COLUMNS` for each pair: whether it is guided, and if not, why not.

    All segmentations of a text spell the same words, so the result also holds for sampled segmentations.

    Args:
        links: column `links`.
        text: columns `src` and `tgt`.
        pieces: columns `src_ids` and `tgt_ids`.
        tokenizer: the tokenizer that made the pieces.
        level: the units that the links connect.
    """
    sides = tokenizer.decode_src, tokenizer.decode_tgt
    corpus = zip(links.rows("links"), text.rows("src", "tgt"), pieces.rows("src_ids", "tgt_ids"), strict=True)
    for (line,), texts, ids in corpus:
        if not parse_pharaoh(line).sure:
            yield {"guidance": NO_LINKS}
            continue
        spelt = [decode(pieces).text for decode, pieces in zip(sides, ids, strict=True)]
        same = all(len(spans_at(level, a)) == len(spans_at(level, b)) for a, b in zip(spelt, texts, strict=True))
        yield {"guidance": GUIDED if same else WORDS_CHANGED}


def project_links(links: Iterable[tuple[int, int]], src_words: Float32Array, tgt_words: Float32Array) -> Float32Array:
    """Return links between words as weights between pieces; a piece has the links of all its words.

    Args:
        links: (source word, target word), from 0.
        src_words: ``[S, source words]``, 1 where a source piece has characters of a word; see `words_of_pieces`.
        tgt_words: ``[T, target words]``, the same for the target.

    Returns:
        ``[T, S]``; see `TargetAlignments.batch`.
    """
    linked = np.zeros((tgt_words.shape[1], src_words.shape[1]), dtype=np.float32)  # [target words, source words]
    for src, tgt in links:
        if tgt < linked.shape[0] and src < linked.shape[1]:
            linked[tgt, src] = 1.0
    weights = (tgt_words @ linked @ src_words.T > 0).astype(np.float32)  # [T, S]
    sums: Float32Array = weights.sum(axis=1, keepdims=True)  # [T, 1]
    return np.divide(weights, np.maximum(sums, 1.0), dtype=np.float32)


def words_of_pieces(encoded: Encoded, level: WordLevel = "words") -> Float32Array:
    """Return ``[pieces, words]``, 1 where a piece has characters of a word; see `piece_shares` for other pieces."""
    return (piece_shares(encoded.offsets, spans_at(level, encoded.text)) > 0).astype(np.float32)


def check_links(name: str, links: Iterable[str], pairs: Iterable[tuple[str, str]], level: WordLevel = "words") -> None:
    """Refuse lines that are not links, and links to words that their pair does not have.

    Args:
        name: the name of the file, for the message.
        links: one line for each pair.
        pairs: source and target texts.
        level: the units that the links connect.

    Raises:
        AlignmentError: naming the first bad lines, or both counts if the numbers of lines and pairs differ.
    """
    bad: list[str] = []
    counts = [0, 0]
    for number, (line, pair) in enumerate(itertools.zip_longest(links, pairs), start=1):
        counts[0] += line is not None
        counts[1] += pair is not None
        if line is None or pair is None:
            continue  # read on to complete both counts
        try:
            gold = parse_pharaoh(line, where=f"{name}, line {number}")
        except AlignmentError as error:
            bad.append(str(error))
            continue
        if wrong := missing_words(gold, pair, level):
            bad.append(f"{name}, line {number}: {wrong}")
    if counts[0] != counts[1]:
        raise AlignmentError(f"{name} has {counts[0]} lines, but there are {counts[1]} training pairs")
    if bad:
        more = f"\n  and {len(bad) - _NAMED_LINES} more" if len(bad) > _NAMED_LINES else ""
        if level == "words":
            more += "\nLinks between white-space separated tokens need training.guided_alignment.level: tokens"
        raise AlignmentError("links that do not fit the training pairs:\n  " + "\n  ".join(bad[:_NAMED_LINES]) + more)
