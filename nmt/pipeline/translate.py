"""`nmt translate`: lines in, lines out, as many and in the same order."""

import json
import logging
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from nmt.alignment.diagnostics import diagnose
from nmt.alignment.files import check_suffix, matrix_fields, write_alignments
from nmt.alignment.heatmap import terminal_heatmap
from nmt.alignment.matrix import AlignmentMatrix, Level
from nmt.alignment.report import ReportOption, write_report
from nmt.decoding.confidence import Calibration
from nmt.decoding.translator import Translation
from nmt.errors import AlignmentError, DataError
from nmt.pipeline.load import LoadedModel

log = logging.getLogger("nmt")
CHUNK = 2048  # lines held at once; sorted by length among themselves


@dataclass(frozen=True)
class Shown:
    """What is given out beside the text.

    Attributes:
        as_json: one JSON object per line, with scores, instead of the text.
        alignments: a file for the matrices, or None.
        heatmap: whether matrices are drawn to stderr.
        level: `words`, `tokens` or `pieces`.
        keep_eos: whether matrices keep the row that predicted the end.
        n_best: translations per line; more than one are lines of number, score and text between tabs.
    """

    as_json: bool = False
    alignments: Path | None = None
    heatmap: bool = False
    level: Level = "words"
    keep_eos: bool = False
    n_best: int = 1


def run_translate(
    model: LoadedModel,
    lines: Iterable[str],
    out: IO[str],
    shown: Shown,
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
    number, calibration = 0, model.calibration
    # On a terminal the translations themselves show the progress, and a bar would run into them.
    bar = tqdm(unit="line", desc="translating", disable=True if out.isatty() else None, leave=False)
    for chunk in _chunks(lines, 1 if at_once else CHUNK):
        begun = [prefix] * len(chunk)
        for translation in model.translator.translate(
            chunk, first_line=number + 1, n_best=shown.n_best, prefixes=begun
        ):
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
    if shown.alignments is None:
        return
    if shown.alignments.suffix == ".html":
        write_report(shown.alignments, kept)
    else:
        write_alignments(shown.alignments, [options[0].matrix for options in kept])


def _report_option(translation: Translation, shown: Shown, calibration: Calibration) -> ReportOption:
    matrix = matrix_of(translation, shown)
    eos = [1.0] if shown.keep_eos else []
    return ReportOption(matrix, [*translation.confidence(shown.level, calibration), *eos], translation.score)


def matrix_of(translation: Translation, shown: Shown) -> AlignmentMatrix:
    """The translation's matrix at the level asked for.

    Raises:
        AlignmentError: for a model without attention.
    """
    matrix = translation.alignment(shown.level, shown.keep_eos)
    if matrix is None:
        raise AlignmentError(
            "this model has no attention (model.attention.score is none), so there is no alignment to show"
        )
    return matrix


def json_fields(translation: Translation, number: int, shown: Shown, calibration: Calibration) -> dict[str, Any]:
    """A translation as the fields of a JSON object.

    Log-probabilities are in nats; `confidence` (0 to 1, for each of `words`) and `alignment` are of the level shown.
    """
    fields: dict[str, Any] = {
        "line": number,
        "src": translation.src.text,
        "src_pieces": translation.src.pieces,
        **_json_fields(translation, shown, calibration),
    }
    matrix = translation.alignment()
    if matrix is not None:
        fields["diagnostics"] = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(diagnose(matrix)).items()
        }
    if translation.others:
        fields["others"] = [_json_fields(other, shown, calibration) for other in translation.others]
    return fields


def _json_fields(translation: Translation, shown: Shown, calibration: Calibration) -> dict[str, Any]:
    matrix = translation.alignment(shown.level, shown.keep_eos)
    return {
        "tgt": translation.tgt.text,
        "log_prob": _number(translation.log_prob),
        "score": _number(translation.score),
        "proven": translation.proven,
        "tgt_pieces": translation.tgt.pieces,
        "token_log_probs": [_number(value) for value in translation.token_log_probs],
        "words": translation.words(shown.level),
        "confidence": [_number(value) for value in translation.confidence(shown.level, calibration)],
        "alignment": None if matrix is None else matrix_fields(matrix),
    }


def _number(value: float) -> float | None:
    """Rounded for JSON, which has no infinity: null for the impossible."""
    return round(value, 6) if math.isfinite(value) else None


def _shown(translation: Translation, number: int, shown: Shown, calibration: Calibration) -> str:
    """What is written for one line of input."""
    if shown.as_json:
        return json.dumps(json_fields(translation, number, shown, calibration), ensure_ascii=False)
    if shown.n_best == 1:
        return one_line(translation.tgt.text)
    every = [translation, *translation.others]
    return "\n".join(f"{number}\t{one.score:.4f}\t{one_line(one.tgt.text)}" for one in every)


def one_line(text: str) -> str:
    """The text without line ends, so that it stays one line."""
    return text.replace("\n", " ")


def argument_lines(texts: Iterable[str]) -> Iterator[str]:
    """Texts from the command line; bytes that are no UTF-8 become replacement characters."""
    for text in texts:
        yield one_line(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def input_lines(path: Path | None) -> Iterator[str]:
    r"""The lines of a file or of standard input, split at ``\n`` only.

    Every line counts, whatever it holds: bytes that are not UTF-8 become replacement characters, with a warning.

    Raises:
        DataError: if the file cannot be read.
    """
    try:
        with sys.stdin.buffer if path is None else path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                line = raw.removesuffix(b"\n").removesuffix(b"\r")
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    log.warning(
                        "line %d is not UTF-8; what cannot be read is replaced by \N{REPLACEMENT CHARACTER}", number
                    )
                    yield line.decode("utf-8", "replace")
    except OSError as error:
        raise DataError(f"{path or 'standard input'}: cannot be read: {error.strerror}") from None


def _chunks(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(lines)
    while chunk := list(islice(iterator, size)):
        yield chunk
