"""`nmt calibrate`: what makes word confidences the shares of words that are right."""

import json
from dataclasses import asdict
from pathlib import Path

from nmt.config import Source
from nmt.data.corpus import load_text
from nmt.decoding.confidence import Calibration, calibration_error, correct_words, fit_calibration, word_log_probs
from nmt.decoding.translator import Translation
from nmt.files import written_whole
from nmt.pipeline.load import LoadedModel
from nmt.words import spans_at


def run_calibrate(model: LoadedModel, source: Source, split: str) -> str:
    """Fit the calibration on a corpus, for which the validation split is made, and keep it in the run folder.

    Args:
        model: a loaded model.
        source: the corpus.
        split: which split it is.

    Returns:
        What was fitted and the calibration error before and after, as text.
    """
    text, _ = load_text(source, split, Path(model.config.data.cache_dir).expanduser())
    translations = model.translator.translate(list(text["src"]), progress=True)
    log_probs, correct = judged_words(translations, list(text["tgt"]))
    fitted = fit_calibration(log_probs, correct)
    before, after = (calibration_error(by.confidences(log_probs), correct) for by in (Calibration(), fitted))
    with written_whole(model.run.calibration) as beside:
        beside.write_text(json.dumps(asdict(fitted)) + "\n", encoding="utf-8")
    return (
        f"temperature {fitted.temperature:.3f}, offset {fitted.offset:.3f}; calibration error {before:.3f} before, "
        f"{after:.3f} after, {len(correct)} words"
    )


def judged_words(translations: list[Translation], refs: list[str]) -> tuple[list[float], list[bool]]:
    """Log-probability of every translated word, and whether the reference has it (see `correct_words`)."""
    log_probs: list[float] = []
    correct: list[bool] = []
    for translation, ref in zip(translations, refs, strict=True):
        log_probs += word_log_probs(translation.tgt, translation.token_log_probs)
        hyp_words, ref_words = (
            [words[start:end] for start, end in spans_at("words", words)] for words in (translation.tgt.text, ref)
        )
        correct += correct_words(hyp_words, ref_words)
    return log_probs, correct
