"""Splitting texts into words, the units of word links and of alignment matrices on words."""

import re
from functools import cache
from typing import Literal

WordLevel = Literal["words", "tokens"]  # the units that links connect

SPACE = "\u2581"  # how sentencepiece marks a piece that begins with a space

FORMAT = 4  # raise it when texts are split into other words than before

# A word ends after the apostrophe of an elision (French j'aime, qu'il; Italian l'uomo, dell'arte), which only stands
# before a vowel or a mute h; other apostrophes (English don't, o'clock, c'mon; French aujourd'hui) are inside a word.
_ELIDED = (
    "j|t|l|n|d|s|m|c|ç|qu|jusqu|lorsqu|puisqu|quoiqu|presqu|quelqu"
    "|un|all|dell|nell|sull|dall|coll|quest|quell|sant|bell|tutt|anch|cos"
)
_VOWEL = "aeiouyhàâäæèéêëìíîïòóôöœùúûü"

# Blocks of punctuation and symbols. Python's \w is not used, since it excludes the combining marks that are common in
# words of Hindi or Arabic.
_SIGN = (
    r"!-/:-@\[-^`{-~\u00a1-\u00a9\u00ab\u00ac\u00ae-\u00b4\u00b6-\u00b9\u00bb-\u00bf\u00d7\u00f7\u055a-\u055f\u0589\u05be\u05c0\u05c3\u060c\u061b\u061f\u066a-\u066d\u06d4"
    r"\u0700-\u070d\u07f7-\u07f9\u0964\u0965\u1361-\u1368\u1800-\u180a\u1c7e\u1c7f\ua9c1-\ua9cd\uabeb\ufd3e\ufd3f"
    r"\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2190-\u2bff\u3001-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff3e\uff40\uff5b-\uff65\U0001f000-\U0001faff"
)

# Invisible characters that are not part of a word at its edges: the zero-width space, which separates words of Khmer
# and Thai, and the marks of writing direction.
_INVISIBLE = r"\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff"

# An emoji is one sign with its variation selector, skin tone and what is joined to it; a flag is two letters.
_PICTURE = r"[\u203c\u2049\u2190-\u2bff\U0001f000-\U0001f1e5\U0001f200-\U0001faff]"
_VARIANT = r"[\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
_EMOJI = rf"[\U0001f1e6-\U0001f1ff]{{2}}|[#*]\ufe0f\u20e3|{_PICTURE}{_VARIANT}*(?:\u200d{_PICTURE}{_VARIANT}*)*"

# Scripts that are written without spaces do not show where words end. Their units are small enough to be linked: a Han
# or Hiragana character, a run of Katakana, a Tibetan syllable, or a Thai, Lao, Khmer or Myanmar consonant with its
# vowels and marks.
_HAN = r"\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f"
_KANA = r"\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9f"
_UNSPACED = rf"{_HAN}{_KANA}\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"
_ON_HAN_OR_KANA = r"[\u3099\u309a\ufe00-\ufe0f\U000e0100-\U000e01ef]"  # decomposed voicing marks, variants of signs
_UNSPACED_WORD = (
    r"[\u30a1-\u30fa\uff66-\uff9f][\u30a1-\u30fa\u30fc-\u30ff\uff66-\uff9f\u3099\u309a]*"
    rf"|[{_HAN}\u3041-\u309f]{_ON_HAN_OR_KANA}+"
    r"|[\u0f00\u0f18-\u0f39\u0f3e-\u0fbc]+[\u0f0b\u0f0c]?"
    r"|[\u0e40-\u0e44]?[\u0e01-\u0e2f\u0e3f\u0e46\u0e4f-\u0e5b][\u0e30-\u0e3a\u0e45\u0e47-\u0e4e]*"
    r"|[\u0ec0-\u0ec4]?[\u0e81-\u0eaf\u0ec6\u0ed0-\u0edf][\u0eb0-\u0ebd\u0ec8-\u0ecf]*"
    r"|[\u1000-\u102a\u103f-\u1055](?:\u1039[\u1000-\u102a]|[\u102b-\u1038\u103a-\u103e\u1056-\u109d])*"
    r"|[\u1780-\u17b3](?:\u17d2[\u1780-\u17b3]|[\u17b4-\u17d1\u17d3\u17dd])*"
    rf"|[{_UNSPACED}]"
)

_LETTER = rf"[^\s{_SIGN}{_UNSPACED}{_INVISIBLE}]"

# What joins letters to one word: inner hyphens, points and apostrophes, the quotation mark before the last letter of a
# Hebrew acronym, and invisible characters.
_JOINT = rf"[-.,'’‘\u066b\u066c]|(?<=[\u05d0-\u05ea])\"(?=[\u05d0-\u05ea](?![\u05d0-\u05ea]))|[{_INVISIBLE}]+"

_WORD = (
    rf"(?:{_ELIDED})['’](?=[{_VOWEL}])"  # an elided word with its apostrophe
    rf"|{_EMOJI}"
    rf"|{_LETTER}+(?:(?:{_JOINT}){_LETTER}+)*"  # letters, marks and digits
    rf"|{_UNSPACED_WORD}"
    rf"|[^\s{_INVISIBLE}]"  # any other single character
    rf"|(?<!\S)[{_INVISIBLE}]+(?!\S)"  # a token without anything visible, so that every token has a word
)


@cache
def _word() -> re.Pattern[str]:
    """Return the pattern of a word. It is compiled on first use, since compiling takes a tenth of a second."""
    return re.compile(_WORD, re.IGNORECASE)


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return the character spans ``[start, end)`` of the words of `text`, in order.

    Words end at white space and at punctuation, but a single hyphen, point, comma or apostrophe between letters or
    digits does not split a word (well-known, 3.14, don't). The apostrophe of an elision does: the words of
    ``je t'aime.`` are je, t', aime and the full stop. In scripts without spaces, a word is one Han or Hiragana
    character, a run of Katakana, a Tibetan syllable, or one consonant with its vowels and marks (Thai, Lao, Khmer,
    Burmese). An emoji is one word with all that belongs to it. Zero-width spaces and marks of writing direction are in
    no word, unless they stand between letters or alone between spaces.
    """
    return [match.span() for match in _word().finditer(text)]


def token_spans(text: str) -> list[tuple[int, int]]:
    """Return the character spans of white-space separated tokens, for text that is already tokenised."""
    return [match.span() for match in re.finditer(r"\S+", text)]


def spans_at(level: WordLevel, text: str) -> list[tuple[int, int]]:
    """Return `word_spans` or `token_spans` of a text.

    Raises:
        ValueError: for another level.
    """
    if level == "words":
        return word_spans(text)
    if level == "tokens":
        return token_spans(text)
    raise ValueError(f"{level!r} is not a level; choose words, tokens or pieces")


def is_unspaced(character: str) -> bool:
    """Return whether a character belongs to a script that is written without spaces."""
    return _unspaced().match(character) is not None


@cache
def _unspaced() -> re.Pattern[str]:
    return re.compile(f"[{_UNSPACED}]")


def lower(word: str) -> str:
    """Return a word in small letters; a Turkish capital I with a dot becomes a plain i."""
    return word.lower().replace("i\u0307", "i")


def split_words(text: str) -> list[str]:
    """Return the words of `text`; see `word_spans`."""
    return [text[start:end] for start, end in word_spans(text)]
