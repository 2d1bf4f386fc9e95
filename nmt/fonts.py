"""Find installed fonts for the texts of pictures, and substitutes for characters that no font has."""

import contextlib
import functools
import logging
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_log = logging.getLogger(__name__)
_FIRST = "DejaVu Sans"  # comes with matplotlib
_BOX = "\u25a1"  # a white square, which the first font has
_EAST_ASIAN = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH", "HALFWIDTH", "YI ")


@dataclass(frozen=True)
class Fonts:
    """The fonts of a picture.

    Attributes:
        families: the names of the fonts; matplotlib takes each character from the first one that has it.
        missing: the characters that none of them has.
    """

    families: list[str]
    missing: frozenset[str]

    def drawable(self, text: str) -> str:
        """Return `text` with a box for each missing character; missing combining marks are left out."""
        return "".join(_stand_in(char) if char in self.missing else char for char in text)


def figure_fonts(texts: Iterable[str]) -> Fonts:
    """Return installed fonts that together have the characters of `texts`, as far as possible.

    If no installed font has some of the characters, the log says once which font package to install.
    """
    from matplotlib import font_manager

    missing = frozenset(char for text in texts for char in text)
    families = [_FIRST]
    missing -= _characters(font_manager.findfont(_FIRST))
    if missing:
        _find_new_fonts()
        for entry in font_manager.fontManager.ttflist:
            if entry.style != "normal" or entry.name in families or entry.name.startswith("Last Resort"):
                continue
            if found := missing & _characters(entry.fname):
                families.append(entry.name)
                missing -= found
            if not missing:
                break
    for package in sorted({_package(char) for char in missing if _stand_in(char) == _BOX}):
        _advise(package)
    return Fonts(families, missing)


def _stand_in(char: str) -> str:
    match unicodedata.category(char)[0]:
        case "Z":
            return " "
        case "M" | "C":
            return ""
        case _:
            return _BOX


@functools.cache
def _characters(path: Any) -> frozenset[str]:
    """Return the characters that a font file has glyphs for."""
    from matplotlib import font_manager

    try:
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except (OSError, RuntimeError):  # a damaged font, or one of a kind that matplotlib cannot read
        return frozenset()


@functools.cache
def _find_new_fonts() -> None:
    """Add fonts that were installed recently to matplotlib's list of fonts, which it keeps between runs."""
    from matplotlib import font_manager

    known = {str(entry.fname) for entry in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        with contextlib.suppress(OSError, RuntimeError):
            font_manager.fontManager.addfont(path)


def _package(char: str) -> str:
    """Return the package whose fonts have a character."""
    return "fonts-noto-cjk" if unicodedata.name(char, "").startswith(_EAST_ASIAN) else "fonts-noto-core"


@functools.cache
def _advise(package: str) -> None:
    """Warn, once per process, that a font package should be installed."""
    _log.warning(
        "no installed font has some characters of the pictures, so %s stands for them; install a font that has them, "
        "such as those of the package %s of Debian and Ubuntu",
        _BOX,
        package,
    )
