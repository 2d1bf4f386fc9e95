"""Where the words of a text are: the units that links and alignment matrices on words speak of."""

import re
from typing import Literal

SPACE = "\u2581"  # how sentencepiece marks a piece that begins with a space


# A word ends after the apostrophe of an elision (French j'aime, qu'il; Italian l'uomo, dell'arte); other apostrophes
# (English don't, o'clock; French aujourd'hui) are inside a word.
_ELIDED = (
    "j|t|l|n|d|s|m|c|ç|qu|jusqu|lorsqu|puisqu|quoiqu|presqu|quelqu"
    "|un|all|dell|nell|sull|dall|coll|quest|quell|sant|bell|tutt|anch|cos"
)


# Punctuation and symbols by block: Python's \w leaves out combining marks, which Hindi or Arabic words are full of.
_SIGN = (
    r"!-/:-@\[-^`{-~\u00a1-\u00a9\u00ab-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u055a-\u055f\u0589\u05be\u060c\u061b\u061f"
    r"\u0964\u0965\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2190-\u2bff\u3001-\u303f\uff00-\uff0f\uff1a-\uff20\U0001f000-\U0001faff"
)


_LETTER = rf"[^\s{_SIGN}]"


_WORD = re.compile(
    rf"(?:{_ELIDED})['’](?={_LETTER})"  # an elided word with its apostrophe
    rf"|{_LETTER}+(?:[-.,'’]{_LETTER}+)*"  # letters, marks and digits, joined by inner hyphens, points and apostrophes
    r"|\S",  # any other sign by itself
    re.IGNORECASE,
)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Character spans ``[start, end)`` of the words of `text`, in order, without white space.

    Words are split at white space and at punctuation, and after the apostrophe of an elision, so that ``je t'aime.``
    has four: je, t', aime and the full stop.
    """
    return [match.span() for match in _WORD.finditer(text)]


def token_spans(text: str) -> list[tuple[int, int]]:
    """Character spans of what white space separates, for text that is tokenised already."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def spans_at(level: Literal["words", "tokens"], text: str) -> list[tuple[int, int]]:
    """`word_spans` or `token_spans` of a text."""
    return word_spans(text) if level == "words" else token_spans(text)


def split_words(text: str) -> list[str]:
    """The words of `text`; see `word_spans`."""
    return [text[start:end] for start, end in word_spans(text)]
