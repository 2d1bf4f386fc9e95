"""A glossary: terms of the source language, and how they must be translated."""

import logging
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from nmt.data.lines import read_lines
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.phrases import find_phrase, occurrences
from nmt.decoding.request import Request, alternatives, constraint_pieces
from nmt.errors import DataError

log = logging.getLogger(__name__)
_WARNINGS = 5  # how many of the terms that are left out get their own warning; the others are only counted


@dataclass(frozen=True)
class Term:
    """A term of a glossary.

    Attributes:
        source: the term in the source language.
        require: its translations, one of which is enough; empty if none is required.
        forbid: phrases that the translation of a text with this term must not have.
    """

    source: str
    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()

    def joined(self, other: "Term") -> "Term":
        """Return a term with the phrases of both; a phrase that one of them requires is not forbidden."""
        require = tuple(dict.fromkeys((*self.require, *other.require)))
        forbid = dict.fromkeys((*self.forbid, *other.forbid))
        return Term(self.source, require, tuple(phrase for phrase in forbid if phrase not in require))


@dataclass(frozen=True)
class Glossary:
    """Terms that require or forbid phrases wherever they occur in a source text.

    Attributes:
        terms: longest first; if two of them overlap in a text, the longer one counts.
    """

    terms: Sequence[Term]

    @cached_property
    def _forms(self) -> list[tuple[str, Term]]:
        """The forms in which each term is found: as it is written, and with a capital first letter."""
        forms = [
            (form, term) for term in self.terms for form in (term.source, term.source[:1].upper() + term.source[1:])
        ]
        return sorted(forms, key=lambda each: (-len(each[0]), each[0] != each[1].source))

    @classmethod
    def read(cls, path: Path, tokenizer: Tokenizer) -> "Glossary":
        """Read a table with one term per line: the term, its translations and forbidden phrases, separated by tabs.

        Bars separate several translations or phrases. A term with two lines gets the translations of both. A term is
        left out, with a warning, if the model cannot write one of its translations or forbidden phrases.

        Args:
            path: the file.
            tokenizer: the tokenizer of the model.

        Raises:
            DataError: if a line is not a term, naming the line; or if there are no terms.
        """
        terms: dict[str, Term] = {}
        left_out = 0
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            term = _term(line, path, number)
            try:
                asked = Request("", require=("|".join(term.require),) if term.require else (), forbid=term.forbid)
                constraint_pieces(asked, number, tokenizer, sys.maxsize, None)
            except DataError as error:
                left_out += 1
                if left_out <= _WARNINGS:
                    log.warning("%s, %s; the term is left out", path, error)
                continue
            terms[term.source] = terms[term.source].joined(term) if term.source in terms else term
        if left_out > _WARNINGS:
            log.warning("and %d more terms of %s are left out", left_out - _WARNINGS, path)
        if not terms:
            raise DataError(f"{path}: there are no terms in this glossary")
        return cls(sorted(terms.values(), key=lambda term: -len(term.source)))

    def applied_to(self, request: Request) -> Request:
        """Return a request with the phrases that the glossary requires or forbids for its text.

        A term is found as whole words, as it is written or with a capital first letter. Where terms overlap, the
        longest counts, and of two terms that differ in a capital letter the one that is written like the text. Wide and
        narrow forms of a letter are the same, and so are one space and several. What the request itself requires comes
        first: if it requires a translation of a term, the glossary requires none. Nothing is forbidden that is part of
        a required phrase, whether the request or another term of the glossary requires it.
        """
        text = _plain(request.text)
        asked = {each for one in request.require for each in alternatives(one)}
        require: dict[str, None] = {}
        forbid: dict[str, None] = {}
        taken: list[tuple[int, int]] = []
        found: set[Term] = set()
        for form, term in self._forms:
            for start, end in occurrences(text, form):
                if not any(start < other_end and other_start < end for other_start, other_end in taken):
                    taken.append((start, end))
                    found.add(term)
        for term in (term for term in self.terms if term in found):
            if term.require and not asked & set(term.require):
                require["|".join(term.require)] = None
            forbid |= dict.fromkeys(term.forbid)
        wanted = [*asked, *(each for one in require for each in alternatives(one))]
        kept = [one for one in forbid if all(find_phrase(each, one) is None for each in wanted)]
        return replace(request, require=(*request.require, *require), forbid=(*request.forbid, *kept))


def _term(line: str, path: Path, number: int) -> Term:
    source, *rest = (cell.strip() for cell in line.split("\t"))
    if not source or not any(rest) or len(rest) > 2:
        raise DataError(
            f"{path}, line {number}: '{line[:60]}' is not a term; write the source term, a tab and its translation, "
            f"and optionally another tab and what to forbid"
        )
    require, forbid = (alternatives(cell) for cell in (*rest, "")[:2])
    return Term(_plain(source), tuple(require), tuple(forbid))


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())
