"""`nmt eval`: translate a test set and score it."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from nmt.alignment.aer import AlignmentScore, score_links
from nmt.alignment.links import parse_pharaoh
from nmt.alignment.report import write_report
from nmt.atomic import atomic_write
from nmt.config import Config, Source
from nmt.data.dataset import PieceCorpus
from nmt.data.lines import one_line, read_lines
from nmt.data.references import warn_if_unwritable
from nmt.data.sources import load_text
from nmt.data.tokenizer import Tokenizer
from nmt.decoding.confidence import judged_words
from nmt.decoding.glossary import Glossary
from nmt.decoding.output import OutputOptions, report_option
from nmt.decoding.phrases import Satisfaction
from nmt.decoding.request import Request
from nmt.decoding.translation import Translation
from nmt.errors import ConfigError, DataError
from nmt.evaluation.calibration import Calibration, calibration_error
from nmt.evaluation.files import write_scores, write_sentences, write_translations
from nmt.evaluation.metrics import (
    LengthScore,
    Reference,
    Score,
    corpus_scores,
    perplexity,
    scores_by_length,
)
from nmt.evaluation.plots import draw_lengths
from nmt.evaluation.versus import HEADINGS, versus_table
from nmt.runs.load import LoadedModel
from nmt.runs.testset import check_test_set, has_gold
from nmt.training.corpus_loss import corpus_nll

_BOOTSTRAP = 1000


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
    warn_if_unwritable(refs, model.translator.tokenizer, model.config.evaluation.lowercase)
    requests = _requests(srcs, glossary, model.translator.tokenizer)
    started = time.perf_counter()
    translations = model.translator.translate(requests, progress=True)
    hyps = [one_line(translation.tgt.text) for translation in translations]
    seconds = time.perf_counter() - started
    hypotheses = write_translations(stem, hyps)  # now, since scoring may run out of memory
    options = model.config.evaluation.bleu_tokenize, model.config.evaluation.lowercase
    scores = corpus_scores(hyps, references, *options, model.config.evaluation.metrics, _BOOTSTRAP, srcs)
    by_length = scores_by_length(srcs, hyps, references, *options, bootstrap=_BOOTSTRAP)
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
    agreement = _agreement(model, srcs, refs, list(text["links"])) if has_gold(model, text) else None
    report |= {} if agreement is None else {"alignment": {**asdict(agreement[0]), "read_from": agreement[1]}}
    table = _table(scores, report, agreement, by_length, model.calibration != Calibration())
    phrases = Satisfaction.of(phrase for one in translations for phrase in one.phrases)
    if phrases.asked:
        report["phrases"] = {"asked": phrases.asked.total(), "satisfied": phrases.satisfied.total()}
        table += f"\n{phrases}"
    if page is not None:
        _write_page(page, model, translations, refs, scores)
    return EvalReport(table, hypotheses, write_scores(stem, report), hyps, report, by_length)


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


def run_eval_versus(
    models: Sequence[LoadedModel],
    split: Literal["train", "valid", "test"],
    files: tuple[Path, Path] | None,
    output: Path | None,
    more_refs: Sequence[Path] = (),
    glossary: Path | None = None,
) -> str:
    """Translate one test set with several models and score them side by side; see `run_versus`.

    The first model's configuration says how all are scored.

    Args:
        models: the models to compare; each one is compared with the first.
        split: a split of the first model's configuration.
        files: source and reference files instead of a split.
        output: the folder for the results; None for each model's own ``eval`` folder.
        more_refs: files of further references.
        glossary: a file of terms that the translations must keep to.

    Returns:
        A Markdown table, and BLEU by source length.

    Raises:
        ConfigError: if two models are the same, or if systems cannot be compared by one of the metrics.
        DataError: if the data cannot be read.
    """
    names = [model.name for model in models]
    if len({tuple(path.resolve() for path in model.members) for model in models}) < len(models):
        raise ConfigError(f"the same model is given twice: {', '.join(names)}")
    if len(set(names)) < len(names):
        names = ["+".join(map(str, model.members)) for model in models]
    first = models[0]
    settings = first.config.evaluation
    models = [replace(one, config=one.config.model_copy(update={"evaluation": settings})) for one in models]
    metrics = _comparable(first.config)
    stems = [None if output is None else output / name.replace("/", "-") for name in names]
    source = first.source(split, files)
    for model, stem in zip(models, stems, strict=True):  # check all of them before hours of decoding
        check_test_set(model, split, files, stem, source)
    text, _ = load_text(source, split, Path(first.config.data.cache_dir).expanduser())
    refs = with_more(list(text["tgt"]), more_refs)
    systems, curves = [], {}
    for name, model, stem in zip(names, models, stems, strict=True):
        report = run_eval(model, split, files, stem, source, more_refs, glossary)
        systems.append((name, report.hyps))
        curves[name] = report.by_length
    lengths = [f"{group.shortest}-{group.longest} words" for group in curves[names[0]]]
    lines = [f"| BLEU by source length | {' | '.join(lengths)} |", f"| --- |{' ---: |' * len(lengths)}"]
    lines += [f"| {name} | {' | '.join(f'{group.bleu:.2f}' for group in groups)} |" for name, groups in curves.items()]
    versus = versus_table(systems, refs, settings.bleu_tokenize, settings.lowercase, metrics, _BOOTSTRAP)
    return "\n".join([versus, "", *lines])


def _comparable(config: Config) -> list[str]:
    """Return the names of a configuration's metrics.

    Raises:
        ConfigError: if the significance test cannot compare systems by one of them.
    """
    names = [metric.name for metric in config.evaluation.metrics]
    if unknown := [name for name in names if name not in HEADINGS]:
        raise ConfigError(
            f"--versus compares {', '.join(HEADINGS)}, not {', '.join(unknown)}; choose the metrics with "
            f"--set evaluation.metrics=[bleu]"
        )
    return names


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


def run_versus(systems: Sequence[tuple[str, Path]], refs: Sequence[Path], tokenize: str, lowercase: bool) -> str:
    """Score files of translations, without a model; see `versus_table`.

    Raises:
        DataError: if a file cannot be read, or if its number of lines differs from that of the reference.
    """
    translated = [(name, list(read_lines(path))) for name, path in systems]
    return versus_table(
        translated, with_more(list(read_lines(refs[0])), refs[1:]), tokenize, lowercase, bootstrap=_BOOTSTRAP
    )
