"""`nmt calibrate`: make word confidences match the share of words that are right."""

from pathlib import Path

from nmt.atomic import probe_writable
from nmt.config import Source
from nmt.data.sources import load_text
from nmt.decoding.confidence import judged_words
from nmt.evaluation.calibration import Calibration, calibration_error, fit_calibration
from nmt.runs.load import LoadedModel


def run_calibrate(model: LoadedModel, source: Source, split: str) -> str:
    """Fit the calibration on a corpus, normally the validation split, and store it in the run folder.

    Args:
        model: a loaded model.
        source: the corpus.
        split: which split it is.

    Returns:
        The fitted parameters, and the calibration error before and after, as text.
    """
    probe_writable(model.run.path)  # fail now rather than after translating all sentences
    text, _ = load_text(source, split, Path(model.config.data.cache_dir).expanduser())
    translations = model.translator.translate(list(text["src"]), progress=True)
    log_probs, correct = judged_words(
        [one.tgt for one in translations], [one.token_log_probs for one in translations], list(text["tgt"])
    )
    fitted = fit_calibration(log_probs, correct)
    before, after = (calibration_error(by.confidences(log_probs), correct) for by in (Calibration(), fitted))
    model.keep_calibration(fitted)
    return (
        f"temperature {fitted.temperature:.3f}, offset {fitted.offset:.3f}; calibration error {before:.3f} before, "
        f"{after:.3f} after, {len(correct)} words"
    )
