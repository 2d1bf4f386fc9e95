"""`nmt translate`: lines in, lines out, as many and in the same order."""

import logging
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import IO

from tqdm import tqdm

from nmt.alignment.files import alignment_writer, check_suffix
from nmt.alignment.heatmap import terminal_heatmap
from nmt.alignment.report import ReportOption, write_report
from nmt.data.lines import in_chunks
from nmt.decoding.careful import CutLines, UnknownPieces
from nmt.decoding.output import OutputOptions, _report_option, _shown, matrix_of
from nmt.runs.load import LoadedModel

log = logging.getLogger(__name__)


CHUNK = 2048  # lines held at once; sorted by length among themselves


def run_translate(
    model: LoadedModel,
    lines: Iterable[str | None],
    out: IO[str],
    shown: OutputOptions,
    total: int | None = None,
    prefix: str = "",
) -> None:
    """Translate `lines` to `out`.

    Args:
        model: a loaded model.
        lines: source texts without line ends; None among them asks for the translations of those before it.
        out: where translations go.
        shown: what else is given.
        total: the number of lines if it is known, for the bar.
        prefix: what every translation must begin with.

    Raises:
        AlignmentError: if matrices are asked of a model without attention, or of an unknown file type.
    """
    if shown.alignments is not None:
        check_suffix(shown.alignments, (".html",))
    as_page = shown.alignments is not None and shown.alignments.suffix == ".html"
    page: list[list[ReportOption]] = []
    number, calibration, cut, unknown = 0, model.calibration, CutLines(), UnknownPieces()
    # On a terminal the translations themselves show the progress, and a bar would run into them.
    bar = tqdm(total=total, unit="line", desc="translating", disable=True if out.isatty() else None, leave=False)
    writing = alignment_writer(shown.alignments) if shown.alignments is not None and not as_page else nullcontext()
    with writing as writer, bar:
        for chunk in in_chunks(lines, CHUNK):
            translations = model.translator.translate(
                chunk,
                first_line=number + 1,
                n_best=shown.n_best,
                prefixes=[prefix] * len(chunk),
                cut=cut,
                done=bar.update,
            )
            unknown.look_at([one.src for one in translations], number + 1)
            if shown.as_json or shown.heatmap or shown.alignments is not None:
                translations = model.translator.with_links(translations)
            for translation in translations:
                number += 1
                out.write(_shown(translation, number, shown, calibration) + "\n")
                if shown.heatmap:
                    out.flush()
                    print(terminal_heatmap(matrix_of(translation, shown)), file=sys.stderr)
                if writer is not None:
                    matrix = matrix_of(translation, shown)
                    writer.add(matrix, matrix.links())
                if as_page:
                    options = (translation, *translation.others)
                    page.append([_report_option(one, shown, calibration) for one in options])
            out.flush()
            bar.update(number - bar.n)  # empty lines are in no batch
            if number >= 10 * CHUNK and bar.disable and not out.isatty():
                log.info("%d lines translated", number)
    cut.sum_up()
    if shown.alignments is not None and as_page:
        write_report(shown.alignments, page)


def warn_of_arguments(texts: Sequence[str]) -> None:
    """Warn of texts on the command line that look like something else: a file's name, or the words of one sentence."""
    for text in texts:
        with suppress(OSError, ValueError):  # too long for a name, or with characters that none can have
            if Path(text).is_file():
                log.warning("'%s' is translated as a text, and is the name of a file; did you mean --input?", text)
    if len(texts) > 1 and not any(" " in text for text in texts):
        log.warning("each of the %d words is translated by itself; put a sentence in quotation marks", len(texts))
