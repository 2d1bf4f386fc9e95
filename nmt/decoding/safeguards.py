"""Safeguards of the translator: too little memory, probabilities that are not finite, long lines, unknown pieces."""

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
_NAMED = 5  # how many cut lines get their own warning, and how many unknown pieces a warning names
Item = TypeVar("Item")
Result = TypeVar("Result")


def in_halves(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
    """Return the results of `work` on the items; if memory runs out, work on each half separately, and so on.

    Args:
        work: returns one result per item, in order; a result may not depend on the other items.
        items: at least one.

    Raises:
        MemoryError: if memory runs out for a single item; in torch, this is a RuntimeError.
    """
    try:
        return work(items)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error) or len(items) == 1:
            raise
    release_memory()
    middle = len(items) // 2
    log.warning(
        "memory ran out for %d lines at once, so they are processed in halves (decoding.batch_size)", len(items)
    )
    return in_halves(work, items[:middle]) + in_halves(work, items[middle:])


def refuse_not_finite(found: Sequence[Sequence[Hypothesis]]) -> None:
    """Refuse search results whose probabilities are not finite.

    Raises:
        ModelError: if a sentence has no hypothesis, or if the log-probability of its best one is not finite.
    """
    if any(not hypotheses or not math.isfinite(hypotheses[0].log_prob) for hypotheses in found):
        raise ModelError(NOT_FINITE)


def refuse_longer_target(pieces: int, line: int, limit: int, positions: int | None) -> None:
    """Refuse a given translation that is too long.

    Args:
        pieces: the number of its pieces, without EOS.
        line: the number of its line, for the message.
        limit: `decoding.max_tgt_length`.
        positions: the longest target, in pieces with EOS, that the model has positions for; None for any length.

    Raises:
        DataError: if it is longer than one of them allows.
    """
    if pieces > limit:
        raise DataError(
            f"line {line} of the target has {pieces} pieces, more than decoding.max_tgt_length = {limit}; split the "
            f"line, or raise the limit with --set"
        )
    if positions is not None and pieces >= positions:
        raise DataError(
            f"line {line} of the target has {pieces} pieces, but the model has positions for {positions}, including "
            f"the end mark; split the line"
        )


@dataclass
class CutLines:
    """Warns of the first few lines that are cut and only counts the others, so as not to flood the terminal."""

    count: int = 0

    def note(self, line: int, pieces: int, limit: int) -> None:
        """Take note of a line that has more pieces than the limit."""
        self.count += 1
        if self.count <= _NAMED:
            log.warning(
                "line %d has %d pieces; only the first %d are read (decoding.max_src_length)", line, pieces, limit
            )

    def sum_up(self) -> None:
        """Warn how many more lines were cut, and start counting again."""
        if self.count > _NAMED:
            log.warning("and %d more lines were cut (decoding.max_src_length)", self.count - _NAMED)
        self.count = 0


@dataclass
class UnknownPieces:
    """Warns once if the model does not know much of the source, which may be in another language or in capitals."""

    warned: bool = False

    def look_at(self, sources: Sequence[Encoded], first_line: int) -> None:
        """Warn if too many pieces of some consecutive lines are unknown, unless there was a warning before.

        Args:
            sources: the pieces of each line.
            first_line: the number of the first line.
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
            "the model does not know %.0f %% of the text's pieces; line %d has %s. Is this the source language, with "
            "its usual capital letters?",
            100 * sum(unknown) / pieces,
            first_line + worst,
            named,
        )


def limited(source: Encoded, line: int, limit: int, positions: int | None, cut: CutLines) -> Encoded:
    """Return a source, cut to `limit` pieces if it is longer.

    Args:
        source: the source as pieces.
        line: the number of its line, for messages.
        limit: the setting `decoding.max_src_length`.
        positions: the longest source, in pieces, that the model has positions for; None for any length.
        cut: records that the source is cut.

    Raises:
        DataError: if the source has more pieces than the model has positions, even when it is cut.
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
