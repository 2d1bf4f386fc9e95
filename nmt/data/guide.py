"""Guided attention: word links of the training pairs as a target for the attention weights (Chen et al. 2016)."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nmt.alignment.links import parse_pharaoh
from nmt.alignment.words import word_spans
from nmt.data.tokenizer import Encoded, Tokenizer
from nmt.errors import AlignmentError

if TYPE_CHECKING:
    import datasets

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
_SHOWN = 5  # bad lines named in a message


class TargetAlignments:
    """The links of every pair, on words, projected to whatever pieces an epoch has."""

    def __init__(self, links: "datasets.Dataset", text: "datasets.Dataset", tokenizer: Tokenizer):
        """Keep the tables; nothing is read yet.

        Args:
            links: its column `links` has one string in Pharaoh notation for each row of the corpus.
            text: the corpus, columns `src` and `tgt`.
            tokenizer: turns piece ids back into words.
        """
        self._links, self._tokenizer = links.data.column("links"), tokenizer
        self._text = [text.data.column(side) for side in ("src", "tgt")]

    def batch(self, rows: Iterable[int], srcs: Sequence[Ints], tgts: Sequence[Ints], shape: tuple[int, int]) -> Floats:
        """What the weights of a batch ought to be.

        Args:
            rows: of the corpus.
            srcs: source piece ids of each pair.
            tgts: target piece ids.
            shape: T and S of the padded batch.

        Returns:
            ``[B, T, S]``: for each piece of a linked target word, equal weights on all pieces of the source words that
            it is linked to, with sum 1; rows of 0 where there is no link, and for EOS.
        """
        target = np.zeros((len(srcs), *shape), dtype=np.float32)
        for place, (row, src, tgt) in enumerate(zip(rows, srcs, tgts, strict=True)):
            links = parse_pharaoh(self._links[int(row)].as_py()).sure
            if not (links and len(src) and len(tgt)):
                continue
            pieces = [_decoded(self._tokenizer.src, src), _decoded(self._tokenizer.tgt, tgt)]
            raw = [column[int(row)].as_py() for column in self._text]
            # Where unknown or normalised characters change the words, links would lie beside them: nobody says then.
            if all(len(word_spans(one.text)) == len(word_spans(text)) for one, text in zip(pieces, raw, strict=True)):
                weights = project_links(links, word_of_pieces(pieces[0]), word_of_pieces(pieces[1]))
                target[place, : len(tgt), : len(src)] = weights
        return target


def project_links(links: Iterable[tuple[int, int]], src_words: Ints, tgt_words: Ints) -> Floats:
    """Links between words as weights between pieces.

    Args:
        links: (source word, target word), from 0.
        src_words: ``[S]`` the word of each source piece.
        tgt_words: ``[T]`` the word of each target piece.

    Returns:
        ``[T, S]``; see `Guide.batch`.
    """
    linked = np.zeros((int(tgt_words.max()) + 1, int(src_words.max()) + 1), dtype=np.float32)
    for src, tgt in links:
        if tgt < linked.shape[0] and src < linked.shape[1]:
            linked[tgt, src] = 1.0
    weights = linked[tgt_words][:, src_words]
    sums: Floats = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, np.maximum(sums, 1.0), dtype=np.float32)


def word_of_pieces(encoded: Encoded) -> Ints:
    """The number of the word that each piece ends in; a piece of white space alone belongs to the next one."""
    ends = np.array([end for _, end in word_spans(encoded.text)] or [0])
    last = [max(start, end - 1) for start, end in encoded.offsets]
    return np.minimum(np.searchsorted(ends, last, side="right"), len(ends) - 1).astype(np.int64)


def check_links(name: str, links: Iterable[str], pairs: Iterable[tuple[str, str]]) -> None:
    """Refuse links that are none, or that name words their pair does not have.

    Args:
        name: of the file, for the message.
        links: one line for each pair.
        pairs: source and target texts.

    Raises:
        AlignmentError: naming the first bad lines, or both counts if there are not as many lines as pairs.
    """
    bad: list[str] = []
    counts = [0, 0]
    for number, (line, pair) in enumerate(itertools.zip_longest(links, pairs), start=1):
        counts[0] += line is not None
        counts[1] += pair is not None
        if line is None or pair is None:
            continue  # read on, for both counts
        try:
            gold = parse_pharaoh(line, where=f"{name}, line {number}")
        except AlignmentError as error:
            bad.append(str(error))
            continue
        sizes = [len(word_spans(text)) for text in pair]
        outside = [link for link in gold.possible if link[0] >= sizes[0] or link[1] >= sizes[1]]
        if outside:
            bad.append(
                f"{name}, line {number}: link {outside[0][0]}-{outside[0][1]}, but the pair has {sizes[0]} source and "
                f"{sizes[1]} target words, counted from 0"
            )
    if counts[0] != counts[1]:
        raise AlignmentError(f"{name} has {counts[0]} lines, but there are {counts[1]} training pairs")
    if bad:
        more = f"\n  and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise AlignmentError("links that do not fit the training pairs:\n  " + "\n  ".join(bad[:_SHOWN]) + more)


def _decoded(processor: Any, ids: Ints) -> Encoded:
    decoded: dict[str, Any] = processor.decode(ids.tolist(), return_type="offset_mapping")
    return Encoded(decoded["text"], decoded["ids"], decoded["pieces"], [(a, b) for a, b in decoded["offsets"]])
