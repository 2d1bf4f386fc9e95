"""Diagnostics of a translation from its matrix: sharpness, coverage of the source, and repetitions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nmt.alignment.matrix import AlignmentMatrix

UNREAD = 0.1  # a source token whose weights sum to less is unread
OMITTED_RUN = 3  # this many unread tokens in a row are a likely omission
LONGEST_REPEAT = 4  # tokens


@dataclass(frozen=True)
class Diagnostics:
    """Figures about one translation, computed from its word-level matrix.

    Attributes:
        entropy: mean over target tokens of -sum w log w, in nats; 0 if each attends to one source token only.
        coverage: share of source tokens whose weights sum to at least 0.1.
        repeats: how often 1 to 4 target words are repeated immediately; punctuation is ignored.
        jumps: the mean distance between where a target token's largest weight is and where it is expected, which is one
            position after that of the previous target token.
        likely_omission: whether three or more source tokens in a row have weights that sum to less than 0.1 each.
        likely_repetition: whether two or more tokens are repeated immediately, or one token occurs three times in a
            row.
    """

    entropy: float
    coverage: float
    repeats: int
    jumps: float
    likely_omission: bool
    likely_repetition: bool


def diagnose(matrix: AlignmentMatrix) -> Diagnostics:
    """Return the diagnostics of a matrix without its EOS row; if it is empty, only repetitions can be found."""
    words = len(matrix.tgt_tokens) - (matrix.eos == "row")
    weights, tokens = matrix.weights[:words].astype(np.float64), matrix.tgt_tokens[:words]
    runs = _repeats([token for token in tokens if any(char.isalnum() for char in token)])
    repeated = any(size >= 2 or times >= 2 for size, times in runs)
    count = sum(times for _, times in runs)
    if not weights.size:
        return Diagnostics(0.0, 1.0, count, 0.0, False, repeated)
    entropy = float(-(weights * np.log(np.maximum(weights, 1e-12))).sum(axis=1).mean())
    read = weights.sum(axis=0) >= UNREAD
    places = weights.argmax(axis=1)
    jumps = float(np.abs(np.diff(places) - 1).mean()) if words > 1 else 0.0
    return Diagnostics(entropy, float(read.mean()), count, jumps, _longest_run(~read) >= OMITTED_RUN, repeated)


def _repeats(tokens: Sequence[str]) -> list[tuple[int, int]]:
    """Return (size, repetitions) of each run of tokens that is followed by itself, the longest run at each position."""
    found = []
    start = 0
    while start < len(tokens):
        for size in range(min(LONGEST_REPEAT, len(tokens) - start), 0, -1):
            run, times = list(tokens[start : start + size]), 0
            while list(tokens[start + (times + 1) * size : start + (times + 2) * size]) == run:
                times += 1
            if times:
                if len(set(run)) == 1:  # "a a a a" is "a" repeated three times, not "a a" repeated once
                    others = (at for at, token in enumerate(tokens[start:]) if token != run[0])
                    size, times = 1, next(others, len(tokens) - start) - 1
                found.append((size, times))
                start += size * times
                break
        start += 1
    return found


def _longest_run(flags: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> int:
    longest = current = 0
    for flag in flags:
        current = current + 1 if flag else 0
        longest = max(longest, current)
    return longest
