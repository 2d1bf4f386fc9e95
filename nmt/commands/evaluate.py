"""`nmt eval`: translate a test set and score it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nmt.alignment.aer import AlignmentScore, score_links
from nmt.alignment.files import check_suffix
from nmt.alignment.links import parse_pharaoh
from nmt.alignment.report import write_report
from nmt.atomic import atomic_write
from nmt.config import CometMetricConfig, Source
from nmt.data.cache import Table
from nmt.data.dataset import PieceCorpus, encode_table
from nmt.data.lines import one_line, read_lines, without_packing
from nmt.data.prepare import pieces_path, refuse_longer_than_the_model
from nmt.data.sources import described, load_text
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.confidence import judged_words
from nmt.decoding.glossary import Glossary
from nmt.decoding.output import OutputOptions, matrix_of, report_option
from nmt.decoding.phrases import Satisfaction
from nmt.decoding.request import Request
from nmt.decoding.translation import Translation
from nmt.errors import DataError
from nmt.evaluation.calibration import Calibration, calibration_error
from nmt.evaluation.comet import comet_program
from nmt.evaluation.files import prepare_output, write_scores, write_sentences, write_translations
from nmt.evaluation.metrics import (
    LengthScore,
    Reference,
    Score,
    corpus_scores,
    perplexity,
    scores_by_length,
)
from nmt.evaluation.plots import draw_lengths
from nmt.runs.load import LoadedModel
from nmt.training.corpus_loss import corpus_nll

BOOTSTRAP = 1000


@dataclass(frozen=True)
class EvalReport:
    """The scores of one test set, as they are printed and as they are written to files."""

    table: str
    hypotheses: Path
    json: Path
    hyps: list[str]
    scores: dict[str, Any]  # what the JSON file holds
    by_length: list[LengthScore]


def run_eval(
    model: LoadedModel,
    split: Literal["train", "valid", "test"],
    files: tuple[Path, Path] | None = None,
    output: Path | None = None,
    source: Source | None = None,
    more_refs: Sequence[Path] = (),
    glossary: Path | None = None,
    page: Path | None = None,
) -> EvalReport:
    """Translate and score a split of the run's data, or given files; write the results and return them.

    Args:
        model: a loaded model.
        split: `train`, `valid` or `test` of the run's configuration.
        files: source and reference files instead of a split.
        output: the stem of the files written; None for ``<run>/eval/<split or file name>``.
        source: where the pairs are, if not where `files` or the run's configuration say.
        more_refs: files of further references. BLEU, chrF and TER take the best match among all references; loss,
            confidence and alignment use only the first reference.
        glossary: a file of terms that the translations must keep to.
        page: the file for a page with the translations, their alignment and the references; None for no page.

    Raises:
        AlignmentError: if there is to be a page, but the model has no attention or the file is not an .html file.
        ConfigError: if the configuration names no such split.
        DataError: if the data cannot be read, or source and reference differ in length.
    """
    source = source or model.source(split, files)
    data, stem, text, pieces = check_test_set(model, split, files, output, source, page)
    srcs, refs = list(text["src"]), list(text["tgt"])
    references = with_more(refs, more_refs)
    requests = _requests(srcs, glossary, model.translator.tokenizer)
    started = time.perf_counter()
    translations = model.translator.translate(requests, progress=True)
    hyps = [one_line(translation.tgt.text) for translation in translations]
    seconds = time.perf_counter() - started
    hypotheses = write_translations(stem, hyps)  # now, since scoring may run out of memory
    options = model.config.evaluation.bleu_tokenize, model.config.evaluation.lowercase
    scores = corpus_scores(hyps, references, *options, model.config.evaluation.metrics, BOOTSTRAP, srcs)
    by_length = scores_by_length(srcs, hyps, references, *options, bootstrap=BOOTSTRAP)
    report = _settings(model, data) | {
        "sentences": len(srcs),
        "decoding_seconds": seconds,
        "scores": {key: asdict(score) for key, score in scores.items()},
        **_by_the_model(model, pieces, translations, refs),
        "by_length": [asdict(group) for group in by_length],
    }
    with atomic_write(stem.with_name(stem.name + ".png")) as tmp_path:
        draw_lengths({model.name: by_length}, tmp_path)
    lines = list(zip(srcs, hyps, references, strict=True))
    write_sentences(stem, lines, [translation.log_prob for translation in translations], *options)
    agreement = _agreement(model, srcs, refs, list(text["links"])) if _has_gold(model, text) else None
    report |= {} if agreement is None else {"alignment": {**asdict(agreement[0]), "read_from": agreement[1]}}
    table = _table(scores, report, agreement, by_length, model.calibration != Calibration())
    phrases = Satisfaction.of(phrase for one in translations for phrase in one.phrases)
    if phrases.asked:
        report["phrases"] = {"asked": phrases.asked.total(), "satisfied": phrases.satisfied.total()}
        table += f"\n{phrases}"
    if page is not None:
        _write_page(page, model, translations, refs, scores)
    return EvalReport(table, hypotheses, write_scores(stem, report), hyps, report, by_length)


class TestSet(NamedTuple):
    """A test set that a model can translate.

    Attributes:
        data: a description of the data that it consists of.
        stem: the path, without a suffix, of the files with its results.
        text: its pairs.
        pieces: the pieces of its pairs.
    """

    data: str
    stem: Path
    text: Table
    pieces: PieceCorpus


def check_test_set(
    model: LoadedModel,
    split: Literal["train", "valid", "test"],
    files: tuple[Path, Path] | None,
    output: Path | None,
    source: Source,
    page: Path | None = None,
) -> TestSet:
    """Return a test set, or refuse what would fail after hours of decoding; see `run_eval` for the arguments."""
    name, data, stem = _names(model, split, files, output, source)
    prepare_output(stem, data)
    _refuse_early(model, page)
    return TestSet(data, stem, *_read(model, source, split, name))


def _refuse_early(model: LoadedModel, page: Path | None) -> None:
    """Refuse options that would fail at the end, before hours are spent on decoding."""
    if any(isinstance(metric, CometMetricConfig) for metric in model.config.evaluation.metrics):
        comet_program()
    if page is not None:
        check_suffix(page, (".html",), only=True)
        matrix_of(model.translator.force([("", "")])[0], OutputOptions())  # raises for a model without attention


def _settings(model: LoadedModel, data: str) -> dict[str, Any]:
    """Return the settings that the scores of a test set depend on."""
    decoding = model.config.decoding
    return {
        "data": data,
        "model": model.name,
        "checkpoint": model.checkpoint.name,
        "beam_size": decoding.beam_size,
        "length_penalty": decoding.length_penalty,
        **({} if model.backward is None else {"backward": str(model.backward)}),
    }


def _write_page(
    path: Path,
    model: LoadedModel,
    translations: Sequence[Translation],
    refs: Sequence[str],
    scores: Mapping[str, Score],
) -> None:
    shown = OutputOptions(alignments=path)
    linked = model.translator.with_links(translations)
    head = model.report_head(**{score.name: f"{score.value:.2f}" for score in scores.values()})
    write_report(path, [[report_option(one, shown, model.calibration)] for one in linked], head, refs)


def _requests(srcs: Sequence[str], glossary: Path | None, tokenizer: Tokenizer) -> list[Request]:
    """Return a request for each source text, with the phrases that a glossary requires or forbids."""
    requests = [Request(src) for src in srcs]
    if glossary is None:
        return requests
    terms = Glossary.read(glossary, tokenizer)
    return [terms.applied_to(request) for request in requests]


def _table(
    scores: Mapping[str, Score],
    report: Mapping[str, Any],
    agreement: tuple[AlignmentScore, str] | None,
    by_length: Sequence[LengthScore],
    is_calibrated: bool,
) -> str:
    """Return the text that is printed for a report."""
    margins = {key: "±    ?" if score.margin is None else f"± {score.margin:4.2f}" for key, score in scores.items()}
    rows = [f"{score.name:<6} {score.value:6.2f} {margins[key]}   {score.signature}" for key, score in scores.items()]
    rows += [f"loss   {report['loss']:6.3f}", f"ppl    {report['ppl']:6.3f}"]
    if agreement is not None:
        score, read_from = agreement
        rows.append(
            f"AER    {score.aer:6.4f}   "
            f"precision {score.precision:.4f}, recall {score.recall:.4f}, F1 {score.f1:.4f}, from:{read_from}"
        )
    error = report["calibration_error"]
    calibrated = f", {error['calibrated']:.3f} calibrated" if is_calibrated else ""
    rows.append(f"calibration error of word confidence: {error['raw']:.3f}{calibrated}")
    groups = [f"{group.shortest}-{group.longest} words {group.bleu:.2f}" for group in by_length]
    rows.append(f"BLEU by source length: {', '.join(groups)}")
    return "\n".join(rows)


def _by_the_model(
    model: LoadedModel, pieces: PieceCorpus, translations: Sequence[Translation], refs: Sequence[str]
) -> dict[str, Any]:
    """Return the loss of the references, and the calibration errors of the raw and calibrated word confidences."""
    loss = corpus_nll(model.translator.model, pieces.in_order(), model.translator.device)
    log_probs, correct = judged_words(
        [one.tgt for one in translations], [one.token_log_probs for one in translations], refs
    )
    errors = {
        name: calibration_error(calibration.confidences(log_probs), correct)
        for name, calibration in (("raw", Calibration()), ("calibrated", model.calibration))
    }
    return {"loss": loss, "ppl": perplexity(loss), "calibration_error": errors}


def _read(model: LoadedModel, source: Source, split: str, name: str) -> tuple[Table, PieceCorpus]:
    """Return the text of a test set and its pieces.

    Raises:
        DataError: if it cannot be read, or if a line is too long for the model or for scoring its alignment.
    """
    cache, tokenizer = Path(model.config.data.cache_dir).expanduser(), model.translator.tokenizer
    text, fingerprint = load_text(source, split, cache)
    pieces = PieceCorpus(encode_table(text, tokenizer, pieces_path(cache, fingerprint, tokenizer)))
    refuse_longer_than_the_model(pieces, model.config, name)
    limit = model.config.decoding.max_tgt_length
    if _has_gold(model, text) and (pieces.tgt_len > limit).any():  # fail now, not after translating
        line = int((pieces.tgt_len > limit).argmax())
        raise DataError(
            f"line {line + 1} of the {name} data has {pieces.tgt_len[line]} target pieces, more than "
            f"decoding.max_tgt_length = {limit}, so its alignment cannot be scored; raise the limit with --set"
        )
    return text, pieces


def _has_gold(model: LoadedModel, text: Table) -> bool:
    """Return True if the text comes with links that the model's alignments can be compared with."""
    return model.config.model.has_attention and any(text["links"])


def _names(
    model: LoadedModel,
    split: Literal["train", "valid", "test"],
    files: tuple[Path, Path] | None,
    output: Path | None,
    source: Source,
) -> tuple[str, str, Path]:
    """Return the name of a test set, the data that it consists of, and the stem of the files with its results."""
    name = without_packing(files[0].name) if files else split
    data = " | ".join(str(path.resolve()) for path in files) if files else split
    if not files and not model.owns(source, split):  # another test set may be called by the same name
        data = f"{split}: {described(source)}"
    stem = output or model.run.path / "eval" / (name if len(model.members) == 1 else f"{name}.{model.name}")
    return name, data, stem


def _agreement(
    model: LoadedModel, srcs: Sequence[str], refs: Sequence[str], gold: Sequence[str]
) -> tuple[AlignmentScore, str]:
    """Return how well the alignments of the references agree with gold links, and what these are read from.

    The alignments are those of `nmt align`: the word aligner's if the model has one, else the attention's. Pairs
    without gold links are left out.
    """
    pairs = [(src, ref) for src, ref, line in zip(srcs, refs, gold, strict=True) if line]
    forced = model.translator.force(pairs, progress=True)
    aligned = (translation.alignment() for translation in model.translator.with_links(forced))
    matrices = [matrix for matrix in aligned if matrix is not None]
    score = score_links([matrix.links() for matrix in matrices], [parse_pharaoh(line) for line in gold if line])
    return score, matrices[0].read_from


def with_more(refs: Sequence[str], more: Sequence[Path]) -> list[Reference]:
    """Return all references of each sentence: the given one, and those from further files.

    Raises:
        DataError: if a file cannot be read, or has a different number of lines.
    """
    streams = [list(read_lines(path)) for path in more]
    for path, lines in zip(more, streams, strict=True):
        if len(lines) != len(refs):
            raise DataError(f"{path} has {len(lines)} lines, but there are {len(refs)} references before it")
    return list(zip(refs, *streams, strict=True)) if more else list(refs)
