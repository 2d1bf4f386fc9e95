"""Tokenizers, which encode texts as pieces with character offsets and decode pieces to texts."""

import functools
import hashlib
import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece as spm

from nmt.alignment.words import SPACE
from nmt.atomic import atomic_write
from nmt.config import BaseTokenizerConfig, TokenizerConfig
from nmt.data.subword_regularization import Sampler, Sampling
from nmt.errors import TokenizerError
from nmt.regular import MIB, read_regular
from nmt.threads import available_cores

PAD, UNK, BOS, EOS = 0, 1, 2, 3
# The names of the special pieces contain a space. No text can match them, since sentencepiece replaces each space in a
# text by its own mark. With the usual names, a text that contains "<s>" or "<unk>" would be encoded with special ids.
SPECIALS: dict[str, Any] = {
    name + suffix: value
    for index, name in enumerate(("pad", "unk", "bos", "eos"))
    for suffix, value in (("_id", index), ("_piece", f"< {name} >"))
}
_SPECIAL_IDS = {name: value for name, value in SPECIALS.items() if name.endswith("_id")}

LARGEST_MODEL = 256 * MIB  # bytes of a sentencepiece model
_CHUNK = 10_000  # pairs that are encoded at a time


@dataclass(frozen=True)
class Encoded:
    """A text as pieces.

    Attributes:
        text: the text that the offsets refer to.
        ids: piece ids, without BOS and EOS.
        pieces: the pieces as sentencepiece writes them (with its mark for a space).
        offsets: the span of characters ``[start, end)`` of each piece in `text`, including a leading space; the span
            of a byte piece that does not complete its character is empty.
    """

    text: str
    ids: list[int]
    pieces: list[str]
    offsets: list[tuple[int, int]]


class Tokenizer(ABC):
    """Converts texts of both sides to piece ids and back. Each kind of tokenizer is a subclass.

    The ids 0 to 3 are padding, unknown, begin and end of sentence.
    """

    joint: bool
    """True if both sides share one vocabulary."""
    src_size: int
    """Number of source pieces, V."""
    tgt_size: int
    """Number of target pieces, V."""

    @abstractmethod
    def encode_src(self, text: str) -> Encoded:
        """Return a source text as pieces with offsets."""

    @abstractmethod
    def encode_tgt(self, text: str) -> Encoded:
        """Return a target text as pieces with offsets."""

    @abstractmethod
    def decode_src(self, ids: Sequence[int]) -> Encoded:
        """Decode source ids (without PAD, BOS and EOS) to a text with the span ``[start, end)`` of each piece."""

    @abstractmethod
    def decode_tgt(self, ids: Sequence[int]) -> Encoded:
        """Decode target ids (without PAD, BOS and EOS) to a text with the span ``[start, end)`` of each piece."""

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write everything that is needed to load the tokenizer into `folder`."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A digest that is equal for two tokenizers only if they encode texts in the same way."""

    @functools.cached_property
    def tgt_pieces(self) -> list[str]:
        """The target pieces as strings, with sentencepiece's mark for a space."""
        return [self._tgt_piece(piece) for piece in range(self.tgt_size)]

    @functools.cached_property
    def begins_word(self) -> list[bool]:
        """For each target piece, True if it begins a word."""
        return [piece.startswith(SPACE) for piece in self.tgt_pieces]

    def _tgt_piece(self, piece: int) -> str:
        return "".join(self.decode_tgt([piece]).pieces)

    def encode_corpus(self, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the piece ids of sentence pairs, given as source and target texts."""
        for src, tgt in pairs:
            yield self.encode_src(src).ids, self.encode_tgt(tgt).ids

    def samplers(self, sampling: Sampling) -> tuple[Sampler, Sampler]:
        """Return the samplers of other segmentations, one for source texts and one for target texts.

        Raises:
            TokenizerError: if this tokenizer cannot sample.
        """
        raise TokenizerError(f"{type(self).__name__} has one segmentation of a text only; it cannot sample")


class SentencePieceTokenizer(Tokenizer):
    """A tokenizer with a sentencepiece model for each side, or one model for both if the vocabulary is joint."""

    def __init__(self, src_model: bytes, tgt_model: bytes | None = None):
        """Load from serialised models.

        Args:
            src_model: the source side's model, or the joint one.
            tgt_model: the target side's model; None if joint.

        Raises:
            TokenizerError: if a model is damaged or its special ids are not 0 to 3.
        """
        self.models = (src_model,) if tgt_model is None else (src_model, tgt_model)
        processors = [load_model(model) for model in self.models]
        self.src, self.tgt = processors[0], processors[-1]
        self.joint = len(self.models) == 1
        self.src_size, self.tgt_size = int(self.src.get_piece_size()), int(self.tgt.get_piece_size())

    def encode_src(self, text: str) -> Encoded:
        """Return a source text as pieces with offsets."""
        return _encode(self.src, text)

    def encode_tgt(self, text: str) -> Encoded:
        """Return a target text as pieces with offsets."""
        return _encode(self.tgt, text)

    def decode_src(self, ids: Sequence[int]) -> Encoded:
        """Decode source piece ids to a text with the span ``[start, end)`` of each piece."""
        return _decode(self.src, ids)

    def decode_tgt(self, ids: Sequence[int]) -> Encoded:
        """Decode target piece ids to a text with the span ``[start, end)`` of each piece."""
        return _decode(self.tgt, ids)

    def _tgt_piece(self, piece: int) -> str:
        return str(self.tgt.id_to_piece(piece))

    @property
    def fingerprint(self) -> str:
        """The digest of the models."""
        return hashlib.sha256(b"".join(hashlib.sha256(model).digest() for model in self.models)).hexdigest()

    def encode_corpus(self, pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[list[int], list[int]]]:
        """Yield the piece ids of sentence pairs, given as source and target texts."""
        options: dict[str, Any] = {"return_type": int, "num_threads": available_cores()}
        sides = self.src, self.tgt
        iterator = iter(pairs)
        while chunk := list(itertools.islice(iterator, _CHUNK)):
            src, tgt = (side.encode([pair[at] for pair in chunk], **options) for at, side in enumerate(sides))
            yield from zip(src, tgt, strict=True)

    def samplers(self, sampling: Sampling) -> tuple[Sampler, Sampler]:
        """Return the samplers of other segmentations, one for source texts and one for target texts."""
        return Sampler(self.src, sampling), Sampler(self.tgt, sampling)

    def save(self, folder: Path) -> None:
        """Write ``joint.model``, or ``src.model`` and ``tgt.model``, into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, model in zip(_file_names(self.joint), self.models, strict=True):
            with atomic_write(folder / name) as tmp_path:
                tmp_path.write_bytes(model)

    def reversed(self) -> "SentencePieceTokenizer":
        """Return the tokenizer of the other direction, whose source side is the target side of this one."""
        return SentencePieceTokenizer(*self.models[::-1])

    @classmethod
    def load(cls, folder: Path) -> "SentencePieceTokenizer":
        """Read what `save` wrote.

        Raises:
            TokenizerError: if the files are missing or damaged.
        """
        names = _file_names(joint=(folder / "joint.model").exists())
        try:
            return cls(*(read_regular(folder / name, LARGEST_MODEL) for name in names))
        except OSError as error:
            raise TokenizerError(f"{folder}: no tokenizer here ({error.strerror}: {error.filename})") from None


def load_tokenizer(config: BaseTokenizerConfig, folder: Path) -> Tokenizer:
    """Return the tokenizer that was saved in `folder`.

    Args:
        config: the section `tokenizer` of the run's configuration; it says which kind to load.
        folder: what `Tokenizer.save` wrote.

    Raises:
        TokenizerError: if the files are missing or damaged.
    """
    if isinstance(config, TokenizerConfig):
        return SentencePieceTokenizer.load(folder)
    try:
        tokenizer: Tokenizer = config.load(folder)
    except OSError as error:
        raise TokenizerError(f"{folder}: no tokenizer here ({error.strerror}: {error.filename})") from None
    return tokenizer


def _file_names(joint: bool) -> tuple[str, ...]:
    return ("joint.model",) if joint else ("src.model", "tgt.model")


def load_model(model: bytes) -> spm.SentencePieceProcessor:
    """Load a sentencepiece model from its bytes.

    Raises:
        TokenizerError: if the model is damaged or its special ids are not 0 to 3.
    """
    processor = spm.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
    except RuntimeError as error:
        raise TokenizerError(f"the sentencepiece model is damaged: {error}") from None
    ids = {name: getattr(processor, name)() for name in _SPECIAL_IDS}
    if ids != _SPECIAL_IDS:
        raise TokenizerError(f"the sentencepiece model has special ids {ids}, but nmt needs {_SPECIAL_IDS}")
    return processor


def _encode(processor: spm.SentencePieceProcessor, text: str) -> Encoded:
    encoded: dict[str, Any] = processor.encode(text, return_type="offset_mapping")
    return Encoded(text, encoded["ids"], encoded["pieces"], [(a, b) for a, b in encoded["offsets"]])


def _decode(processor: spm.SentencePieceProcessor, ids: Sequence[int]) -> Encoded:
    decoded: dict[str, Any] = processor.decode(list(map(int, ids)), return_type="offset_mapping")
    return Encoded(decoded["text"], decoded["ids"], decoded["pieces"], [(a, b) for a, b in decoded["offsets"]])
