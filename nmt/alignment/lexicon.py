"""A lexicon: which words are linked to which, and how often."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nmt.alignment.links import Link
from nmt.alignment.matrix import AlignmentMatrix
from nmt.alignment.words import lower
from nmt.atomic import atomic_write


class Lexicon:
    """Counts of linked words over many pairs; words that differ only in case count as one."""

    def __init__(self) -> None:
        """Start without any links."""
        self.counts: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], int] = {}  # the line in which two words are first linked
        self._lines = 0

    def add(self, matrix: AlignmentMatrix, links: Iterable[Link]) -> None:
        """Count the links of the next line.

        Args:
            matrix: the matrix of the line, which has its words.
            links: its links.
        """
        self._lines += 1
        for src, tgt in links:
            words = lower(matrix.src_tokens[src]), lower(matrix.tgt_tokens[tgt])
            self.counts[words] += 1
            self._first.setdefault(words, self._lines)

    def write(self, path: Path) -> None:
        """Write a table with the columns source, target, count, of_source, of_target and line, most frequent first.

        `of_source` is the share of the source word's links that lead to the target word, `of_target` the share of the
        target word's links that lead to the source word, and `line` the first line, from 1, that has such a link.
        """
        sources: Counter[str] = Counter()
        targets: Counter[str] = Counter()
        for (src, tgt), count in self.counts.items():
            sources[src] += count
            targets[tgt] += count
        with atomic_write(path) as tmp_path, tmp_path.open("w", encoding="utf-8", newline="\n") as out:
            out.write("source\ttarget\tcount\tof_source\tof_target\tline\n")
            for (src, tgt), count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
                shares = f"{count / sources[src]:.4f}\t{count / targets[tgt]:.4f}"
                out.write(f"{src}\t{tgt}\t{count}\t{shares}\t{self._first[src, tgt]}\n")
