"""`nmt compare`: train variants of one configuration and put their scores, matrices and curves side by side."""

import json
import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

from nmt.alignment.heatmap import draw_grid
from nmt.alignment.matrix import AlignmentMatrix
from nmt.atomic import atomic_write
from nmt.config import Comparison, Config
from nmt.data.sources import read_pairs, source_digest
from nmt.errors import ConfigError
from nmt.evaluation.comparison import RunResult, Variants, comparison_csv, comparison_table, mean_by_length
from nmt.evaluation.metrics import LengthScore
from nmt.evaluation.plots import draw_lengths
from nmt.runs.load import LoadedModel, load_model
from nmt.runtime import release_memory

log = logging.getLogger(__name__)
_DRAWN, _DRAWN_WORDS = 3, 20  # sentences in the picture of the matrices if none are given, and their longest


class Report(Protocol):
    """The scores of one variant, as `nmt eval` gives them."""

    @property
    def scores(self) -> dict[str, Any]: ...
    @property
    def by_length(self) -> list[LengthScore]: ...


Train = Callable[[Config], object]
Evaluate = Callable[[LoadedModel, Literal["train", "valid", "test"]], Report]


def run_compare(comparison: Comparison, configs: dict[str, Config], train: Train, evaluate: Evaluate) -> str:
    """Train and score every variant that is not done yet; write tables and pictures.

    Args:
        comparison: the folder, the split and the sentences.
        configs: the configuration of each run, by name; see `Comparison.runs`.
        train: a function that trains a configuration, or resumes its run.
        evaluate: a function that scores a model on a split.

    Returns:
        The table, as Markdown.

    Raises:
        NmtError: for anything the user can mend.
    """
    folder = comparison.folder
    for name, config in configs.items():
        if not any(metric.name == "bleu" for metric in config.evaluation.metrics):
            raise ConfigError(
                f"variant '{name}': a comparison shows BLEU, but evaluation.metrics does not include it; add bleu there"
            )
    _note_guidance(configs)
    sentences = comparison.sentences or _first_sentences(comparison, configs)
    known = {name: _stored(comparison, config) for name, config in configs.items()}
    matrices: dict[str, list[AlignmentMatrix]] = {}  # of the first run of each variant whose attention can be drawn
    of_variants: Variants = {}
    for number, (name, config) in enumerate(configs.items(), start=1):
        log.info("run %d of %d: %s", number, len(configs), name)
        known[name], found = _trained(comparison, sentences, name, config, known[name], train, evaluate)
        for variant, runs in comparison.runs.items():
            if name == runs[0] and found and all(matrix is not None for matrix in found):
                matrices[variant] = [matrix for matrix in found if matrix is not None]
        release_memory()
        done = {
            variant: [result for run in runs if (result := known[run]) is not None]
            for variant, runs in comparison.runs.items()
        }
        of_variants = {variant: results for variant, results in done.items() if results}
        _write(folder, of_variants)
    _draw(folder, matrices, len(sentences))
    draw_lengths({name: mean_by_length(runs) for name, runs in of_variants.items()}, folder / "lengths.png")
    return comparison_table(of_variants)


def _note_guidance(configs: dict[str, Config]) -> None:
    """Say that links guide the attention, since the matrices then show these links more than the mechanisms."""
    guided = [name for name, config in configs.items() if config.guided_loss is not None]
    if not guided:
        return
    log.info(
        "word links guide the attention of %d of %d runs, so their matrices show what these links taught; for the "
        "mechanisms themselves, set training.guided_alignment.enabled: false",
        len(guided),
        len(configs),
    )
    if len(steps := {configs[name].guided_step for name in guided}) > 1:
        log.warning(
            "the runs are guided at different steps (%s), so their alignment errors are not comparable; set "
            "training.guided_alignment.step",
            ", ".join(sorted(step for step in steps if step is not None)),
        )


def _first_sentences(comparison: Comparison, configs: dict[str, Config]) -> list[str]:
    """Return the first three source texts of the split, which are short enough to be drawn."""
    source = next(iter(configs.values())).data.source(comparison.split)
    if source is None:
        return []
    texts = (src for src, _, _ in read_pairs(source, comparison.split))
    return list(islice((text for text in texts if 0 < len(text.split()) <= _DRAWN_WORDS), _DRAWN))


def _draw(folder: Path, matrices: dict[str, list[AlignmentMatrix]], count: int) -> None:
    """Draw the matrices of `count` sentences: all variants side by side, and each one alone."""
    if not matrices:
        return
    rows = [[of[index] for of in matrices.values()] for index in range(count)]
    grid = draw_grid(rows, list(matrices))
    for suffix in ("png", "pdf"):
        grid.savefig(folder / f"matrices.{suffix}", dpi=90)
    (folder / "pictures").mkdir(exist_ok=True)
    for name, of in matrices.items():
        draw_grid([of], [""] * count).savefig(folder / "pictures" / f"{name}.png", dpi=70)


def _stored(comparison: Comparison, config: Config) -> RunResult | None:
    """Return the stored row of a variant; None if it has not been scored with these settings."""
    stored = _row_file(config)
    kept = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    if kept.get("made_with") != _settings(comparison, config):
        return None
    row = kept["result"]
    return RunResult(**row | {"by_length": [LengthScore(**score) for score in row["by_length"]]})


def _trained(
    comparison: Comparison,
    sentences: Sequence[str],
    name: str,
    config: Config,
    result: RunResult | None,
    train: Train,
    evaluate: Evaluate,
) -> tuple[RunResult, list[AlignmentMatrix | None]]:
    """Train or resume and score one run, unless it has a `result`; return the result and its matrices."""
    if result is None:
        train(config)
    machine = [f"training.device={config.training.device}", f"training.threads={config.training.threads}"]
    model = load_model(config.run_dir, overrides=machine, trusts_data=True)
    if result is None:
        result = _score(comparison, name, model, evaluate)
        with atomic_write(_row_file(config)) as tmp_path:
            held = {"result": asdict(result), "made_with": _settings(comparison, config)}
            tmp_path.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    translations = model.translator.translate(sentences)
    return result, [translation.attention() for translation in translations]


def _row_file(config: Config) -> Path:
    return config.run_dir / "comparison.json"


def _settings(comparison: Comparison, config: Config) -> dict[str, Any]:
    """Return what a result depends on: settings, but not those for the place of files and the display, and the data."""
    held = config.model_dump(mode="json", exclude={"runs_dir": True, "data": {"root", "cache_dir"}})
    for key in ("device", "threads", "log_every", "tensorboard", "keep_last"):
        del held["training"][key]
    cache = Path(config.data.cache_dir).expanduser()
    sources = {split: config.data.source(split) for split in ("train", "valid", comparison.split)}
    digests = {split: source_digest(source, split, cache) for split, source in sources.items() if source is not None}
    return held | {"split": comparison.split, "digests": digests}


def _score(comparison: Comparison, name: str, model: LoadedModel, evaluate: Evaluate) -> RunResult:
    report = evaluate(model, comparison.split)
    scored = report.scores
    records = [json.loads(line) for line in model.run.metrics.read_text(encoding="utf-8").splitlines()]
    rates = [record["tokens_per_second"] for record in records if "tokens_per_second" in record]
    bleu = scored["scores"]["bleu"]
    return RunResult(
        name=name,
        parameters=sum(parameter.numel() for parameter in model.translator.model.parameters()),
        updates=_updates(records),
        tokens_per_second=statistics.median(rates) if rates else 0.0,
        minutes=_minutes(records),
        ppl=scored["ppl"],
        bleu=bleu["value"],
        bleu_margin=bleu["margin"],
        signature=bleu["signature"],
        aer=scored.get("alignment", {}).get("aer"),
        sentences_per_second=scored["sentences"] / max(1e-9, scored["decoding_seconds"]),
        by_length=report.by_length,
    )


def _write(folder: Path, variants: Variants) -> None:
    """Write the table so far, as Markdown, and the numbers of every run as JSON and comma-separated values."""
    values: list[dict[str, Any]] = [asdict(result) for runs in variants.values() for result in runs]
    for suffix, text in (
        ("md", comparison_table(variants) + "\n"),
        ("json", json.dumps(values, indent=2) + "\n"),
        ("csv", comparison_csv(variants)),
    ):
        with atomic_write(folder / f"comparison.{suffix}") as tmp_path:
            tmp_path.write_text(text, encoding="utf-8")


def _minutes(records: Sequence[dict[str, Any]]) -> float:
    """Return the minutes of training by the log: the sum over its lines of target tokens divided by their rate.

    The updates after the last such line are taken to be as fast as those before.
    """
    seconds, logged = 0.0, 0
    for record in records:
        if record.get("tgt_tokens") and record.get("tokens_per_second"):
            seconds += record["tgt_tokens"] / record["tokens_per_second"]
            logged = record["update"]
    return seconds / 60 * _updates(records) / max(1, logged)


def _updates(records: Sequence[dict[str, Any]]) -> int:
    return max((record["update"] for record in records), default=0)
