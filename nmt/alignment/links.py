"""Word links: choosing the likely ones, and the notations Pharaoh (i-j) and NAACL (sentence src tgt)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from nmt.alignment.words import WordLevel, spans_at
from nmt.arrays import Float32Array
from nmt.errors import AlignmentError

Link = tuple[int, int]  # source word, target word, from 0


LINK, LINK_ONE_FREE, LINK_BOTH_FREE = 0.4, 0.3, 0.1  # the smallest probabilities for `likely_links`
_PHARAOH = re.compile(r"(\d+)([-p?])(\d+)")


@dataclass(frozen=True)
class GoldLinks:
    """One sentence's links, (source, target) from 0. The possible ones include the sure ones."""

    sure: frozenset[Link]
    possible: frozenset[Link]


def parse_pharaoh(line: str, base: int = 0, where: str = "links") -> GoldLinks:
    """Parse links like ``0-0 1p2 3?4``: source, then target; ``-`` is sure, ``p`` and ``?`` are possible.

    Args:
        line: one sentence's links.
        base: 0 or 1, the number of the first word.
        where: the place of the line, for error messages.

    Raises:
        AlignmentError: for anything else, or a number below `base`.
    """
    sure, possible = set(), set()
    for item in line.split():
        match = _PHARAOH.fullmatch(item)
        if match is None:
            raise AlignmentError(f"{where}: '{item}' is not a link; write i-j (sure), ipj or i?j (possible)")
        link = _from_base(int(match[1]), int(match[3]), base, where)
        possible.add(link)
        if match[2] == "-":
            sure.add(link)
    return GoldLinks(frozenset(sure), frozenset(possible))


def missing_words(gold: GoldLinks, pair: tuple[str, str], level: WordLevel = "words") -> str | None:
    """Return a text that names the first link to a word that a pair does not have; None if all words exist.

    Args:
        gold: the links of the pair.
        pair: source and target text.
        level: the units that the links connect.
    """
    src, tgt = (len(spans_at(level, text)) for text in pair)
    outside = min((link for link in gold.possible if link[0] >= src or link[1] >= tgt), default=None)
    if outside is None:
        return None
    return f"link {outside[0]}-{outside[1]}, but the pair has {src} source and {tgt} target {level}, counted from 0"


def transposed(line: str) -> str:
    """Return a line of Pharaoh links with source and target exchanged; items that are not links stay unchanged."""
    return _PHARAOH.sub(r"\3\2\1", line)


@dataclass(frozen=True)
class GoldFile:
    """A file of gold links.

    Attributes:
        path: the file.
        kind: `pharaoh` has one line per sentence. `naacl` (the shared task of 2003) has one line per link,
            ``sentence src tgt [S|P]``, with sentences counted from 1 and S as the default.
        base: 0 or 1, the number of the first word.
    """

    path: Path
    kind: Literal["pharaoh", "naacl"] = "pharaoh"
    base: int = 0


def read_gold(gold: GoldFile, lines: Iterable[str], sentences: int) -> list[GoldLinks]:
    """Return the gold links of a corpus.

    Args:
        gold: the path of the file, for error messages, and its notation.
        lines: the lines of the file.
        sentences: how many sentence pairs there are.

    Raises:
        AlignmentError: naming file and line.
    """
    path, kind, base = gold.path, gold.kind, gold.base
    if kind == "pharaoh":
        found = [parse_pharaoh(line, base, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
        if len(found) != sentences:
            raise AlignmentError(f"{path} has {len(found)} lines, but there are {sentences} sentence pairs")
        return found
    sure: list[set[Link]] = [set() for _ in range(sentences)]
    possible: list[set[Link]] = [set() for _ in range(sentences)]
    for number, line in enumerate(lines, start=1):
        where, fields = f"{path}, line {number}", line.split()
        if not fields:
            continue
        if (
            len(fields) not in (3, 4)
            or not all(field.isdecimal() for field in fields[:3])
            or fields[3:] not in ([], ["S"], ["P"])
        ):
            raise AlignmentError(f"{where}: '{line}' does not have the form 'sentence src tgt [S|P]'")
        sentence = int(fields[0]) - 1
        if not 0 <= sentence < sentences:
            raise AlignmentError(f"{where}: sentence {fields[0]} does not exist; there are {sentences}, counted from 1")
        link = _from_base(int(fields[1]), int(fields[2]), base, where)
        possible[sentence].add(link)
        if fields[3:] != ["P"]:
            sure[sentence].add(link)
    return [GoldLinks(frozenset(s), frozenset(p)) for s, p in zip(sure, possible, strict=True)]


def _from_base(src: int, tgt: int, base: int, where: str) -> Link:
    if src < base or tgt < base:
        raise AlignmentError(f"{where}: word 0, but words are counted from {base}; see --gold-base")
    return src - base, tgt - base


def format_pharaoh(links: Iterable[Link]) -> str:
    """Return links in the form ``0-0 2-1 1-2``."""
    return " ".join(f"{src}-{tgt}" for src, tgt in links)


def likely_links(probabilities: Float32Array) -> list[Link]:
    """Return the links (source, target) of a sentence pair, in the order of target words.

    Every link with a probability of at least 0.4 is taken. Other links are then tested, the most likely first. A link
    is added if only one of its words has no link yet and its probability is at least 0.3, or if neither word has a link
    and it is at least 0.1. This is the idea of `grow-diag-final` (Koehn et al. 2003).

    Args:
        probabilities: ``[T, S]``, 0 to 1.
    """
    chosen = np.asarray(probabilities >= LINK)  # [T, S]
    tgt_linked, src_linked = chosen.sum(axis=1) > 0, chosen.sum(axis=0) > 0  # [T], [S]
    candidates = np.argwhere((probabilities >= LINK_BOTH_FREE) & ~(tgt_linked[:, None] & src_linked[None, :]))
    for tgt, src in candidates[np.argsort(-probabilities[candidates[:, 0], candidates[:, 1]], kind="stable")]:
        linked = int(tgt_linked[tgt]) + int(src_linked[src])
        if linked == 0 or (linked == 1 and probabilities[tgt, src] >= LINK_ONE_FREE):
            chosen[tgt, src] = tgt_linked[tgt] = src_linked[src] = True
    return [(int(src), int(tgt)) for tgt, src in np.argwhere(chosen)]
