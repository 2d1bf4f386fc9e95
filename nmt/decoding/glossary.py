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
        forms = []
        for term in self.terms:
            first, rest = term.source[:1], term.source[1:]
            capitals = (first.upper(), "İ") if first == "i" else (first.upper(),)  # a dotted one in Turkish
            forms += [(form, term) for form in (term.source, *(capital + rest for capital in capitals))]
        return sorted(forms, key=lambda each: (-len(each[0]), each[0] != each[1].source))

    @classmethod
    def read(cls, path: Path, tokenizer: Tokenizer) -> "Glossary":
        """Read a table with one term per line: the term, its translations and forbidden phrases, separated by tabs.

        Bars separate several translations or phrases. A term with two lines gets the translations of both. A
        translation that the model cannot write is left out with a warning, and so is a term if no translation is left.

        Args:
            path: the file.
            tokenizer: the tokenizer of the model.

        Raises:
            DataError: if a line is not a term, naming the line; or if there are no terms, or none that can be written.
        """
        terms: dict[str, Term] = {}
        faults: list[str] = []
        lines = 0
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            lines += 1
            term, more = _writable(_term(line, path, number), number, tokenizer)
            faults += more
            if term is not None:
                terms[term.source] = terms[term.source].joined(term) if term.source in terms else term
        for fault in faults[:_WARNINGS]:
            log.warning("%s, %s", path, fault)
        if len(faults) > _WARNINGS:
            log.warning("and %d more translations of %s are left out", len(faults) - _WARNINGS, path)
        if not terms:
            found = f"the model can write none of the {lines} terms of" if lines else "there are no terms in"
            raise DataError(f"{path}: {found} this glossary")
        return cls(sorted(terms.values(), key=lambda term: -len(term.source)))

    def applied_to(self, request: Request) -> Request:
        """Return a request with the phrases that the glossary requires or forbids for its text.

        A term is found as whole words, as it is written or with a capital first letter. Where terms overlap, the
        longest counts, and of two terms that differ in a capital letter the one that is written like the text. Wide and
        narrow forms of a letter are the same, and so are one space and several. The request itself comes first: if it
        requires a translation of a term, the glossary requires none, and the glossary requires no translation that the
        request forbids. Nothing is forbidden that is part of a required phrase, whether the request or another term of
        the glossary requires it.
        """
        text = _plain(request.text)
        asked, barred = (
            {each for one in phrases for each in alternatives(one)} for phrases in (request.require, request.forbid)
        )
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
            allowed = [each for each in term.require if all(find_phrase(each, one) is None for one in barred)]
            if allowed and not asked & set(term.require):
                require["|".join(allowed)] = None
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


def _writable(term: Term, line: int, tokenizer: Tokenizer) -> tuple[Term | None, list[str]]:
    """Return a term with the phrases that the model can write, and what is left out for which reason.

    The term is None if none of its translations is left, or if it has only forbidden phrases, none of which can be
    written.
    """
    forbid = tuple(phrase for phrase in term.forbid if _fault(Request("", forbid=(phrase,)), line, tokenizer) is None)
    asked = [(phrase, Request("", require=(phrase,), forbid=forbid)) for phrase in term.require]
    faults = {phrase: fault for phrase, request in asked if (fault := _fault(request, line, tokenizer)) is not None}
    require = tuple(phrase for phrase in term.require if phrase not in faults)
    is_lost = not require and bool(faults or not forbid)
    what = "the term" if is_lost else "this translation"
    left_out = [f"{fault}; {what} is left out" for fault in faults.values()]
    return None if is_lost else Term(term.source, require, forbid), left_out


def _fault(request: Request, line: int, tokenizer: Tokenizer) -> str | None:
    """Return why the model cannot satisfy a request, or None if it can."""
    try:
        constraint_pieces(request, line, tokenizer, sys.maxsize, None)
    except DataError as error:
        return str(error)
    return None


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).split())
