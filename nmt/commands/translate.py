"""`nmt translate`: lines in, lines out, as many and in the same order."""

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from tqdm import tqdm

from nmt.alignment.files import alignment_writer, check_suffix
from nmt.alignment.heatmap import terminal_heatmap
from nmt.alignment.report import ReportOption, write_report
from nmt.data.lines import in_chunks
from nmt.decoding.careful import CutLines, UnknownPieces
from nmt.decoding.glossary import Glossary
from nmt.decoding.output import OutputOptions, matrix_of, report_option, text_of
from nmt.decoding.phrases import AskedPhrase, satisfaction
from nmt.decoding.request import JsonLine, Request
from nmt.quiet import no_bar
from nmt.runs.load import LoadedModel

log = logging.getLogger(__name__)


CHUNK = 2048  # lines held at once; sorted by length among themselves


def run_translate(
    model: LoadedModel,
    lines: Iterable[Request | None],
    out: IO[str],
    shown: OutputOptions,
    total: int | None = None,
) -> None:
    """Translate `lines` to `out`.

    Args:
        model: a loaded model.
        lines: source texts and what is asked for; None among them asks for the translations of those before it.
        out: where translations go.
        shown: what else is given.
        total: the number of lines if it is known, for the bar.

    Raises:
        AlignmentError: if matrices are asked of a model without attention, or of an unknown file type.
    """
    if shown.alignments is not None:
        check_suffix(shown.alignments, (".html",))
    as_page = shown.alignments is not None and shown.alignments.suffix == ".html"
    page: list[list[ReportOption]] = []
    number, calibration, cut, unknown = 0, model.calibration, CutLines(), UnknownPieces()
    phrases: list[AskedPhrase] = []
    # On a terminal the translations themselves show the progress, and a bar would run into them.
    bar = tqdm(total=total, unit="line", desc="translating", disable=True if out.isatty() else no_bar(), leave=False)
    writing = alignment_writer(shown.alignments) if shown.alignments is not None and not as_page else nullcontext()
    with writing as writer, bar:
        for chunk in in_chunks(lines, CHUNK):
            translations = model.translator.translate(
                chunk,
                first_line=number + 1,
                n_best=shown.n_best,
                cut=cut,
                done=bar.update,
            )
            unknown.look_at([one.src for one in translations], number + 1)
            if shown.as_json or shown.heatmap or shown.alignments is not None:
                translations = model.translator.with_links(translations)
            for request, translation in zip(chunk, translations, strict=True):
                number += 1
                phrases += translation.phrases
                out.write(text_of(translation, number, shown, calibration, request.id) + "\n")
                if shown.heatmap:
                    out.flush()
                    print(terminal_heatmap(matrix_of(translation, shown)), file=sys.stderr)
                if writer is not None:
                    matrix = matrix_of(translation, shown)
                    writer.add(matrix, matrix.links())
                if as_page:
                    options = (translation, *translation.others)
                    page.append([report_option(one, shown, calibration) for one in options])
            out.flush()
            bar.update(number - bar.n)  # empty lines are in no batch
            if number >= 10 * CHUNK and bar.disable and not out.isatty():
                log.info("%d lines translated", number)
    cut.sum_up()
    if phrases:
        log.info("%s", satisfaction(phrases))
    if shown.alignments is not None and as_page:
        write_report(shown.alignments, page)


@dataclass(frozen=True)
class Wishes:
    """What is asked of every line.

    Attributes:
        prefix: what its translation must begin with.
        require: phrases that it must have.
        forbid: phrases that it must not have.
        glossary: a file of terms that ask for more phrases where they occur, or None.
    """

    prefix: str = ""
    require: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    glossary: Path | None = None


def requests(lines: Iterable[str | None], wishes: Wishes, as_json: bool) -> Iterator[Request | None]:
    """Yield a request for each line; None stays None.

    Args:
        lines: source texts, or JSON objects.
        wishes: what is asked of all of them, beside what a JSON object asks for itself.
        as_json: whether lines are JSON objects (see `JsonLine`).

    Raises:
        DataError: for a glossary that cannot be read, or a line that is no such object.
    """
    glossary = None if wishes.glossary is None else Glossary.read(wishes.glossary)
    number = 0
    for line in lines:
        if line is None:
            yield None
            continue
        number += 1
        own = JsonLine.read(line, number) if as_json else Request(line)
        request = replace(
            own,
            prefix=own.prefix or wishes.prefix,
            require=(*wishes.require, *own.require),
            forbid=(*wishes.forbid, *own.forbid),
        )
        yield request if glossary is None else glossary.applied_to(request)


def warn_of_arguments(texts: Sequence[str]) -> None:
    """Warn if a text is the name of a file, or if several look like the words of a sentence without quotation marks."""
    for text in texts:
        with suppress(OSError, ValueError):  # too long for a name, or with characters that none can have
            if Path(text).is_file():
                log.warning("'%s' is translated as a text, and is the name of a file; did you mean --input?", text)
    if len(texts) > 1 and not any(" " in text for text in texts):
        log.warning("each of the %d words is translated by itself; put a sentence in quotation marks", len(texts))
