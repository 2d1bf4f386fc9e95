"""The report: one self-contained HTML page with translations, confidence, ties between words, and matrices."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from nmt.alignment.matrix import AlignmentMatrix
from nmt.atomic import atomic_write


@dataclass(frozen=True)
class ReportOption:
    """One translation of a sentence: its matrix, the confidence in each of its tokens (0 to 1), and its score."""

    matrix: AlignmentMatrix
    confidence: list[float]
    score: float


def write_report(path: Path, sentences: Sequence[Sequence[ReportOption]]) -> None:
    """Write the page; it asks nothing of a network.

    Args:
        path: the file.
        sentences: for each its translations, best first.
    """
    template = files("nmt.alignment").joinpath("report.html").read_text(encoding="utf-8")
    first = next((options[0].matrix for options in sentences if options), None)
    data = {
        "level": first.level if first else "words",
        "read_from": first.read_from if first else "attention",
        "sentences": [
            {"src": options[0].matrix.src_tokens, "options": [_option(option) for option in options]}
            for options in sentences
        ],
    }
    # "</script>" in a sentence must not end the element that holds the data.
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    with atomic_write(path) as tmp_path:
        tmp_path.write_text(template.replace("@@DATA@@", text), encoding="utf-8")


def _option(option: ReportOption) -> dict[str, Any]:
    """Weights and confidences in hundredths: what a colour can show, and small."""
    return {
        "tgt": option.matrix.tgt_tokens,
        "score": round(option.score, 4),
        "confidence": [round(100 * value) for value in option.confidence],
        "weights": np.rint(100 * option.matrix.weights).astype(int).tolist(),
    }
