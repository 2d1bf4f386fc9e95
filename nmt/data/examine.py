"""Examination of parallel text for likely faults, in one pass and without keeping the text in memory."""

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from nmt.alignment.words import split_words
from nmt.arrays import Float32Array
from nmt.config import Filter
from nmt.data.filters import PairChecker, checker_and_pairs, normalization_changes, pair_hash
from nmt.errors import DataError

_EXAMPLES = 3  # lines that are named for each finding
_BINS = (5, 10, 20, 30, 50, 100)
_CUT_MARKS = (" 't ", " n't ", " . ", " , ", " 。 ", " ， ", " 、 ")  # not " ? " and " ! ", which are correct in French
_VOCABULARY_LINES = 20_000  # lines whose words are kept
_BLOCK, _SMALLEST_BLOCK = 500, 100  # pairs whose lengths are compared at once: as a rule, and at least
_CLEARLY = 0.25  # a correlation that is higher by this much is not due to chance


@dataclass
class Finding:
    """A kind of fault in the data: how many pairs have it, and the line numbers (from 1) of the first such pairs."""

    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        """Count one more pair that has the fault, and keep the first line numbers."""
        self.count += 1
        if len(self.lines) < _EXAMPLES:
            self.lines.append(line)


@dataclass
class Examination:
    """What was found in one split.

    Attributes:
        pairs: the number of pairs.
        words: the numbers of source and of target words.
        findings: the findings by kind; only the kinds that occurred.
        lengths: the numbers of pairs whose longer side has up to 5, 10, 20, 30, 50, 100, and more words.
        filters: the names of the filters that would leave pairs out.
        scripts: the script of most lines of each side, in the first part that has letters.
        hashes: the hashes of the pairs, for finding overlaps with other splits.
        changed: the number of target lines that the default of `tokenizer.normalization` changes.
        tokenised: the numbers of source and target lines that look tokenised, as ``do n't .`` does.
        vocabularies: the source and target words of the first lines.
        sizes: the logarithms of the numbers of source and target characters of each pair.
    """

    pairs: int = 0
    words: tuple[int, int] = (0, 0)
    findings: dict[str, Finding] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=lambda: [0] * (len(_BINS) + 1))
    filters: set[Filter] = field(default_factory=set)
    scripts: tuple[str | None, str | None] = (None, None)
    hashes: set[int] = field(default_factory=set)
    changed: int = 0
    tokenised: tuple[int, int] = (0, 0)
    vocabularies: tuple[set[str], set[str]] = field(default_factory=lambda: (set(), set()))
    sizes: tuple["array[float]", "array[float]"] = field(default_factory=lambda: (array("f"), array("f")))

    def note(self, kind: str, line: int) -> None:
        """Note a finding."""
        self.findings.setdefault(kind, Finding()).add(line)

    def histogram(self) -> Iterator[tuple[str, int]]:
        """Return the name and the number of pairs of each length bin, up to the last bin that is not empty."""
        names = [f"longer side up to {limit} words" for limit in _BINS]
        names.append(f"longer side more than {_BINS[-1]} words")
        filled = max((at for at, count in enumerate(self.lengths, start=1) if count), default=0)
        return iter(list(zip(names, self.lengths, strict=True))[:filled])

    @property
    def long_share(self) -> float:
        """The share of pairs with more than 50 words on a side."""
        return sum(self.lengths[_BINS.index(50) + 1 :]) / max(1, self.pairs)

    @property
    def is_tokenised(self) -> tuple[bool, bool]:
        """Whether most lines of the source, and of the target, are already tokenised."""
        return self.tokenised[0] > self.pairs / 2, self.tokenised[1] > self.pairs / 2


def examine(*parts: Iterable[tuple[str, str]]) -> Examination:
    """Examine a split in one pass.

    Args:
        parts: source and target texts of each part of the split.
    """
    found = Examination()
    for part in parts:
        checker, stream = checker_and_pairs(part, hashes=found.hashes)
        _examine_part(found, checker, stream)
        if found.scripts == (None, None):
            found.scripts = checker.scripts
    return found


def _examine_part(found: Examination, checker: PairChecker, pairs: Iterable[tuple[str, str]]) -> None:
    for line, (src, tgt) in enumerate(pairs, start=found.pairs + 1):
        found.pairs += 1
        words = split_words(src), split_words(tgt)
        sizes = len(words[0]), len(words[1])
        found.changed += normalization_changes(tgt)
        found.tokenised = found.tokenised[0] + _is_cut(src), found.tokenised[1] + _is_cut(tgt)
        for side, text in enumerate((src, tgt)):
            found.sizes[side].append(math.log(1 + len(text)))
            if line <= _VOCABULARY_LINES:
                found.vocabularies[side].update(word.lower() for word in words[side])
        found.words = found.words[0] + sizes[0], found.words[1] + sizes[1]
        found.lengths[sum(max(sizes) > limit for limit in _BINS)] += 1
        for fault in checker.faults(src, tgt, sizes):
            found.note(fault.text, line)
            if fault.filter is not None:
                found.filters.add(fault.filter)


def _is_cut(text: str) -> bool:
    """Return whether punctuation is separated from words, as in tokenised text."""
    return any(mark in f"{text} " for mark in _CUT_MARKS)


def slip(found: Examination) -> tuple[int, int] | None:
    """Find where one side seems to be shifted by a line, judging by the lengths of the texts.

    Long texts have long translations, so the lengths of both sides are correlated. Where the correlation is clearly
    higher with the other side's previous or next line, a line is missing on one side.

    Returns:
        The first line of the block where a shift was noticed, and +1 if the target is a line too low or -1 if it is a
        line too high; None if there is no shift.
    """
    src, tgt = (np.frombuffer(side, dtype=np.float32) for side in found.sizes)
    for first in range(0, len(src), _BLOCK):
        block = slice(first, first + _BLOCK)
        one, other = src[block], tgt[block]
        if len(one) < _SMALLEST_BLOCK:
            break
        straight = _correlation(one, other)
        for shift, value in ((1, _correlation(one[:-1], other[1:])), (-1, _correlation(one[1:], other[:-1]))):
            if value > straight + _CLEARLY:
                return first + 1, shift
    return None


def _correlation(one: Float32Array, other: Float32Array) -> float:
    if np.ptp(one) == 0 or np.ptp(other) == 0:  # the standard deviation of equal numbers is not exactly 0
        return 0.0
    return float(np.corrcoef(one, other)[0, 1])


def sides_are_swapped(train: Examination, other: Examination) -> bool:
    """Return True if the words of another split fit the training data better with source and target exchanged."""
    (src, tgt), (known_src, known_tgt) = other.vocabularies, train.vocabularies
    straight = len(src & known_src) + len(tgt & known_tgt)
    return len(src & known_tgt) + len(tgt & known_src) > straight


def overlap(train: Examination, other: Iterable[tuple[str, str]]) -> Finding:
    """Return how many pairs of another split are also in the training data, with the first line numbers."""
    shared = Finding()
    for line, (src, tgt) in enumerate(other, start=1):
        if pair_hash(src, tgt) in train.hashes:
            shared.add(line)
    return shared


def finding_rows(examination: Examination) -> Sequence[tuple[str, str]]:
    """Return the kind and the description of each finding, the most frequent first."""
    ordered = sorted(examination.findings.items(), key=lambda item: -item[1].count)
    return [(kind, described(finding)) for kind, finding in ordered]


def described(finding: Finding) -> str:
    """Return the count of a finding with its first lines."""
    if not finding.count:
        return "0"
    lines = ", ".join(map(str, finding.lines))
    more = ", ..." if finding.count > len(finding.lines) else ""
    return f"{finding.count} (line {lines}{more})"


def split_report(name: str, found: Examination) -> Iterator[str]:
    """Yield the lines of a report on what was found in a split.

    Raises:
        DataError: if there is no pair.
    """
    if found.pairs == 0:
        raise DataError(f"{name}: there is no sentence pair")
    yield f"{name}: {found.pairs} pairs, {found.words[0]} source and {found.words[1]} target words"
    for kind, text in finding_rows(found):
        yield report_row(kind, text)
    for side, is_cut in zip(("source", "target"), found.is_tokenised, strict=True):
        if is_cut:
            yield report_row(f"the {side} is tokenised already", "use --level tokens for its words")
    slipped = slip(found)
    if slipped is not None:
        line, where = slipped[0], "low" if slipped[1] > 0 else "high"
        yield report_row("the sides seem shifted", f"the target lies a line too {where}, near line {line}")
    if not found.findings and slipped is None:
        yield "  nothing suspicious"
    widest = max(found.lengths)
    for label, count in found.histogram():
        yield report_row(label, f"{count:>8} {'#' * round(30 * count / widest)}")


def report_row(name: str, value: str) -> str:
    """Return a name and a value side by side."""
    return f"  {name:<64} {value}"
