"""What may be wrong with parallel text, read once and without keeping it."""

import hashlib
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from nmt.alignment.words import split_words

_EXAMPLES = 3  # lines that are named for each finding
_LINE_ENDS = {"\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"}
_BINS = (5, 10, 20, 30, 50, 100)
_SUSPICIOUS_RATIO = 1.6  # how far the logarithm of a pair's ratio of lengths may be from the corpus's mean


@dataclass
class Finding:
    """Something suspicious in the data: how many pairs have it, and the line numbers (from 1) of the first ones."""

    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        """Count one more pair with it."""
        self.count += 1
        if len(self.lines) < _EXAMPLES:
            self.lines.append(line)


@dataclass
class Examination:
    """What was found in one split.

    Attributes:
        pairs: the number of pairs.
        words: the numbers of source and of target words.
        findings: the findings by kind; only those that occurred.
        lengths: the numbers of pairs by the longer side's words: up to 5, 10, 20, 30, 50, 100, and more.
        hashes: the hashes of the pairs, for overlaps.
    """

    pairs: int = 0
    words: tuple[int, int] = (0, 0)
    findings: dict[str, Finding] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=lambda: [0] * (len(_BINS) + 1))
    hashes: set[int] = field(default_factory=set)

    def note(self, kind: str, line: int) -> None:
        """Note a finding."""
        self.findings.setdefault(kind, Finding()).add(line)

    def histogram(self) -> Iterator[tuple[str, int]]:
        """Return the names of the length bins, and how many pairs each holds."""
        names = [f"up to {limit} words" for limit in _BINS] + [f"more than {_BINS[-1]} words"]
        return zip(names, self.lengths, strict=True)


def examine(pairs: Iterable[tuple[str, str]]) -> Examination:
    """Read a split once.

    A pair is suspicious if one side is far longer than the other, for this corpus: the logarithm of the ratio of
    characters is more than 1.6 from the running mean, which is a factor of 5, and one side has ten words at least.

    Args:
        pairs: source and target texts.
    """
    found, log_ratios = Examination(), 0.0
    for line, (src, tgt) in enumerate(pairs, start=1):
        found.pairs += 1
        sizes = len(split_words(src)), len(split_words(tgt))
        found.words = found.words[0] + sizes[0], found.words[1] + sizes[1]
        found.lengths[sum(max(sizes) > limit for limit in _BINS)] += 1
        if not all(sizes):
            found.note("both sides empty" if not any(sizes) else "one side empty", line)
        else:
            ratio = math.log(len(src) / len(tgt))
            if max(sizes) >= 10 and abs(ratio - log_ratios / line) > _SUSPICIOUS_RATIO:
                found.note("lengths that do not fit each other", line)
            log_ratios += ratio
        if src == tgt and any(sizes):
            found.note("source and target the same", line)
        for kind in {kind for text in (src, tgt) for kind in _odd_characters(text)}:
            found.note(kind, line)
        key = pair_hash(src, tgt)
        if key in found.hashes:
            found.note("pairs that occurred before", line)
        found.hashes.add(key)
    return found


def overlap(train: Examination, other: Iterable[tuple[str, str]]) -> Finding:
    """Return the pairs of another split that are in the training data, too."""
    shared = Finding()
    for line, (src, tgt) in enumerate(other, start=1):
        if pair_hash(src, tgt) in train.hashes:
            shared.add(line)
    return shared


def pair_hash(src: str, tgt: str) -> int:
    """Return 64 bits that two pairs share only if they are the same but for white space at the ends."""
    text = f"{src.strip()}\n{tgt.strip()}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _odd_characters(text: str) -> Iterator[str]:
    if text.isascii() and text.isprintable():
        return
    if not unicodedata.is_normalized("NFKC", text):
        yield "characters that tokenizer.normalization changes, unless identity"
    for character in set(text):
        if character in _LINE_ENDS:
            yield "line ends of other kinds inside a line (U+0085, U+2028, CR, ...)"
        elif character == "\N{REPLACEMENT CHARACTER}":
            yield "replacement characters (text that was decoded wrongly once)"
        elif unicodedata.category(character) == "Cc" and character != "\t":
            yield "control characters"
        elif unicodedata.category(character) in ("Co", "Cn"):
            yield "characters that Unicode does not define"


def finding_rows(examination: Examination) -> Sequence[tuple[str, str]]:
    """Return the findings as text, the commonest first."""
    ordered = sorted(examination.findings.items(), key=lambda item: -item[1].count)
    return [(kind, described(finding)) for kind, finding in ordered]


def described(finding: Finding) -> str:
    """Return the count of a finding with its first lines."""
    if not finding.count:
        return "0"
    lines = ", ".join(map(str, finding.lines))
    more = ", ..." if finding.count > len(finding.lines) else ""
    return f"{finding.count} (line {lines}{more})"
