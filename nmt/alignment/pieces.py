"""Segmentation of one side's words into numbered pieces, for the word aligner."""

import io
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from nmt.alignment.words import SPACE
from nmt.arrays import Int64Array

Segmentation = tuple[Literal["unigram", "bpe"], int]  # sentencepiece's model type and number of pieces
_MOST_SENTENCES = 20_000  # a sentencepiece model is trained on fewer than twice as many sentences
_MOST_KNOWN = 1_000_000  # words whose pieces are remembered


class Pieces:
    """Numbered pieces of words. They come from a sentencepiece model, or are the words themselves."""

    def __init__(self, names: Sequence[str] = (), model: bytes | None = None):
        """Number the pieces.

        Args:
            names: the known pieces, in the order of their numbers.
            model: a sentencepiece model; None if every word is one piece.

        Raises:
            RuntimeError: if the model is damaged.
        """
        self.model = model
        self._cut = _whole if model is None else _cut_with(model)
        self._numbers = {name: number for number, name in enumerate(names)}
        self._known: dict[str, list[int]] = {}  # word -> the numbers of its pieces, since cutting takes time

    @classmethod
    def train(cls, sentences: Sequence[Sequence[str]], segmentation: Segmentation | None) -> "Pieces":
        """Return the pieces of the words of a text.

        Args:
            sentences: the words of each sentence.
            segmentation: the type of the sentencepiece model and its number of pieces; None for words as pieces.

        Raises:
            RuntimeError: if the text does not allow this number of pieces.
        """
        pieces = cls(model=None if segmentation is None else _train(sentences, *segmentation))
        words = list({word: None for words in sentences for word in words})
        for word, found in zip(words, pieces._cut(words), strict=True):
            pieces._known[word] = [pieces._numbers.setdefault(piece, len(pieces._numbers)) for piece in found]
        return pieces

    @property
    def names(self) -> list[str]:
        """The known pieces, in the order of their numbers."""
        return list(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def encode(self, sentences: Sequence[Sequence[str]]) -> list[tuple[Int64Array, Int64Array]]:
        """Return the numbers of each sentence's pieces (-1 if unknown) and the index of each word's first piece."""
        known = self._known
        unknown = list({word: None for words in sentences for word in words if word not in known})
        found = {
            word: [self._numbers.get(piece, -1) for piece in pieces]
            for word, pieces in zip(unknown, self._cut(unknown), strict=True)
        }
        if len(known) + len(found) <= _MOST_KNOWN:
            known.update(found)
        encoded = []
        for words in sentences:
            numbers: list[int] = []
            starts: list[int] = []
            for word in words:
                starts.append(len(numbers))
                numbers += known[word] if word in known else found[word]
            encoded.append((np.array(numbers, dtype=np.int64), np.array(starts, dtype=np.int64)))
        return encoded


def encode_pairs(
    src: Pieces, tgt: Pieces, pairs: Sequence[tuple[Sequence[str], Sequence[str]]]
) -> list[tuple[tuple[Int64Array, Int64Array], tuple[Int64Array, Int64Array]]]:
    """Return the results of `Pieces.encode` for the source and the target of each pair."""
    return list(zip(src.encode([pair[0] for pair in pairs]), tgt.encode([pair[1] for pair in pairs]), strict=True))


def _whole(words: list[str]) -> Sequence[Sequence[str]]:
    return [[word] for word in words]


def _cut_with(model: bytes) -> Callable[[list[str]], Sequence[Sequence[str]]]:
    import sentencepiece as spm

    processor = spm.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)

    def cut(words: list[str]) -> Sequence[Sequence[str]]:
        return [
            [piece for piece in pieces if piece != SPACE] or [word]
            for word, pieces in zip(words, processor.encode(words, out_type=str, num_threads=1), strict=True)
        ]

    return cut


def _train(sentences: Sequence[Sequence[str]], kind: Literal["unigram", "bpe"], size: int) -> bytes:
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
    return model.getvalue()
