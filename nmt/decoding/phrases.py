"""Finding phrases in a text as whole words, and spelling them with the pieces of a vocabulary."""

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from nmt.alignment.words import SPACE, is_unspaced, word_spans

_NO_SPACE_AFTER = "'’-([{«„“\"¿¡־「『《〈【（、。，！？：；」』》〉】）"  # a word may follow these without a space


def find_phrase(text: str, phrase: str) -> tuple[int, int] | None:
    """Return the characters ``[start, end)`` of a phrase's first occurrence as whole words, or None."""
    return next(occurrences(text, phrase), None)


def count_phrase(text: str, phrase: str) -> int:
    """Return how often a phrase occurs in a text as whole words."""
    return sum(1 for _ in occurrences(text, phrase))


def occurrences(text: str, phrase: str) -> Iterator[tuple[int, int]]:
    """Yield the characters ``[start, end)`` of each occurrence of a phrase as whole words."""
    start = text.find(phrase) if phrase else -1
    if start < 0:
        return
    spans = word_spans(text)
    starts, ends = {start for start, _ in spans}, {end for _, end in spans}
    while start >= 0:
        end = start + len(phrase)
        whole = start in starts and end in ends
        if whole:
            yield start, end
        start = text.find(phrase, end if whole else start + 1)


@dataclass(frozen=True)
class PhraseConstraint:
    """A phrase that a translation must or must not have, and whether it has it.

    Attributes:
        phrase: the phrase as the tokenizer normalises it, with bars between alternatives.
        required: True if the translation must have it, False if it must not.
        span: its characters ``[start, end)`` in the target text; None if the text does not have it.
    """

    phrase: str
    required: bool
    span: tuple[int, int] | None

    @property
    def satisfied(self) -> bool:
        """True if a required phrase is in the translation, or a forbidden one is not."""
        return self.required == (self.span is not None)


def phrase_constraints(
    text: str, require: Sequence[Sequence[str]], forbid: Sequence[str]
) -> tuple[PhraseConstraint, ...]:
    """Return the required and forbidden phrases, each with its place in a translation.

    Args:
        text: the translation.
        require: the alternatives of each required phrase; a phrase that is given twice must occur twice.
        forbid: forbidden phrases.
    """
    found = []
    for at, each in enumerate(require):
        spans = sorted(span for phrase in each for span in occurrences(text, phrase))
        number = require[:at].count(each)
        found.append(PhraseConstraint("|".join(each), True, spans[number] if number < len(spans) else None))
    return (*found, *(PhraseConstraint(phrase, False, find_phrase(text, phrase)) for phrase in forbid))


def missing_phrases(phrases: Sequence[PhraseConstraint]) -> int:
    """Return the number of required phrases that a translation does not have."""
    return sum(one.required and not one.satisfied for one in phrases)


@dataclass
class Satisfaction:
    """Counts how many required and how many forbidden phrases are satisfied; the phrases themselves are not kept."""

    asked: Counter[bool] = field(default_factory=Counter)  # whether a phrase is required → how many there are
    satisfied: Counter[bool] = field(default_factory=Counter)

    @classmethod
    def of(cls, phrases: Iterable[PhraseConstraint]) -> Self:
        """Return the counts of some phrases."""
        counted = cls()
        counted.add(phrases)
        return counted

    def add(self, phrases: Iterable[PhraseConstraint]) -> None:
        """Count the phrases of a translation."""
        for one in phrases:
            self.asked[one.required] += 1
            self.satisfied[one.required] += one.satisfied

    def __str__(self) -> str:
        """Return the counts as a message."""
        counts = []
        for kind, what in ((True, "required"), (False, "forbidden")):
            done, asked = self.satisfied[kind], self.asked[kind]
            if asked:
                counts.append(f"{done} of {asked} {what} phrases ({done / asked:.1%})")
        return f"satisfied: {', '.join(counts)}"


_BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # a piece that is one byte of a character


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The target pieces, as the text that they spell.

    Attributes:
        pieces: the tokenizer's target pieces, with its mark for a space.
    """

    pieces: Sequence[str]

    @cached_property
    def texts(self) -> list[str]:
        """The text of each piece; a piece that begins a word begins with a space.

        A piece that is one byte of a character is a surrogate, as in Python's error handler `surrogateescape`.
        """
        return [
            piece.replace(SPACE, " ")
            if _BYTE.fullmatch(piece) is None
            else bytes([int(piece[3:5], 16)]).decode("utf-8", "surrogateescape")
            for piece in self.pieces
        ]

    @cached_property
    def _bytes(self) -> dict[bytes, int]:
        """The pieces that are one byte."""
        return {
            text.encode("utf-8", "surrogateescape"): piece
            for piece, text in enumerate(self.texts)
            if _BYTE.fullmatch(self.pieces[piece])
        }

    @cached_property
    def _sorted(self) -> list[tuple[str, int]]:
        return sorted((text, piece) for piece, text in enumerate(self.texts))

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of pieces, including the space that begins the first word."""
        return self.joined("", *ids)

    def joined(self, text: str, *ids: int) -> str:
        """Return a text with pieces after it; bytes that are complete become characters."""
        text += "".join(self.texts[piece] for piece in ids)
        if not self._bytes:
            return text
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")

    def ends_before(self, text: str) -> NDArray[np.bool_]:
        """Return for each piece whether the last word of `text` (see `split_words`) ends if the piece follows it.

        At most the first two characters of a piece matter, as in ``don`` and ``'t``.
        """
        words = text.split()
        last = words[-1] if words and not text[-1].isspace() else ""
        ends = np.array([_are_apart(last, head) for head in self._heads[0]])
        return ends[self._heads[1]]

    @cached_property
    def _heads(self) -> tuple[list[str], NDArray[np.int64]]:
        """The different beginnings of the pieces' texts, and for each piece the number of its own."""
        heads, numbers = np.unique([text[:2] for text in self.texts], return_inverse=True)
        return heads.tolist(), numbers

    def completing(self, text: str, phrase: str) -> set[int]:
        """Return the pieces that would complete one more occurrence of a phrase, as whole words, at the end of a text.

        Every spelling of the phrase counts, so a forbidden phrase cannot be generated in smaller pieces either.
        """
        found: set[int] = set()
        for done in range(len(phrase)):
            if not text.endswith(phrase[:done]):
                continue
            before = text[: len(text) - done]
            # A phrase begins where a word begins: after a space, which the next piece may contain, or at a word
            # boundary that has no space.
            for space in ("", " ") if done == 0 else ("",):
                if _may_follow(before + space, phrase):
                    found.update(self._beginning(space + phrase[done:]))
        return found | self._containing(phrase) | self._last_byte(text, phrase)

    def _last_byte(self, text: str, phrase: str) -> set[int]:
        """Return the piece that is the last byte of a phrase, if the text has the bytes before it."""
        *begun, last = (bytes([byte]) for byte in phrase.encode())
        so_far, before = text.encode("utf-8", "surrogateescape"), b"".join(begun)
        if last not in self._bytes or not so_far.endswith(before):
            return set()
        rest = so_far[: len(so_far) - len(before)].decode("utf-8", "surrogateescape")
        return {self._bytes[last]} if _may_follow(rest, phrase) else set()

    @cached_property
    def _beginning(self) -> Callable[[str], frozenset[int]]:
        return lru_cache(maxsize=100_000)(self._find_beginning)  # of this vocabulary, so that it is freed with it

    @cached_property
    def _containing(self) -> Callable[[str], frozenset[int]]:
        return lru_cache(maxsize=10_000)(self._find_containing)

    def _find_beginning(self, rest: str) -> frozenset[int]:
        """Return the pieces whose text is `rest`, or is `rest` followed by the beginning of another word."""
        found = set()
        for text, piece in self._sorted[bisect_left(self._sorted, (rest, 0)) :]:
            if not text.startswith(rest):
                break
            if len(text) == len(rest) or _are_apart(rest[-1], text[len(rest)]):
                found.add(piece)
        return frozenset(found)

    def _find_containing(self, phrase: str) -> frozenset[int]:
        """Return the pieces that contain the entire phrase after another word or sign."""
        return frozenset(
            piece
            for piece, text in enumerate(self.texts)
            if phrase in text and (found := find_phrase(text, phrase)) is not None and found[0] > 0
        )


def ends_inside_a_character(text: str) -> bool:
    """Return whether the last piece of a text is a byte that does not complete a character."""
    return "\udc80" <= text[-1:] <= "\udcff"


def _are_apart(before: str, after: str) -> bool:
    """Return whether no word has characters of both, if `after` follows `before`, which has no white space."""
    return not any(start < len(before) < end for start, end in word_spans(before + after))


def _may_follow(text: str, phrase: str) -> bool:
    """Return True if a word that begins with the phrase's first character may follow a text without a space."""
    return not text or text[-1].isspace() or _are_apart(text[-1], phrase[0])


def takes_no_space(before: str, phrase: str) -> bool:
    """Return True if a phrase is written without a space after a text, as after an apostrophe or in Japanese.

    Args:
        before: the text so far.
        phrase: what follows.
    """
    if not before or before[-1].isspace():
        return False
    return before[-1] in _NO_SPACE_AFTER or is_unspaced(before[-1]) or is_unspaced(phrase[0])
