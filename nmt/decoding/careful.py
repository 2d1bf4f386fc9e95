"""What a translator does about too little memory, numbers that are none, and lines that are cut."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nmt.data.tokenizer import UNK, Encoded
from nmt.decoding.search import Hypothesis
from nmt.errors import NOT_FINITE, DataError, ModelError, out_of_memory
from nmt.runtime import release_memory

log = logging.getLogger(__name__)
_MUCH_UNKNOWN = 0.3  # a larger share of unknown pieces gets a warning
_NAMED = 5  # cut lines that get a warning each; the others are summed up
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_halves(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
    """Return what `work` makes of the items; where memory runs out, of one half after the other, and so on.

    Args:
        work: returns one result for each item, in order, whatever the other items are.
        items: at least one.

    Raises:
        MemoryError: or torch's RuntimeError, if memory runs out for a single item.
    """
    try:
        return work(items)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error) or len(items) == 1:
            raise
    release_memory()
    middle = len(items) // 2
    log.warning("memory ran out for %d lines at once; they are done in halves (decoding.batch_size)", len(items))
    return in_halves(work, items[:middle]) + in_halves(work, items[middle:])


def refuse_not_finite(found: Sequence[Sequence[Hypothesis]]) -> None:
    """Refuse search results of a model whose numbers overflow or are none.

    Raises:
        ModelError: if a sentence has no hypothesis, or one without a probability.
    """
    if any(not hypotheses or not math.isfinite(hypotheses[0].log_prob) for hypotheses in found):
        raise ModelError(NOT_FINITE)


@dataclass
class CutLines:
    """Names the first few lines that are cut, and counts the others, so that they do not flood the terminal."""

    count: int = 0

    def note(self, line: int, pieces: int, limit: int) -> None:
        """Take note of a line that has more pieces than the limit."""
        self.count += 1
        if self.count <= _NAMED:
            log.warning(
                "line %d has %d pieces; only the first %d are read (decoding.max_src_length)", line, pieces, limit
            )

    def sum_up(self) -> None:
        """Say how many more lines were cut than those that were named."""
        if self.count > _NAMED:
            log.warning("and %d more lines were cut (decoding.max_src_length)", self.count - _NAMED)
        self.count = 0


@dataclass
class UnknownPieces:
    """Warns once if much of a source is unknown to the model: another language, or capitals that it never saw."""

    warned: bool = False

    def look_at(self, sources: Sequence[Encoded], first_line: int) -> None:
        """Look at the sources of lines that follow each other.

        Args:
            sources: their pieces.
            first_line: the number of the first one.
        """
        pieces = sum(len(source.ids) for source in sources)
        unknown = [source.ids.count(UNK) for source in sources]
        if self.warned or sum(unknown) <= _MUCH_UNKNOWN * pieces:
            return
        self.warned = True
        worst = max(range(len(sources)), key=lambda at: unknown[at])
        source = sources[worst]
        spans = [span for piece, span in zip(source.ids, source.offsets, strict=True) if piece == UNK]
        named = ", ".join(f"'{source.text[start:end].strip()[:20]}'" for start, end in spans[:_NAMED])
        log.warning(
            "the model does not know %.0f %% of the text's pieces; line %d has %s. Is this the source language, in its "
            "usual capitals?",
            100 * sum(unknown) / pieces,
            first_line + worst,
            named,
        )


def limited(source: Encoded, line: int, limit: int, positions: int | None, cut: CutLines) -> Encoded:
    """Return a source, cut to `limit` pieces if it is longer.

    Args:
        source: its pieces.
        line: its number.
        limit: the setting `decoding.max_src_length`.
        positions: pieces of the longest source that the model has positions for; None for any.
        cut: is told of a source that is cut.

    Raises:
        DataError: if the model has fewer positions than pieces are left.
    """
    found = len(source.ids)
    if positions is not None and min(found, limit) > positions:
        raise DataError(
            f"line {line} has {found} pieces, but the model has positions for {positions}: split the line, or cut all "
            f"longer ones with --set decoding.max_src_length={positions}"
        )
    if found <= limit:
        return source
    cut.note(line, found, limit)
    text = source.text[: source.offsets[limit - 1][1]]
    return Encoded(text, source.ids[:limit], source.pieces[:limit], source.offsets[:limit])
