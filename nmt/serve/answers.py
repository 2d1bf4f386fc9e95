"""Splitting a text into lines to translate, and building the answer from their translations."""

import html
import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nmt.errors import NmtError
from nmt.serve.guard import Limits, Refused
from nmt.serve.schema import TranslateRequest

if TYPE_CHECKING:  # these import torch, and the page can be sent before that is done
    from nmt.decoding.translation import Translation
    from nmt.evaluation.calibration import Calibration
    from nmt.runs.load import LoadedModel
    from nmt.serve.batcher import Job

_LONGEST_PREFIX = 2_000  # characters
_MOST_PHRASES = 120  # required and forbidden ones, in one request
_MOST_HYPOTHESES = 2_000  # lines times translations of each, in one request
# Matches comments, complete scripts and styles, and tags, whatever their quoted attributes contain.
_TAG = re.compile(
    r"""(<!--.*?(?:-->|$)|<script\b.*?(?:</script\s*>|$)|<style\b.*?(?:</style\s*>|$)|<(?:[^<>"']|"[^"]*"|'[^']*')*>)""",
    re.DOTALL | re.IGNORECASE,
)


def lines_of(text: str, kind: str) -> list[str]:
    """Return the parts of a text to translate: its lines or, for HTML, the texts between its tags."""
    if kind == "html":
        return [html.unescape(part) for part in _TAG.split(text)[::2]]
    return text.split("\n")


def check_size(limits: Limits, texts: Sequence[str], prefix: str, phrases: Sequence[str] = ()) -> None:
    """Refuse a request with too much text.

    Args:
        limits: the limits on requests.
        texts: the texts to translate.
        prefix: the beginning of the translations.
        phrases: the required and the forbidden phrases; bars separate several in one text.
    """
    if (characters := len(prefix) + sum(map(len, phrases))) > _LONGEST_PREFIX:
        raise Refused(413, f"prefix and phrases have {characters} characters; at most {_LONGEST_PREFIX} are allowed")
    if (count := sum(text.count("|") + 1 for text in phrases)) > _MOST_PHRASES:
        raise Refused(413, f"there are {count} phrases, alternatives included; at most {_MOST_PHRASES} are allowed")
    characters, lines = sum(map(len, texts)), sum(text.count("\n") + 1 for text in texts)
    if not texts:
        raise Refused(400, "q is empty")
    if characters > limits.characters:
        raise Refused(413, f"the text has {characters} characters; at most {limits.characters} are allowed")
    if lines > limits.lines:
        raise Refused(413, f"the text has {lines} lines; at most {limits.lines} are allowed")


def check_count(lines: int, asked: TranslateRequest, limit: int) -> None:
    """Refuse a request for more translations than the server would keep waiting."""
    if lines * (asked.alternatives + 1) > min(limit, _MOST_HYPOTHESES):
        raise Refused(413, f"{lines} lines with {asked.alternatives} alternatives are too many for one request")


def unsupported(asked: TranslateRequest, languages: tuple[str, str]) -> str | None:
    """Return the language of a request that is not the model's source or target; None if both are."""
    given = zip((asked.source, asked.target), languages, strict=True)
    return next((one for one, known in given if one not in ("auto", "", known)), None)


def calibration_for(loaded: "LoadedModel", asked: TranslateRequest) -> "Calibration | None":
    """Return the calibration of a model if the request asks for confidences."""
    try:
        return loaded.calibration if asked.confidence else None
    except NmtError as error:
        raise Refused(503, str(error)) from None


def job_of(asked: TranslateRequest, line: str) -> "Job":
    """Return the batcher's job for a line."""
    from nmt.decoding.request import Request
    from nmt.serve.batcher import Job

    request = Request(line, asked.prefix, tuple(asked.require), tuple(asked.forbid), tuple(asked.hide))
    return Job(request, asked.alternatives + 1, with_links=asked.alignment)


def keys_of(asked: TranslateRequest) -> list[str]:
    """Return the keys of the answer to a request."""
    wanted = {
        "alternatives": asked.alternatives > 0,
        "alignment": asked.alignment,
        "scores": asked.scores,
        "confidence": asked.confidence,
    }
    return ["translatedText", *(name for name, is_wanted in wanted.items() if is_wanted)]


def refuse_if_all_failed(answers: "Sequence[Translation | NmtError]") -> None:
    """Refuse a request if none of its lines could be translated, with the error of the first one."""
    errors = [answer for answer in answers if isinstance(answer, NmtError)]
    if errors and len(errors) == len(answers):
        raise Refused(400, str(errors[0]))


def answer_of(
    asked: TranslateRequest,
    text: str,
    lines: "Sequence[tuple[str, Translation | NmtError]]",
    calibration: "Calibration | None",
) -> dict[str, Any]:
    """Return the answer for one text, with the fields that the request asks for.

    Args:
        asked: the request.
        text: the text.
        lines: each line of the text with its translation or an error; a line with an error is answered by nothing, and
            the messages are in `errors`, if there is one.
        calibration: calibrates the confidences; None if the request asks for none.
    """
    found = [None if isinstance(answer, NmtError) else answer for _, answer in lines]
    answer: dict[str, Any] = {"translatedText": _joined_text(asked, text, [one.text if one else "" for one in found])}
    if asked.alternatives:
        most = max((len(one.others) for one in found if one), default=0)
        answer["alternatives"] = [
            _joined_text(
                asked, text, [one.others[rank].text if one and rank < len(one.others) else "" for one in found]
            )
            for rank in range(most)
        ]
    per_line: dict[str, list[Any]] = {
        "alignment": [alignment_fields(one) if one else None for one in found] if asked.alignment else [],
        "scores": [_scores(one) if one else None for one in found] if asked.scores else [],
        "confidence": []
        if calibration is None
        else [[round(v, 4) for v in one.confidence("words", calibration)] if one else None for one in found],
    }
    # For a single line, a field has its value; for several lines, a list of the values of all lines.
    answer |= {name: values[0] if len(values) == 1 else values for name, values in per_line.items() if values}
    if None in found:
        answer["errors"] = [str(each) if isinstance(each, NmtError) else None for _, each in lines]
    return answer


def alignment_fields(translation: "Translation") -> dict[str, Any] | None:
    """Return a translation's words with character offsets, links and weights; None if it has no alignment."""
    from nmt.alignment.words import spans_at

    matrix = translation.alignment()
    if matrix is None:
        return None
    sides = {}
    for name, text, pieces in (
        ("source", translation.src.text, translation.src.ids),
        ("target", translation.tgt.text, translation.tgt.ids),
    ):
        spans = spans_at("words", text) if pieces else []
        sides[name] = [{"text": text[start:end], "start": start, "end": end} for start, end in spans]
    links = matrix.links() if matrix.tgt_tokens else []
    return {
        **sides,
        "links": [[source, target, round(float(matrix.weights[target, source]), 4)] for source, target in links],
        "weights": [[round(float(weight), 4) for weight in row] for row in matrix.weights],
        "null": None if matrix.null is None else [round(float(value), 4) for value in matrix.null],
        "from": matrix.read_from,
    }


def _joined_text(asked: TranslateRequest, text: str, parts: list[str]) -> str:
    if asked.format != "html":
        return "\n".join(part.replace("\n", " ") for part in parts)
    pieces = _TAG.split(text)
    pieces[::2] = [
        _like(html.escape(part, quote=False), between) for part, between in zip(parts, pieces[::2], strict=True)
    ]
    return "".join(pieces)


def _like(part: str, original: str) -> str:
    """Return a part with the leading and trailing white space of the original."""
    if not original.strip():
        return original
    start, end = len(original) - len(original.lstrip()), len(original.rstrip())
    return original[:start] + part + original[end:]


def _scores(translation: "Translation") -> dict[str, Any]:
    log_prob = translation.log_prob
    return {
        "score": round(translation.score, 6) if math.isfinite(translation.score) else None,
        "log_prob": round(log_prob, 6) if math.isfinite(log_prob) else None,
        "proven": translation.proven,
    }
