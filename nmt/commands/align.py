"""`nmt align`: links and matrices of given pairs, from a trained model or from an aligner trained on these pairs."""

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import torch
from tqdm import tqdm

from nmt.alignment.aer import AlignmentScore, score_links
from nmt.alignment.files import AlignmentWriter, alignment_writer, check_suffix
from nmt.alignment.lexicon import Lexicon
from nmt.alignment.links import GoldFile, GoldLinks, Link, format_pharaoh, missing_words, parse_pharaoh, read_gold
from nmt.alignment.matrix import AlignmentMatrix
from nmt.alignment.report import ReportHead, ReportOption, write_report
from nmt.alignment.symmetrise import LinkExtraction, Symmetrisation, symmetrise
from nmt.alignment.words import spans_at
from nmt.config import Source
from nmt.data.bitext_links import text_aligner
from nmt.data.lines import in_chunks, read_lines
from nmt.data.sources import load_text, read_pairs
from nmt.decoding.output import OutputOptions, matrix_of
from nmt.decoding.word_aligner import WordAligner
from nmt.errors import AlignmentError
from nmt.processes import Processes
from nmt.quiet import no_bar
from nmt.runs.load import LoadedModel
from nmt.training.word_aligner import cached_word_aligner

log = logging.getLogger(__name__)
_CHUNK = 2048  # pairs that are held in memory at once
Texts = tuple[str, str]


@dataclass(frozen=True)
class AlignRun:
    """The results of `run_align`.

    Attributes:
        score: agreement with gold links; None without them.
        signature: what the links were made from and how; it is printed with every figure about the links.
        pairs: the number of pairs.
        links: the number of links.
        certainty: the mean probability of a word aligner's links, or the mean weight of an attention's links, 0 to 1.
        agreement: the share of all links of the two directions that both have; None if there is one direction.
    """

    score: AlignmentScore | None
    signature: str
    pairs: int
    links: int
    certainty: float
    agreement: float | None = None


class ModelAligner:
    """Aligns with a trained model, and optionally with a second model of the other direction as well."""

    def __init__(
        self,
        model: LoadedModel,
        extraction: LinkExtraction,
        backward: LoadedModel | None = None,
        symmetrisation: Symmetrisation = "grow-diag-final-and",
    ):
        """Take loaded models.

        Args:
            model: a loaded model with attention or a word aligner.
            extraction: how links are extracted from matrices.
            backward: a model that translates in the other direction.
            symmetrisation: how the links of both models are combined.
        """
        self.model, self.extraction, self.backward, self.symmetrisation = model, extraction, backward, symmetrisation
        self.agreed = self.either = 0
        self.count: int | None = None  # the number of pairs, if it is known

    def align(
        self, pairs: Sequence[Texts], shown: OutputOptions, first_line: int
    ) -> list[tuple[AlignmentMatrix, list[Link]]]:
        """Return the matrix and the links of each pair; `first_line` is the first pair's number in messages."""
        matrices = _forced(self.model, pairs, shown, first_line)
        links = [self.extraction.links(matrix) for matrix in matrices]
        if self.backward is not None:
            turned = _forced(self.backward, [(tgt, src) for src, tgt in pairs], shown, first_line)
            back = [[(src, tgt) for tgt, src in self.extraction.links(matrix)] for matrix in turned]
            for one, other in zip(links, back, strict=True):
                self.agreed += len(set(one) & set(other))
                self.either += len(set(one) | set(other))
            links = [symmetrise(one, two, self.symmetrisation) for one, two in zip(links, back, strict=True)]
        return list(zip(matrices, links, strict=True))

    def signature(self, matrix: AlignmentMatrix) -> str:
        """Return how the links were made, as text."""
        joined = "" if self.backward is None else f"|backward:{self.backward.name}|sym:{self.symmetrisation}"
        return f"{_extraction(self.extraction, matrix)}|model:{self.model.name}|{self.model.checkpoint.name}{joined}"


class SelfAligner:
    """Aligns with a word aligner that was trained on the same pairs."""

    def __init__(self, aligner: WordAligner, extraction: LinkExtraction, count: int):
        """Take a trained aligner, how links are extracted from its matrices, and the number of pairs."""
        self.aligner, self.extraction, self.count = aligner, extraction, count

    def align(
        self, pairs: Sequence[Texts], shown: OutputOptions, first_line: int
    ) -> list[tuple[AlignmentMatrix, list[Link]]]:
        """Return the matrix and the links of each pair."""
        if shown.level == "pieces":
            raise AlignmentError("without a model there are no pieces; use --level words or tokens")
        results = []
        for pair, found in zip(pairs, self.aligner.word_links(pairs), strict=True):
            spans = [spans_at(shown.level, text) for text in pair]
            src, tgt = ([text[a:b] for a, b in own] for text, own in zip(pair, spans, strict=True))
            matrix = found.matrix((src, spans[0]), (tgt, spans[1]), shown.level, shown.keep_eos)
            results.append((matrix, self.extraction.links(matrix)))
        return results

    def signature(self, matrix: AlignmentMatrix) -> str:
        """Return how the links were made, as text."""
        return _extraction(self.extraction, matrix)


def self_aligner(
    source: Source, split: str, level: Literal["words", "tokens"], cache: Path, extraction: LinkExtraction
) -> SelfAligner:
    """Return an aligner trained on the pairs of a source, from the cache if it has been trained before.

    Args:
        source: where the pairs are.
        split: the split of a built-in corpus or dataset.
        level: whether words or tokens are aligned.
        cache: the folder of the cache.
        extraction: how links are extracted from matrices.

    Raises:
        DataError: if the pairs cannot be read.
    """
    text, text_id = load_text(source, split, cache)
    made, device = text_aligner(text, text_id, level, cache), torch.device("cpu")
    aligner = WordAligner.load(cached_word_aligner(made, text, cache, device), device)
    return SelfAligner(aligner, extraction, len(text))


def run_align(
    aligner: ModelAligner | SelfAligner,
    source: Source,
    split: str,
    out: IO[str],
    shown: OutputOptions,
    gold: GoldFile | None,
    processes: Processes | None = None,
    lexicon: Path | None = None,
) -> AlignRun:
    """Align the pairs of a source, and write one line of links for each pair, in order and as soon as it is aligned.

    Args:
        aligner: the aligner to use.
        source: where the pairs are.
        split: the split of a built-in corpus or dataset.
        out: the file that the links are written to.
        shown: the level, and where matrices are written.
        gold: gold links on words; None for those that come with the corpus, if any.
        processes: the processes that align together, each a block of the pairs; only the first one writes, and only
            its return value is meaningful. None if this process works alone.
        lexicon: the file for a table of the linked words and their counts; None for no such table.

    Raises:
        AlignmentError: if the level is `pieces` and there are gold links or a backward model, or if the gold links do
            not fit the pairs.
    """
    check_options(shown, gold, lexicon)
    if isinstance(aligner, ModelAligner) and aligner.backward is not None and shown.level == "pieces":
        raise AlignmentError("two models may split a text into different pieces; use --level words or tokens")
    processes = processes or Processes()
    counts = Lexicon()
    found = _Found(shown, gold, any(part.links is not None or part.builtin is not None for part in source.each))
    disable = True if out.isatty() or not processes.is_first else no_bar()
    bar = tqdm(total=aligner.count, unit="pair", desc="aligning", disable=disable, leave=False)
    with _matrix_file(shown, processes) as writer, bar:
        for chunk in in_chunks(read_pairs(source, split), _CHUNK * processes.size):
            texts = [(src, tgt) for src, tgt, _ in chunk]
            start, block = processes.block(texts)
            results = processes.gather_blocks(aligner.align(block, shown, found.pairs + start + 1))
            found.pairs += len(chunk)
            if not processes.is_first:
                continue
            out.writelines(format_pharaoh(links) + "\n" for _, links in results)
            out.flush()
            bar.update(len(chunk))
            found.add(results, texts, [links for _, _, links in chunk])
            for matrix, links in results:
                if writer is not None:
                    writer.add(matrix, links)
                if lexicon is not None:
                    counts.add(matrix, links)
    agreement = None
    if isinstance(aligner, ModelAligner) and aligner.backward is not None:
        agreed, either = map(sum, zip(*processes.gather_blocks([(aligner.agreed, aligner.either)]), strict=True))
        agreement = agreed / either if either else None
    if lexicon is not None and processes.is_first:
        counts.write(lexicon)
    signature = "" if found.first is None else aligner.signature(found.first)
    if shown.as_page and shown.alignments is not None and processes.is_first:
        head = aligner.model.report_head() if isinstance(aligner, ModelAligner) else ReportHead()
        write_report(shown.alignments, found.page, ReportHead({**head.facts, "links": signature}, head.languages))
    score = found.score() if processes.is_first else None
    return AlignRun(score, signature, found.pairs, found.count, found.certainty / max(1, found.count), agreement)


def check_options(shown: OutputOptions, gold: GoldFile | None, lexicon: Path | None = None) -> None:
    """Refuse options that would fail at the end, before hours are spent on training an aligner or on aligning.

    Raises:
        AlignmentError: if the file of matrices has another suffix, a folder is missing, or gold links are between
            pieces.
        DataError: if the gold links cannot be read.
    """
    if shown.alignments is not None:
        check_suffix(shown.alignments, (".html",))
    if gold is not None and shown.level == "pieces":
        raise AlignmentError("gold links are between words; use --level words, or tokens for tokenised text")
    if gold is not None:
        next(iter(read_lines(gold.path)), None)
    if lexicon is not None and not lexicon.parent.is_dir():
        raise AlignmentError(f"{lexicon}: there is no folder {lexicon.parent} to write it in")


def _matrix_file(shown: OutputOptions, processes: Processes) -> AbstractContextManager[AlignmentWriter | None]:
    """Return a context with the writer of the file of matrices, or with None if this process writes no such file."""
    if shown.alignments is None or shown.as_page or not processes.is_first:
        return nullcontext()
    return alignment_writer(shown.alignments)


@dataclass
class _Found:
    """The results of all pairs that the score, the page and the summary need.

    Attributes:
        shown: the level, and whether there is a page.
        gold: the file of gold links.
        may_have_links: whether pairs may come with links, with which theirs are compared.
        pairs: the number of pairs so far.
        count: the number of their links.
        certainty: the sum of the probabilities or weights of these links.
        first: the matrix of the first pair.
        page: the pairs of the page; empty if there is no page.
        scored: the pairs to compare with gold links, each with the links that were found and the links it came with.
    """

    shown: OutputOptions
    gold: GoldFile | None
    may_have_links: bool
    pairs: int = 0
    count: int = 0
    certainty: float = 0.0
    first: AlignmentMatrix | None = None
    page: list[list[ReportOption]] = field(default_factory=list)
    scored: list[tuple[Texts, list[Link], str]] = field(default_factory=list)

    def add(
        self, results: Sequence[tuple[AlignmentMatrix, list[Link]]], texts: Sequence[Texts], references: Sequence[str]
    ) -> None:
        """Add some pairs: their matrices and links, their texts, and the gold links they come with ("" for none)."""
        self.first = self.first or results[0][0]
        for matrix, links in results:
            weights = matrix.link_weights
            self.certainty += float(sum(weights[tgt, src] for src, tgt in links))
            self.count += len(links)
        if self.shown.as_page:
            self.page += [_on_page(matrix, links, pair) for (matrix, links), pair in zip(results, texts, strict=True)]
        if self.gold is not None or self.may_have_links:
            found = [links for _, links in results]
            self.scored += zip(texts, found, references, strict=True)

    def score(self) -> AlignmentScore | None:
        """Return the agreement with the gold links of the file, or with those that come with the corpus, if any.

        Pairs of the corpus without links are left out. In a file of gold links, an empty line means that no words are
        linked.
        """
        level, found = self.shown.level, [links for _, links, _ in self.scored]
        if self.gold is not None and level != "pieces":
            from_file = read_gold(self.gold, read_lines(self.gold.path), len(self.scored))
            _check_range(self.gold.path, from_file, [texts for texts, _, _ in self.scored], level)
            return score_links(found, from_file)
        annotated = [(links, parse_pharaoh(reference)) for _, links, reference in self.scored if reference]
        if level == "words" and annotated:
            return score_links(*zip(*annotated, strict=True))
        return None


def _on_page(matrix: AlignmentMatrix, links: list[Link], texts: Texts) -> list[ReportOption]:
    """Return a given pair as the page shows it; the certainty of a word's links serves as its confidence."""
    confidence = [float(row.max(initial=0.0)) for row in matrix.link_weights]
    return [ReportOption(matrix, confidence, float(sum(confidence)) / max(1, len(confidence)), texts, links)]


def _forced(model: LoadedModel, pairs: Sequence[Texts], shown: OutputOptions, first_line: int) -> list[AlignmentMatrix]:
    """Return the matrices of given pairs, one per pair and in order, by forced decoding."""
    translator = model.translator
    return [matrix_of(translation, shown) for translation in translator.with_links(translator.force(pairs, first_line))]


def _extraction(extraction: LinkExtraction, matrix: AlignmentMatrix) -> str:
    by_itself = "argmax" if matrix.null is None else "likely"
    method = by_itself if extraction.method == "auto" else extraction.method
    details = f":{extraction.threshold}" if method == "threshold" else ""
    null = f"|null:{extraction.null_below}" if extraction.null_below else ""
    return f"level:{matrix.level}|from:{matrix.read_from}|links:{method}{details}{null}"


def _check_range(
    path: Path, references: Sequence[GoldLinks], pairs: Sequence[Texts], level: Literal["words", "tokens"]
) -> None:
    """Refuse gold links to words that the sentence does not have, due to other word boundaries or another base."""
    for number, (reference, pair) in enumerate(zip(references, pairs, strict=True), start=1):
        if wrong := missing_words(reference, pair, level):
            raise AlignmentError(
                f"{path}, sentence {number}: {wrong}; for gold on tokenised text use --level tokens, and see "
                f"--gold-base"
            )
