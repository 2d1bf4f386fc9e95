"""A glossary: terms of the source language, and how they are to be translated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nmt.data.lines import read_lines
from nmt.decoding.phrases import find_phrase
from nmt.decoding.request import Request
from nmt.errors import DataError


@dataclass(frozen=True)
class Term:
    """A line of a glossary.

    Attributes:
        source: the term in the source language.
        require: its translation, or several between bars, of which one is enough; "" for none.
        forbid: what its translation must not have.
    """

    source: str
    require: str
    forbid: tuple[str, ...]


@dataclass(frozen=True)
class Glossary:
    """Terms that ask for phrases wherever they are in a source text.

    Attributes:
        terms: in any order; of two that stand at the same place, the longer one counts.
    """

    terms: Sequence[Term]

    @classmethod
    def read(cls, path: Path) -> "Glossary":
        """Read a table: the term, its translation, and what to forbid, between tabs; bars between several of them.

        Raises:
            DataError: naming the line, for one that is no term.
        """
        terms = []
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            source, *rest = (cell.strip() for cell in line.split("\t"))
            if not source or not any(rest) or len(rest) > 2:
                raise DataError(
                    f"{path}, line {number}: '{line[:60]}' is no term; write the source term, a tab and its "
                    f"translation, and perhaps another tab and what to forbid"
                )
            require, forbidden = (*rest, "")[:2]
            terms.append(Term(source, require, tuple(one.strip() for one in forbidden.split("|") if one.strip())))
        if not terms:
            raise DataError(f"{path}: there are no terms in this glossary")
        return cls(sorted(terms, key=lambda term: -len(term.source)))

    def applied_to(self, request: Request) -> Request:
        """Return a request with what the glossary asks for of its text.

        A term is found as whole words, in its own case or with a capital at its beginning.
        """
        found: list[Term] = []
        taken: list[tuple[int, int]] = []
        for term in self.terms:
            spans = (find_phrase(request.text, form) for form in (term.source, _capital(term.source)))
            span = next((each for each in spans if each is not None), None)
            if span is None or any(span != other and span[0] < other[1] and other[0] < span[1] for other in taken):
                continue
            taken.append(span)
            found.append(term)
        require = dict.fromkeys(term.require for term in found if term.require)
        forbid = dict.fromkeys(phrase for term in found for phrase in term.forbid)
        return replace(request, require=(*request.require, *require), forbid=(*request.forbid, *forbid))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
