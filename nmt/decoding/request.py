"""Requests: a line to translate, and what its translation must begin with, must have and must not have."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor

from nmt.data.lines import is_unicode
from nmt.data.tokenizer import UNK, Encoded, Tokenizer
from nmt.decoding.phrases import find_phrase
from nmt.decoding.rules import NEW_WORD
from nmt.errors import DataError

Span = tuple[int, int]  # characters [start, end)


@dataclass(frozen=True)
class Request:
    """A line to translate, with constraints on its translation.

    Attributes:
        text: the source text.
        prefix: what the translation must begin with; a space at its end ends its last word.
        require: phrases that it must have, as whole words. Each is one phrase, or several alternatives separated by
            bars, one of which is enough: ``Haus|Häuser``. A phrase that is given twice must occur twice.
        forbid: phrases that it must not have, as whole words; bars separate several phrases.
        hidden: spans of source characters that the attention may not look at.
        id: the sender's identifier for the line.
    """

    text: str
    prefix: str = ""
    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    hidden: tuple[Span, ...] = ()
    id: str | int | None = None


@dataclass(frozen=True)
class ConstraintPieces:
    """The constraints of a request, in the form that search needs.

    Attributes:
        prefix: the pieces of the prefix, followed by NEW_WORD if the next piece must begin a word.
        require: the alternatives of each required phrase, as the tokenizer normalises them.
        forbid: the forbidden phrases, as the tokenizer normalises them.
        hidden: spans of source characters.
    """

    prefix: list[int]
    require: list[list[str]]
    forbid: list[str]
    hidden: tuple[Span, ...]


def constraint_pieces(
    request: Request, line: int, tokenizer: Tokenizer, longest: int, positions: int | None
) -> ConstraintPieces:
    """Return the constraints of a request, its prefix as pieces and its phrases as the tokenizer normalises them.

    Args:
        request: the request.
        line: the number of its line, for error messages.
        tokenizer: the tokenizer of the model.
        longest: the most pieces that the prefix or the required phrases may have (`decoding.max_tgt_length`).
        positions: the longest target, in pieces with EOS, that the model has positions for; None for any length.

    Raises:
        DataError: naming the line, if the model cannot write the prefix or a phrase, if they are too long, if a phrase
            is empty, or if the required and the forbidden phrases contradict each other.
    """
    prefix = prefix_pieces(request.prefix, line, tokenizer)
    require, forbid = (
        [[_written(one, line, tokenizer, what) for one in _some(each, line, what)] for each in phrases]
        for phrases, what in ((request.require, "required phrase"), (request.forbid, "forbidden phrase"))
    )
    never = [phrase for each in forbid for phrase in each]
    require = [_possible(each, never, line) for each in require]
    spelled = sum(max(len(tokenizer.encode_tgt(one).ids) for one in each) for each in require)
    for what, size in (("prefix has", len(prefix)), ("required phrases have", spelled)):
        if size > longest:
            raise DataError(
                f"line {line}: the {what} {size} pieces, more than decoding.max_tgt_length = {longest}; shorten it"
            )
        if positions is not None and size >= positions:
            raise DataError(
                f"line {line}: the {what} {size} pieces, but the model has positions for {positions}, including the "
                f"end mark; shorten it"
            )
    return ConstraintPieces(prefix, require, never, request.hidden)


def alternatives(phrases: str) -> list[str]:
    """Split a text at its bars and return the phrases, without empty ones."""
    return [phrase.strip() for phrase in phrases.split("|") if phrase.strip()]


def _some(phrases: str, line: int, what: str) -> list[str]:
    found = alternatives(phrases)
    if not found:
        raise DataError(f"line {line}: a {what} is empty")
    return found


def _possible(required: list[str], forbidden: list[str], line: int) -> list[str]:
    """Return the alternatives of a required phrase that do not contain a forbidden phrase; refuse it if all do."""
    left = [phrase for phrase in required if not any(find_phrase(phrase, other) for other in forbidden)]
    if not left:
        raise DataError(
            f"line {line}: '{'|'.join(required)}' is required, but it contains a forbidden phrase; take one of them out"
        )
    return left


def prefix_pieces(prefix: str, line: int, tokenizer: Tokenizer) -> list[int]:
    """Return the pieces of a prefix, and NEW_WORD after them if a space ends its last word.

    Raises:
        DataError: for a prefix that the model cannot write, naming its line.
    """
    if not prefix.strip():
        return []
    ids = _known(prefix.strip(), line, tokenizer, "prefix")
    return [*ids, NEW_WORD] if prefix[-1].isspace() else ids


def _written(phrase: str, line: int, tokenizer: Tokenizer, what: str) -> str:
    """Return a phrase as the tokenizer normalises it; refuse one that the tokenizer cannot write.

    The error message names the `line` and says `what` the phrase is for.
    """
    text = tokenizer.decode_tgt(_known(phrase, line, tokenizer, what)).text
    if not text:  # a zero-width space, for example
        raise DataError(f"line {line}: a {what} is empty, as the tokenizer normalises it")
    return text


def _known(text: str, line: int, tokenizer: Tokenizer, what: str) -> list[int]:
    """Return the pieces of a text; refuse a text with unknown pieces, or with bytes that are not UTF-8."""
    if not is_unicode(text):
        raise DataError(f"line {line}: the {what} is not UTF-8")
    encoded = tokenizer.encode_tgt(text)
    if UNK in encoded.ids:
        start, end = encoded.offsets[encoded.ids.index(UNK)]
        unknown = encoded.text[start:end].strip()
        raise DataError(f"line {line}: the {what} contains '{unknown}', which is not in the model's vocabulary")
    return encoded.ids


def requests_of(lines: Sequence[str | Request]) -> list[Request]:
    """Return a request for each line; a plain text becomes a request without constraints."""
    return [line if isinstance(line, Request) else Request(line) for line in lines]


def hidden_pieces(sources: Sequence[Encoded], hidden: Sequence[Sequence[Span]]) -> Tensor:
    """Return ``[B, S]``, True on the source pieces that overlap with a hidden span."""
    mask = torch.zeros(len(sources), max(len(source.ids) for source in sources), dtype=torch.bool)
    for row, (source, spans) in enumerate(zip(sources, hidden, strict=True)):
        for column, (start, end) in enumerate(source.offsets):
            end = max(end, start + 1)  # all bytes of a character but the last have empty spans
            mask[row, column] = any(start < stop and begin < end for begin, stop in spans)
    return mask


class JsonLine(BaseModel):
    """A line of ``nmt translate --jsonl``."""

    model_config = ConfigDict(extra="forbid", strict=True)

    src: str
    id: str | int | None = None
    prefix: str | None = None
    require: list[str] = []
    forbid: list[str] = []

    @classmethod
    def read(cls, text: str, line: int, prefix: str = "") -> Request:
        """Parse a JSON object into a request.

        Args:
            text: the line.
            line: its number, for error messages.
            prefix: the prefix of lines that have none of their own.

        Raises:
            DataError: naming the line, if it is not such an object.
        """
        try:
            given = cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise DataError(
                f"line {line}: {f'{key}: ' if key else ''}{first['msg']}; a line of --jsonl is a JSON object "
                f"with src and, optionally, id, prefix, require and forbid"
            ) from None
        prefix = prefix if given.prefix is None else given.prefix
        return Request(given.src, prefix, tuple(given.require), tuple(given.forbid), id=given.id)
