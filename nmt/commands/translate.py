"""`nmt translate`: lines in, lines out, as many and in the same order."""

import logging
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import IO

from tqdm import tqdm

from nmt.alignment.files import check_suffix, write_alignments
from nmt.alignment.heatmap import terminal_heatmap
from nmt.alignment.report import ReportOption, write_report
from nmt.decoding.careful import CutLines
from nmt.decoding.output import OutputOptions, _report_option, _shown
from nmt.runs.load import LoadedModel

log = logging.getLogger("nmt")


CHUNK = 2048  # lines held at once; sorted by length among themselves


def run_translate(
    model: LoadedModel,
    lines: Iterable[str],
    out: IO[str],
    shown: OutputOptions,
    at_once: bool = False,
    prefix: str = "",
) -> None:
    """Translate `lines` to `out`.

    Args:
        model: a loaded model.
        lines: source texts without line ends.
        out: where translations go.
        shown: what else is given.
        at_once: translate each line as it comes, for a person who types.
        prefix: what every translation must begin with.

    Raises:
        AlignmentError: if matrices are asked of a model without attention, or of an unknown file type.
    """
    if shown.alignments is not None:
        check_suffix(shown.alignments, (".html",))
    kept: list[list[ReportOption]] = []
    number, calibration, cut = 0, model.calibration, CutLines()
    # On a terminal the translations themselves show the progress, and a bar would run into them.
    bar = tqdm(unit="line", desc="translating", disable=True if out.isatty() else None, leave=False)
    for chunk in _chunks(lines, 1 if at_once else CHUNK):
        translations = model.translator.translate(
            chunk, first_line=number + 1, n_best=shown.n_best, prefixes=[prefix] * len(chunk), cut=cut
        )
        if shown.as_json or shown.heatmap or shown.alignments is not None:
            translations = model.translator.with_links(translations)
        for translation in translations:
            number += 1
            out.write(_shown(translation, number, shown, calibration) + "\n")
            if shown.heatmap or shown.alignments is not None:
                options = [_report_option(one, shown, calibration) for one in (translation, *translation.others)]
                if shown.heatmap:
                    out.flush()
                    print(terminal_heatmap(options[0].matrix), file=sys.stderr)
                if shown.alignments is not None:
                    kept.append(options)
        out.flush()
        bar.update(len(chunk))
        if number >= 10 * CHUNK and bar.disable and not out.isatty():
            log.info("%d lines translated", number)
    bar.close()
    cut.sum_up()
    if shown.alignments is None:
        return
    if shown.alignments.suffix == ".html":
        write_report(shown.alignments, kept)
    else:
        write_alignments(shown.alignments, [options[0].matrix for options in kept])


def _chunks(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(lines)
    while chunk := list(islice(iterator, size)):
        yield chunk
