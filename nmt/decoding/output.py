"""A translation as text, TSV or JSON."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nmt.alignment.diagnostics import diagnose
from nmt.alignment.files import matrix_fields
from nmt.alignment.matrix import AlignmentMatrix, Level
from nmt.alignment.report import ReportOption
from nmt.alignment.words import word_spans
from nmt.data.lines import one_line
from nmt.decoding.phrases import PhraseConstraint
from nmt.decoding.translation import Translation
from nmt.errors import AlignmentError
from nmt.evaluation.calibration import Calibration


@dataclass(frozen=True)
class OutputOptions:
    """The form of the output, and what is written in addition to the text.

    Attributes:
        as_json: whether to write one JSON object per line, with scores, instead of the text.
        alignments: a file for the matrices, or None.
        heatmap: whether to draw the matrices on stderr.
        level: `words`, `tokens` or `pieces`.
        keep_eos: whether matrices keep the row that predicted the end.
        n_best: the number of translations per line. If it is more than 1, each translation is written as a line with
            number, score and text, separated by tabs. Score and text are empty if fewer translations were found.
    """

    as_json: bool = False
    alignments: Path | None = None
    heatmap: bool = False
    level: Level = "words"
    keep_eos: bool = False
    n_best: int = 1

    @property
    def as_page(self) -> bool:
        """Whether the matrices are written as an HTML page."""
        return self.alignments is not None and self.alignments.suffix.lower() == ".html"


def report_option(translation: Translation, shown: OutputOptions, calibration: Calibration) -> ReportOption:
    """Return a translation in the form that the HTML page needs."""
    matrix = matrix_of(translation, shown)
    eos = [1.0] if shown.keep_eos else []
    confidence = [*translation.confidence(shown.level, calibration), *eos]
    return ReportOption(matrix, confidence, translation.score, (translation.src.text, translation.tgt.text))


def matrix_of(translation: Translation, shown: OutputOptions) -> AlignmentMatrix:
    """Return the alignment matrix of a translation at the level of the options.

    Raises:
        AlignmentError: if the model has neither attention nor a word aligner.
    """
    matrix = translation.alignment(shown.level, shown.keep_eos)
    if matrix is None:
        raise AlignmentError(
            "this model has no attention (model.attention.score is none), so there is no alignment to show"
        )
    return matrix


def json_fields(
    translation: Translation, number: int, shown: OutputOptions, calibration: Calibration
) -> dict[str, Any]:
    """Return a translation as the fields of a JSON object.

    Log-probabilities are in nats. `words`, `confidence` (0 to 1, one for each of `words`) and `alignment` are at the
    level of the options.
    """
    fields: dict[str, Any] = {
        "line": number,
        "src": translation.src.text,
        "src_pieces": translation.src.pieces,
        **_json_fields(translation, shown, calibration),
    }
    matrix = translation.attention()
    if matrix is not None:
        fields["diagnostics"] = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(diagnose(matrix)).items()
        }
    if translation.phrases:
        by_word = translation.alignment()
        fields["phrases"] = [_phrase_fields(one, translation.tgt.text, by_word) for one in translation.phrases]
    if translation.others:
        fields["others"] = [_json_fields(other, shown, calibration) for other in translation.others]
    return fields


def _json_fields(translation: Translation, shown: OutputOptions, calibration: Calibration) -> dict[str, Any]:
    matrix = translation.alignment(shown.level, shown.keep_eos)
    return {
        "tgt": translation.tgt.text,
        "log_prob": _number(translation.log_prob),
        "score": _number(translation.score),
        "proven": translation.proven,
        "gap": _number(translation.gap),
        "tgt_pieces": translation.tgt.pieces,
        "token_log_probs": [_number(value) for value in translation.token_log_probs],
        "words": translation.words(shown.level),
        "confidence": [_number(value) for value in translation.confidence(shown.level, calibration)],
        "alignment": None if matrix is None else matrix_fields(matrix),
    }


def _phrase_fields(constraint: PhraseConstraint, text: str, matrix: AlignmentMatrix | None) -> dict[str, Any]:
    """Return the JSON fields of a phrase: whether it is satisfied, its place, and the source words aligned to it."""
    fields = {
        "phrase": constraint.phrase,
        "required": constraint.required,
        "satisfied": constraint.satisfied,
        "span": constraint.span,
    }
    if constraint.span is None or matrix is None or not matrix.src_tokens:
        return fields
    rows = [
        row
        for row, (start, end) in enumerate(word_spans(text))
        if start < constraint.span[1] and constraint.span[0] < end
    ]
    linked = [row for row in rows if matrix.null is None or matrix.null[row] < 1]
    columns = sorted({int(matrix.weights[row].argmax()) for row in linked})
    return fields | {"words": rows, "src_words": [matrix.src_tokens[column] for column in columns]}


def _number(value: float) -> float | None:
    """Return a number rounded for JSON, or None if it is not finite, since JSON has no infinity."""
    return round(value, 6) if math.isfinite(value) else None


def text_of(
    translation: Translation,
    number: int,
    shown: OutputOptions,
    calibration: Calibration,
    called: str | int | None = None,
) -> str:
    """Return the output for one line of input, without the line end.

    Args:
        translation: the translation of the line.
        number: the number of the line, from 1.
        shown: the form of the output.
        calibration: calibrates the confidences in JSON.
        called: the `id` of the line, which JSON output repeats; None for none.
    """
    if shown.as_json:
        name = {} if called is None else {"id": called}
        return json.dumps(name | json_fields(translation, number, shown, calibration), ensure_ascii=False)
    if shown.n_best == 1:
        return one_line(translation.tgt.text)
    every = [translation, *translation.others]
    rows = [f"{number}\t{one.score:.4f}\t{one_line(one.tgt.text)}" for one in every]
    return "\n".join(rows + [f"{number}\t\t"] * (shown.n_best - len(rows)))
