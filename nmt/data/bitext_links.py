"""Word links computed from a text table itself, and the aligner that computes them. Both are made once and cached."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from nmt.alignment.bitext import SEGMENTATIONS, BitextAligner, TokenizedPair
from nmt.alignment.links import format_pharaoh
from nmt.alignment.words import FORMAT as WORDS_FORMAT
from nmt.alignment.words import WordLevel, spans_at
from nmt.data.cache import Table, cached_folder, cached_table
from nmt.data.checksums import digest
from nmt.quiet import no_bar

log = logging.getLogger(__name__)
_FORMAT = 3  # raise it when the same text gives another aligner
_MOST_PAIRS = 200_000  # the most pairs that an aligner learns from, spread evenly over the text


@dataclass(frozen=True)
class TextAligner:
    """The statistical aligner of a text, and the fingerprint of both."""

    aligner: BitextAligner
    fingerprint: str


def text_aligner(text: Table, text_id: str, level: WordLevel, cache: Path) -> TextAligner:
    """Return the statistical aligner of a text. If it is not in the cache, train it and show a progress bar.

    Args:
        text: columns `src` and `tgt`.
        text_id: fingerprint of the text.
        level: the units to align, `words` or white-space separated `tokens`.
        cache: folder of the cache.

    Raises:
        DataError: if the cache cannot be read or written.
    """
    fingerprint = digest(_FORMAT, WORDS_FORMAT, text_id, level)
    folder = cached_folder(cache / f"aligner-{fingerprint}", lambda folder: _train(text, level).save(folder))
    return TextAligner(BitextAligner.load(folder), fingerprint)


def text_links(text: Table, made: TextAligner, cache: Path) -> Table:
    """Return a table of the links of a text; its column `links` has one string in Pharaoh notation for each row.

    Args:
        text: columns `src` and `tgt`.
        made: the aligner of the text, from `text_aligner`.
        cache: folder of the cache.

    Raises:
        DataError: if the cache cannot be read or written.
    """

    def rows() -> Iterator[dict[str, str]]:
        links = made.aligner.links(word_pairs(text, made.aligner.level), torch.get_num_threads())
        for found in tqdm(links, total=len(text), desc="word links", unit="pair", leave=False, disable=no_bar()):
            yield {"links": format_pharaoh(found)}

    return cached_table(cache / f"links-{made.fingerprint}.arrow", {"links": "string"}, rows())


def _train(text: Table, level: WordLevel) -> BitextAligner:
    started = time.monotonic()
    rows = spread_rows(len(text), _MOST_PAIRS)
    with tqdm(total=len(SEGMENTATIONS), desc="aligning words", leave=False, disable=no_bar()) as bar:
        pairs = list(word_pairs(text.select(rows), level))
        aligner = BitextAligner.fit(pairs, level, torch.get_num_threads(), bar.update)
    log.info("the word aligner has learned from %d pairs in %.0f s", len(rows), time.monotonic() - started)
    return aligner


def spread_rows(count: int, most: int) -> range:
    """Return the indices of at most `most` of `count` rows, spread evenly."""
    return range(0, count, max(1, -(-count // most)))


def word_pairs(text: Table, level: WordLevel) -> Iterator[TokenizedPair]:
    """Yield the words, or white-space separated tokens, of each pair of a text table."""
    for src, tgt in text.rows("src", "tgt"):
        yield _split(src, level), _split(tgt, level)


def _split(text: str, level: WordLevel) -> list[str]:
    return [text[start:end] for start, end in spans_at(level, text)]
