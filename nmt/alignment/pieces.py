"""How one side's words are cut into pieces for the word aligner, and the number of each piece."""

import io
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Segmentation = tuple[Literal["unigram", "bpe"], int]  # sentencepiece's model type and number of pieces
_MOST_SENTENCES = 20_000  # that a sentencepiece model is trained on
_MOST_KNOWN = 1_000_000  # words whose pieces are remembered
_SPACE = "\u2581"


class Pieces:
    """Words as numbered pieces: of a sentencepiece model, or whole."""

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
            segmentation: None for whole words.

        Raises:
            RuntimeError: if the text cannot have so many pieces.
        """
        pieces = cls(model=None if segmentation is None else _train(sentences, *segmentation))
        for word in {word: None for words in sentences for word in words}:
            pieces._known[word] = [
                pieces._numbers.setdefault(piece, len(pieces._numbers)) for piece in pieces._cut(word)
            ]
        return pieces

    @property
    def names(self) -> list[str]:
        """The known pieces, in the order of their numbers."""
        return list(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def encode(self, words: Sequence[str]) -> tuple[Ints, Ints]:
        """Return the numbers of a sentence's pieces, -1 for unknown ones, and where each word begins among them."""
        numbers: list[int] = []
        starts: list[int] = []
        for word in words:
            starts.append(len(numbers))
            known = self._known.get(word)
            if known is None:
                known = [self._numbers.get(piece, -1) for piece in self._cut(word)]
                if len(self._known) < _MOST_KNOWN:
                    self._known[word] = known
            numbers += known
        return np.array(numbers, dtype=np.int64), np.array(starts, dtype=np.int64)


def _whole(word: str) -> Sequence[str]:
    return [word]


def _cut_with(model: bytes) -> Callable[[str], Sequence[str]]:
    import sentencepiece as spm

    processor = spm.SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)

    def cut(word: str) -> Sequence[str]:
        return [piece for piece in processor.encode(word, out_type=str) if piece != _SPACE] or [word]

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
