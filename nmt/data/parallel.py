"""Reading two parallel text files, and finding where their lines stop matching if their lengths differ."""

import math
from collections import Counter, deque
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

from nmt.data.lines import read_lines
from nmt.errors import DataError

_WINDOW = 8  # lines that are examined together
_SUSPECTS = 4  # a window with this many unusual length ratios comes after a slip
_UNUSUAL = math.log(1.7)  # a ratio is unusual if its logarithm is farther than this from that of the usual ratio
_BIN = 0.02  # width of the bins, in logarithms, from which the median ratio is taken


def read_files(src: Path, tgt: Path) -> Iterator[tuple[str, str]]:
    """Yield the pairs of lines of two files.

    Raises:
        DataError: if a file cannot be read, or if one has more lines than the other.
    """
    for number, (src_line, tgt_line) in enumerate(zip_longest(read_lines(src), read_lines(tgt)), start=1):
        if src_line is None or tgt_line is None:
            raise DataError(_describe_slip(src, tgt, number - 1))
        yield src_line, tgt_line


def _describe_slip(src: Path, tgt: Path, common: int) -> str:
    """Return the message for files of unequal length, with the likely place of the first slip."""
    counts = [0, 0]
    ratios: Counter[int] = Counter()  # a histogram, so that memory does not grow with the files
    for src_line, tgt_line in zip_longest(read_lines(src), read_lines(tgt)):
        counts[0] += src_line is not None
        counts[1] += tgt_line is not None
        if src_line is not None and tgt_line is not None:
            ratios[round(_log_ratio(src_line, tgt_line) / _BIN)] += 1
    slip = _first_slip(src, tgt, _median(ratios) * _BIN)
    place = (
        f"one file ends after line {common}"
        if slip is None
        else f"lengths stop matching near line {slip}; look for a missing or split line"
    )
    return (
        f"{src} has {counts[0]} lines and {tgt} has {counts[1]}; line i of one must translate line i of the other. "
        f"Likely slip: {place}"
    )


def _first_slip(src: Path, tgt: Path, usual: float) -> int | None:
    """Return the first line with an unusual length ratio in the first window in which half of the ratios are unusual.

    After a slip, unrelated sentences are paired, so their length ratios vary.
    """
    window: deque[bool] = deque(maxlen=_WINDOW)
    for number, pair in enumerate(zip(read_lines(src), read_lines(tgt), strict=False), start=1):
        window.append(abs(_log_ratio(*pair) - usual) > _UNUSUAL)
        if len(window) == _WINDOW and sum(window) >= _SUSPECTS:
            return number - _WINDOW + 1 + window.index(True)
    return None


def _log_ratio(src: str, tgt: str) -> float:
    return math.log((len(src) + 1) / (len(tgt) + 1))


def _median(histogram: Counter[int]) -> int:
    passed = 0
    for value in sorted(histogram):
        passed += histogram[value]
        if 2 * passed > histogram.total():
            return value
    return 0
