"""`nmt translate`: translate each line and write the results in the same order."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from nmt.alignment.files import alignment_writer, check_suffix
from nmt.alignment.heatmap import terminal_heatmap
from nmt.alignment.matrix import AlignmentMatrix
from nmt.alignment.report import ReportOption, write_report
from nmt.data.lines import in_chunks
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.glossary import Glossary
from nmt.decoding.output import OutputOptions, matrix_of, report_option, text_of
from nmt.decoding.phrases import PhraseConstraint, Satisfaction
from nmt.decoding.request import JsonLine, Request
from nmt.decoding.safeguards import CutLines, UnknownPieces
from nmt.processes import Processes
from nmt.quiet import no_bar
from nmt.runs.load import LoadedModel

log = logging.getLogger(__name__)


CHUNK = 2048  # lines held in memory and sorted by length together


@dataclass(frozen=True)
class _Answer:
    """The output for one line.

    Attributes:
        text: the translation as text, JSON or a table's rows.
        phrases: the requested phrases, and whether the translation satisfies them.
        matrix: the alignment, if it is drawn or written to a file.
        page: the translations as a page shows them, if a page is written.
    """

    text: str
    phrases: tuple[PhraseConstraint, ...]
    matrix: AlignmentMatrix | None
    page: list[ReportOption]


def run_translate(
    model: LoadedModel,
    lines: Iterable[Request | None],
    out: IO[str],
    shown: OutputOptions,
    total: int | None = None,
    processes: Processes | None = None,
) -> None:
    """Translate `lines` to `out`.

    Args:
        model: a loaded model.
        lines: requests to translate; after a None, the lines before it are translated without waiting for more.
        out: the file that the translations are written to.
        shown: what else is written, and in which form.
        total: the number of lines if it is known, for the bar.
        processes: the processes that translate together, each a block of the lines; only the first one writes. None if
            this process works alone.

    Raises:
        AlignmentError: if matrices are requested from a model without attention, or in an unknown file type.
    """
    if shown.alignments is not None:
        check_suffix(shown.alignments, (".html",))
    processes = processes or Processes()
    page: list[list[ReportOption]] = []
    number, cut, unknown = 0, CutLines(), UnknownPieces()
    phrases = Satisfaction()
    # On a terminal the translations themselves show the progress, and a bar would run into them.
    disable = True if out.isatty() or not processes.is_first else no_bar()
    bar = tqdm(total=total, unit="line", desc="translating", disable=disable, leave=False)
    to_file = shown.alignments is not None and not shown.as_page and processes.is_first
    with alignment_writer(shown.alignments) if to_file and shown.alignments else nullcontext() as writer, bar:
        for chunk in in_chunks(lines, CHUNK * processes.size):
            start, block = processes.block(chunk)
            answers = _answers(model, block, number + start, shown, cut, unknown, bar)
            answers = processes.gather_blocks(answers)
            number += len(chunk)
            for answer in answers if processes.is_first else ():
                phrases.add(answer.phrases)
                out.write(answer.text + "\n")
                if shown.heatmap and answer.matrix is not None:
                    out.flush()
                    print(terminal_heatmap(answer.matrix), file=sys.stderr)
                if writer is not None and answer.matrix is not None:
                    writer.add(answer.matrix, answer.matrix.links())
                page += [answer.page] if answer.page else []
            out.flush()
            bar.update(number - bar.n)  # empty lines are in no batch
            if number >= 10 * CHUNK and bar.disable and not out.isatty() and processes.is_first:
                log.info("%d lines translated", number)
    cut.sum_up()
    if phrases.asked:
        log.info("%s", phrases)
    if shown.as_page and shown.alignments is not None and processes.is_first:
        write_report(shown.alignments, page, model.report_head())


def _answers(
    model: LoadedModel,
    lines: list[Request],
    before: int,
    shown: OutputOptions,
    cut: CutLines,
    unknown: UnknownPieces,
    bar: "tqdm[Any]",
) -> list[_Answer]:
    """Return the output for some lines; `before` is the number of lines that came before them."""
    translations = model.translator.translate(
        lines, first_line=before + 1, n_best=shown.n_best, cut=cut, done=bar.update
    )
    unknown.look_at([one.src for one in translations], before + 1)
    if shown.as_json or shown.heatmap or shown.alignments is not None:
        translations = model.translator.with_links(translations)
    with_matrix = shown.heatmap or (shown.alignments is not None and not shown.as_page)
    calibration = model.calibration
    return [
        _Answer(
            text_of(one, number, shown, calibration, request.id),
            one.phrases,
            matrix_of(one, shown) if with_matrix else None,
            [report_option(each, shown, calibration) for each in (one, *one.others)] if shown.as_page else [],
        )
        for number, (request, one) in enumerate(zip(lines, translations, strict=True), start=before + 1)
    ]


@dataclass(frozen=True)
class Constraints:
    """The requests that apply to the translation of every line.

    Attributes:
        prefix: the text that it must begin with.
        require: the phrases that it must contain.
        forbid: the phrases that it must not contain.
        glossary: a file of terms that require or forbid further phrases where they occur; None for no glossary.
    """

    prefix: str = ""
    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    glossary: Path | None = None


def requests(
    lines: Iterable[str | None], constraints: Constraints, as_json: bool, tokenizer: Tokenizer
) -> Iterator[Request | None]:
    """Yield a request for each line; None stays None.

    Args:
        lines: source texts, or JSON objects.
        constraints: the requests that apply to all lines, in addition to those in a JSON object.
        as_json: whether lines are JSON objects (see `JsonLine`).
        tokenizer: the tokenizer of the model.

    Raises:
        DataError: for a glossary that cannot be read, or a line that is not such an object.
    """
    glossary = None if constraints.glossary is None else Glossary.read(constraints.glossary, tokenizer)
    number = 0
    for line in lines:
        if line is None:
            yield None
            continue
        number += 1
        own = JsonLine.read(line, number, constraints.prefix) if as_json else Request(line, constraints.prefix)
        request = replace(
            own,
            require=(*constraints.require, *own.require),
            forbid=(*constraints.forbid, *own.forbid),
        )
        yield request if glossary is None else glossary.applied_to(request)


def warn_of_arguments(texts: Sequence[str]) -> None:
    """Warn if a text is the name of a file, or if several look like the words of a sentence without quotation marks."""
    for text in texts:
        with suppress(OSError, ValueError):  # too long for a file name, or with characters that no name can have
            if Path(text).is_file():
                log.warning(
                    "'%s' is translated as text, but it is also the name of a file; did you mean --input?", text
                )
    if len(texts) > 1 and not any(" " in text for text in texts):
        log.warning("each of the %d words is translated separately; put a sentence in quotation marks", len(texts))
