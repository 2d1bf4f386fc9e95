"""Checks for faulty sentence pairs, and filters that leave such pairs out of the training data."""

import functools
import hashlib
import itertools
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from sentencepiece import SentencePieceNormalizer

from nmt.alignment.words import SPACE, split_words
from nmt.config import Filter, TokenizerConfig

Pair = TypeVar("Pair", bound=tuple[str, ...])  # source text, target text and further fields, such as links

_LINE_ENDS = {"\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029", "\r"}
_MARKUP = ("<unk>", "<s>", "</s>", "<pad>", "<br>", "&quot;", "&amp;", "&apos;", "@-@")
_SUSPICIOUS_RATIO = 1.6  # how far the logarithm of a pair's ratio of lengths may be from the corpus's mean
_LONG = 10  # the lengths of a pair are compared only if one side has at least this many words
_HEAD = 1000  # pairs that are read ahead, so that even the first pair can be compared with the usual scripts
_LETTERS = 3  # a text with fewer letters has no script
_ONE_SCRIPT = {"CJK": "Chinese or Japanese", "HIRAGANA": "Chinese or Japanese", "KATAKANA": "Chinese or Japanese"}


class Fault(NamedTuple):
    """Something suspicious about a pair.

    Attributes:
        filter: the filter that leaves such pairs out; None if none does.
        text: a description of the fault for people.
    """

    filter: Filter | None
    text: str


@dataclass
class PairChecker:
    """Finds what is suspicious about the pairs of a corpus, which are checked one after the other.

    A pair's lengths are suspicious if one side is unusually long for this corpus compared with the other. That is, the
    logarithm of the ratio of their numbers of characters differs by more than 1.6 (a factor of 5) from the running
    mean, and at least one side has ten or more words. A side is in another script if most of its letters are not in the
    script of most lines of that side so far.

    Attributes:
        lines_in_script: for each side, the number of lines in each script, of the pairs checked so far and those after
            them that were read ahead.
        ahead: the number of pairs that were read ahead and are not checked yet.
        held_out: the hashes of the validation and test pairs and of their sides; see `pair_hash` and `text_hash`.
        hashes: the hashes of the pairs checked so far, and of those that must not occur again.
    """

    lines_in_script: tuple[Counter[str], Counter[str]]
    ahead: int
    held_out: frozenset[int] = frozenset()
    hashes: set[int] = field(default_factory=set)
    _pairs: int = 0
    _log_ratios: float = 0.0

    @property
    def scripts(self) -> tuple[str | None, str | None]:
        """The script of most lines of each side; None where no line has a script."""
        src, tgt = self.lines_in_script
        return _most_common(src), _most_common(tgt)

    def faults(self, src: str, tgt: str, words: tuple[int, int] | None = None) -> list[Fault]:
        """Return what is suspicious about the next pair.

        Args:
            src: the source text.
            tgt: the target text.
            words: the numbers of source and target words; None to count them.
        """
        found: list[Fault] = []
        sizes = words or (len(split_words(src)), len(split_words(tgt)))
        if not all(sizes):
            found.append(Fault(None, "both sides empty" if not any(sizes) else "one side empty"))
        else:
            ratio = math.log(len(src) / len(tgt))
            self._pairs, self._log_ratios = self._pairs + 1, self._log_ratios + ratio
            if max(sizes) >= _LONG and abs(ratio - self._log_ratios / self._pairs) > _SUSPICIOUS_RATIO:
                found.append(Fault("lengths", "lengths that do not fit each other"))
        if any(mark in text for text in (src, tgt) for mark in _MARKUP):
            found.append(Fault("markup", f"markup such as {', '.join(_MARKUP[:3])}"))
        if src == tgt and any(sizes):
            found.append(Fault("identical", "source and target the same"))
        found += {fault for text in (src, tgt) for fault in _odd_characters(text)}
        scripts = script_of(src), script_of(tgt)
        for counts, script in zip(self.lines_in_script, scripts, strict=True):
            if self.ahead == 0 and script is not None:
                counts[script] += 1
        self.ahead = max(0, self.ahead - 1)
        if any(script not in (usual, None) for usual, script in zip(self.scripts, scripts, strict=True)):
            found.append(Fault("script", "a side in a different script from most of its lines"))
        key = pair_hash(src, tgt)
        if key in self.hashes:
            found.append(Fault("duplicates", "pairs that occurred before"))
        self.hashes.add(key)
        if key in self.held_out:
            found.append(Fault("overlap", "pairs of the validation or test data"))
        if self.held_out and not self.held_out.isdisjoint(map(text_hash, (src, tgt))):
            found.append(Fault("shared_sides", "pairs with a side of the validation or test data"))
        return found


def checker_and_pairs(
    pairs: Iterable[Pair], held_out: frozenset[int] = frozenset(), hashes: set[int] | None = None
) -> tuple[PairChecker, Iterator[Pair]]:
    """Return a checker that has counted the scripts of the first pairs, and an iterator over all the pairs.

    Args:
        pairs: the pairs of one corpus.
        held_out: the hashes of the validation and test pairs and of their sides.
        hashes: the hashes of pairs that must not occur again, to which the checker adds; None if there are none.
    """
    stream = iter(pairs)
    head = list(itertools.islice(stream, _HEAD))
    counts = _lines_in_script(pair[0] for pair in head), _lines_in_script(pair[1] for pair in head)
    checker = PairChecker(counts, len(head), held_out, set() if hashes is None else hashes)
    return checker, itertools.chain(head, stream)


def judged(
    pairs: Iterable[Pair],
    filters: Sequence[Filter],
    held_out: frozenset[int] = frozenset(),
    hashes: set[int] | None = None,
) -> Iterator[tuple[int, Pair, str | None]]:
    """Yield the number of each pair (from 1), the pair, and the reason why a filter leaves it out (None if it is kept).

    Args:
        pairs: source text, target text and further fields, such as links, of each pair.
        filters: names of filters.
        held_out: hashes of what `overlap` and `shared_sides` leave out.
        hashes: hashes of the pairs of other corpora that `duplicates` leaves out, to which those of this one are added.
    """
    checker, stream = checker_and_pairs(pairs, held_out, hashes)
    for line, pair in enumerate(stream, start=1):
        reasons = [fault.text for fault in checker.faults(pair[0], pair[1]) if fault.filter in filters]
        yield line, pair, reasons[0] if reasons else None


def pair_hash(src: str, tgt: str) -> int:
    """Return a 64-bit hash of a pair, which ignores white space at both ends of the texts."""
    return text_hash(f"{src.strip()}\n{tgt.strip()}")


def text_hash(text: str) -> int:
    """Return a 64-bit hash of a text, which ignores white space at both ends."""
    text_bytes = text.strip().encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text_bytes, digest_size=8).digest(), "big")


def _lines_in_script(texts: Iterable[str]) -> Counter[str]:
    """Return how many texts are in each script."""
    return Counter(script for script in map(script_of, texts) if script is not None)


def _most_common(counts: Counter[str]) -> str | None:
    return max(counts, key=counts.__getitem__, default=None)


def script_of(text: str) -> str | None:
    """Return the script of most letters of a text, such as LATIN; None if it has fewer than three letters."""
    if text.isascii():
        return "LATIN" if sum(map(str.isalpha, text)) >= _LETTERS else None
    counts = Counter(script for script in map(_script_of_character, text) if script is not None)
    return _most_common(counts) if counts.total() >= _LETTERS else None


@functools.lru_cache(maxsize=100_000)
def _script_of_character(character: str) -> str | None:
    """Return the script of a letter, the first word of its Unicode name; Chinese and Japanese scripts count as one."""
    if not character.isalpha():
        return None
    name = unicodedata.name(character, "").removeprefix("FULLWIDTH ").removeprefix("HALFWIDTH ")
    first = name.replace("-", " ").partition(" ")[0]
    # A modifier, such as the glottal stop of Hawaiian, belongs to the script of its word.
    return None if first == "MODIFIER" else _ONE_SCRIPT.get(first, first) or None


def normalization_changes(text: str) -> bool:
    """Return whether the default of `tokenizer.normalization` changes more of a text than spaces and damage."""
    if text.isascii():
        return False
    text = text.replace("\N{REPLACEMENT CHARACTER}", " ").replace(SPACE, " ")
    changed: str = _normalizer().Normalize(text)
    return changed.replace(SPACE, " ").split() != text.split()


@functools.cache
def _normalizer() -> SentencePieceNormalizer:
    return SentencePieceNormalizer(rule_name=TokenizerConfig().normalization)


def _odd_characters(text: str) -> Iterator[Fault]:
    if text.isascii() and text.isprintable():
        return
    if normalization_changes(text):
        yield Fault(None, "characters that tokenizer.normalization changes, unless identity")
    for character in set(text):
        if character in _LINE_ENDS:
            yield Fault("characters", "line ends of other kinds inside a line (U+0085, U+2028, CR, ...)")
        elif character == "\N{REPLACEMENT CHARACTER}":
            yield Fault("characters", "replacement characters (text that was decoded wrongly once)")
        elif unicodedata.category(character) == "Cc" and character != "\t":
            yield Fault("characters", "control characters")
        elif unicodedata.category(character) in ("Co", "Cn"):
            yield Fault("characters", "characters that Unicode does not define")
