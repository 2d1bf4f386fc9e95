"""The files that `nmt eval` writes about one test set: STEM.hyp, STEM.json, STEM.tsv and STEM.png."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nmt.atomic import atomic_write, probe_writable
from nmt.errors import ConfigError
from nmt.evaluation.metrics import Reference, sentence_scores, word_counts

_SUFFIXES = (".json", ".hyp", ".tsv", ".png")


def prepare_output(stem: Path, data: str, is_chosen: bool) -> None:
    """Make the folder of the files that will be written, before anything is translated.

    Args:
        stem: the path of the files without their suffixes.
        data: a description of the test set.
        is_chosen: whether the user has chosen the path, so that other files may have the same names.

    Raises:
        ConfigError: if there are files with the scores of another test set, or files that are not results of `nmt
            eval`.
        OSError: if no file can be written there.
    """
    probe_writable(stem.parent)
    scores, *others = (stem.with_name(stem.name + suffix) for suffix in _SUFFIXES)
    try:
        known = json.loads(scores.read_text(encoding="utf-8"))["data"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        known = None
    if known is None:
        if is_chosen and (there := next((path for path in (scores, *others) if path.exists()), None)):
            raise ConfigError(
                f"{there} already exists, and there are no scores of nmt eval with it; delete it or name another place "
                f"with --output"
            )
    elif known != data:
        raise ConfigError(f"{scores} holds the scores of {known}; name another place with --output")


def write_translations(stem: Path, hyps: Sequence[str]) -> Path:
    """Write the translations, one per line; return the path."""
    path = stem.with_name(stem.name + ".hyp")
    with atomic_write(path) as tmp_path:
        tmp_path.write_text("".join(hyp + "\n" for hyp in hyps), encoding="utf-8", newline="\n")
    return path


def write_scores(stem: Path, report: dict[str, Any]) -> Path:
    """Write the scores as JSON; return the path."""
    path = stem.with_name(stem.name + ".json")
    with atomic_write(path) as tmp_path:
        tmp_path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def write_sentences(
    stem: Path,
    sentences: Sequence[tuple[str, str, Reference]],
    log_probs: Sequence[float],
    tokenize: str,
    lowercase: bool,
) -> None:
    """Write a table with a row for each sentence: its scores, the lengths in words, and the log-probability.

    Args:
        stem: the path of the file without its suffix.
        sentences: source, translation and reference of each sentence.
        log_probs: the log-probability of each translation, in nats.
        tokenize: the tokenizer of BLEU.
        lowercase: whether case is ignored.
    """
    scores = sentence_scores([hyp for _, hyp, _ in sentences], [ref for _, _, ref in sentences], tokenize, lowercase)
    path = stem.with_name(stem.name + ".tsv")
    with atomic_write(path) as tmp_path, tmp_path.open("w", encoding="utf-8", newline="\n") as out:
        out.write("line\tbleu\tchrf\tsrc_words\thyp_words\tref_words\tlog_prob\n")
        srcs, hyps = [src for src, _, _ in sentences], [hyp for _, hyp, _ in sentences]
        first_refs = [ref if isinstance(ref, str) else ref[0] for _, _, ref in sentences]
        counts = zip(word_counts(srcs), word_counts(hyps), word_counts(first_refs), strict=True)
        for number, (score, sizes, log_prob) in enumerate(zip(scores, counts, log_probs, strict=True), start=1):
            words = "\t".join(map(str, sizes))
            out.write(f"{number}\t{score['bleu']:.2f}\t{score['chrf']:.2f}\t{words}\t{log_prob:.4f}\n")
