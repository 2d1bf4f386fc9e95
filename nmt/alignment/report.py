"""The report: the page of `nmt serve` with translations included, in one file that needs no network."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from nmt.alignment.links import Link
from nmt.alignment.matrix import AlignmentMatrix
from nmt.alignment.words import spans_at
from nmt.atomic import atomic_write

PAGE = Path(__file__).parent / "page"


@dataclass(frozen=True)
class ReportOption:
    """One translation of a sentence.

    Attributes:
        matrix: the alignment matrix of the translation.
        confidence: the confidence in each target token, 0 to 1.
        score: the score by which search ranked the translation.
        texts: the texts of source and translation; if they are empty, the page shows spaces between all tokens.
        links: the word links; None for those of the matrix.
    """

    matrix: AlignmentMatrix
    confidence: list[float]
    score: float
    texts: tuple[str, str] = ("", "")
    links: list[Link] | None = None


@dataclass(frozen=True)
class ReportHead:
    """The facts at the head of the page.

    Attributes:
        facts: what a reader should know about the model, such as its scores, as names and values.
        languages: the codes of the source and the target language in HTML; "" if they are unknown.
    """

    facts: Mapping[str, str] = field(default_factory=dict)
    languages: tuple[str, str] = ("", "")


def write_report(
    path: Path,
    sentences: Iterable[Sequence[ReportOption]],
    head: ReportHead | None = None,
    references: Sequence[str] | None = None,
) -> None:
    """Write the report.

    Args:
        path: the file.
        sentences: the translations of each sentence, the best first.
        head: the facts at the head of the page.
        references: a reference translation for each sentence.
    """
    head, every = head or ReportHead(), [list(options) for options in sentences]
    first = next((options[0].matrix for options in every if options), None)
    data = {
        "head": {**head.facts, "made on": date.today().isoformat()},
        "languages": head.languages,
        "level": first.level if first else "words",
        "read_from": first.read_from if first else "attention",
        "sentences": [
            _sentence(options, None if references is None else references[at]) for at, options in enumerate(every)
        ],
    }
    # "</script>" in a sentence must not end the element that holds the data.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = (PAGE / "report.html").read_text(encoding="utf-8")
    for mark, name in (("@@STYLE@@", "page.css"), ("@@CARDS@@", "cards.js"), ("@@REPORT@@", "report.js")):
        page = page.replace(mark, (PAGE / name).read_text(encoding="utf-8"))
    with atomic_write(path) as tmp_path:
        tmp_path.write_text(page.replace("@@DATA@@", text), encoding="utf-8")


def _sentence(options: Sequence[ReportOption], reference: str | None) -> dict[str, Any]:
    best = options[0]
    fields: dict[str, Any] = {
        "src": best.matrix.src_tokens,
        "glued": _glued(best.matrix.src_tokens, best.texts[0], best.matrix),
        "options": [_option(option) for option in options],
    }
    if reference is not None:
        spans = spans_at("tokens" if best.matrix.level == "tokens" else "words", reference)
        words = [reference[start:end] for start, end in spans]
        fields |= {"reference": words, "reference_glued": _without_space(spans)}
    return fields


def _option(option: ReportOption) -> dict[str, Any]:
    """Return the fields of a translation, with weights and confidences in hundredths: enough for colours, and short."""
    matrix = option.matrix
    return {
        "tgt": matrix.tgt_tokens,
        "glued": _glued(matrix.tgt_tokens, option.texts[1], matrix),
        "score": round(option.score, 4),
        "confidence": [round(100 * value) for value in option.confidence],
        "weights": np.rint(100 * matrix.weights).astype(int).tolist(),
        "links": matrix.links() if option.links is None else option.links,
    }


def _glued(tokens: Sequence[str], text: str, matrix: AlignmentMatrix) -> list[int]:
    """Return the indices of the tokens before which the text has no space."""
    if not text or matrix.level == "pieces":
        return []
    spans = spans_at(matrix.level, text)
    same = [text[start:end] for start, end in spans] == list(tokens[: len(spans)])  # EOS may come after them
    return _without_space(spans) if same else []


def _without_space(spans: Sequence[tuple[int, int]]) -> list[int]:
    return [at for at in range(1, len(spans)) if spans[at - 1][1] == spans[at][0]]
