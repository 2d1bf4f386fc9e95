"""`nmt align`: matrices and links of given sentence pairs, and their agreement with gold links."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from nmt.alignment.aer import AlignmentScore, score_links
from nmt.alignment.files import check_suffix, write_alignments
from nmt.alignment.links import GoldFile, GoldLinks, Link, parse_pharaoh, read_gold
from nmt.alignment.matrix import AlignmentMatrix
from nmt.alignment.symmetrise import LinkExtraction, Symmetrisation, symmetrise
from nmt.alignment.words import spans_at
from nmt.config import Source
from nmt.data.lines import read_lines
from nmt.data.sources import read_pairs
from nmt.decoding.output import OutputOptions, matrix_of
from nmt.errors import AlignmentError
from nmt.runs.load import LoadedModel


def run_align(
    model: LoadedModel,
    source: Source,
    split: str,
    shown: OutputOptions,
    gold: GoldFile | None,
    extraction: LinkExtraction,
    backward: LoadedModel | None = None,
    symmetrisation: Symmetrisation = "grow-diag-final-and",
) -> tuple[list[list[Link]], AlignmentScore | None]:
    """Align the pairs of a source.

    Args:
        model: a loaded model with attention.
        source: the pairs.
        split: the split of a built-in corpus or dataset.
        shown: the level, and where matrices are written.
        gold: gold links on words; None for those that come with the corpus, if any.
        extraction: how links are made of matrices.
        backward: a model that translates the other way; its links are joined with the first one's.
        symmetrisation: how they are joined.

    Returns:
        Links of each pair, and their agreement with gold; None without gold.

    Raises:
        AlignmentError: if gold links are asked for on pieces, or do not fit.
    """
    if shown.alignments is not None:
        check_suffix(shown.alignments)
    if backward is not None and shown.level == "pieces":
        raise AlignmentError("two models have different pieces; symmetrise on --level words or tokens")
    rows = list(read_pairs(source, split))
    pairs = [(src, tgt) for src, tgt, _ in rows]
    references: list[GoldLinks] = []
    if gold is not None:
        if shown.level == "pieces":
            raise AlignmentError("gold links are on words; use --level words, or tokens for text that is tokenised")
        references = read_gold(gold, read_lines(gold.path), len(rows))
        _check_range(gold.path, references, pairs, shown.level)
    elif shown.level == "words" and any(row[2] for row in rows):
        references = [parse_pharaoh(row[2]) for row in rows]
    matrices = _align_pairs(model, pairs, shown)
    links = [extraction.links(matrix) for matrix in matrices]
    if backward is not None:
        turned = _align_pairs(backward, [(tgt, src) for src, tgt in pairs], shown)
        back = [[(src, tgt) for tgt, src in extraction.links(matrix)] for matrix in turned]
        links = [symmetrise(one, two, symmetrisation) for one, two in zip(links, back, strict=True)]
    if shown.alignments is not None:
        write_alignments(shown.alignments, matrices, links)
    return links, score_links(links, references) if references else None


def _align_pairs(model: LoadedModel, pairs: Sequence[tuple[str, str]], shown: OutputOptions) -> list[AlignmentMatrix]:
    """Return the matrices of given pairs, by forced decoding; in order, one per pair."""
    return [matrix_of(translation, shown) for translation in model.translator.force(pairs, progress=True)]


def _check_range(
    path: Path, references: Sequence[GoldLinks], pairs: Sequence[tuple[str, str]], level: Literal["words", "tokens"]
) -> None:
    """Refuse gold that names words its sentence does not have: made on other words, or counted from another base."""
    for number, (reference, (src, tgt)) in enumerate(zip(references, pairs, strict=True), start=1):
        sizes = len(spans_at(level, src)), len(spans_at(level, tgt))
        for link in reference.possible:
            if link[0] >= sizes[0] or link[1] >= sizes[1]:
                raise AlignmentError(
                    f"{path}: sentence {number} has {sizes[0]} source and {sizes[1]} target {level}, but a link "
                    f"{link[0]}-{link[1]} from 0; for gold on tokenised text use --level tokens, and see --gold-base"
                )
