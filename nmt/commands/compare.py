"""`nmt compare`: train variants of one configuration and put their scores, matrices and curves side by side."""

import json
import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from nmt.alignment.heatmap import draw_grid
from nmt.alignment.matrix import AlignmentMatrix
from nmt.atomic import atomic_write
from nmt.config import Comparison, Config
from nmt.data.sources import source_digest
from nmt.errors import ConfigError
from nmt.evaluation.metrics import LengthScore
from nmt.evaluation.plots import draw_lengths
from nmt.runs.load import LoadedModel, load_model
from nmt.runtime import release_memory

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class VariantResult:
    """One row of the comparison.

    Attributes:
        name: the variant's name.
        parameters: the number of parameters; shared ones count once.
        updates: the number of updates in total.
        tokens_per_second: target tokens per second in training, the median over the log.
        minutes: the minutes that the updates took, by the clock; validation is not counted.
        ppl: the perplexity of the references.
        bleu: the BLEU of the corpus.
        bleu_margin: half its 95 % confidence interval; None if there are too few sentences.
        signature: sacrebleu's signature of the BLEU.
        aer: the AER against gold links; None without gold links or without attention.
        sentences_per_second: sentences translated per second, with the configuration's beam.
        by_length: BLEU by source length.
    """

    name: str
    parameters: int
    updates: int
    tokens_per_second: float
    minutes: float
    ppl: float
    bleu: float
    bleu_margin: float | None
    signature: str
    aer: float | None
    sentences_per_second: float
    by_length: list[LengthScore]


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
        configs: the configuration of each variant, by name.
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
    known = {name: _stored(comparison, config) for name, config in configs.items()}
    results, pictures = [], []
    for number, (name, config) in enumerate(configs.items(), start=1):
        log.info("variant %d of %d: %s", number, len(configs), name)
        known[name], matrices = _variant(comparison, name, config, known[name], train, evaluate)
        pictures.append(matrices)
        release_memory()
        results = [result for result in known.values() if result is not None]
        _write(folder, results)
    shown = [column for column, matrices in enumerate(pictures) if all(matrix is not None for matrix in matrices)]
    if comparison.sentences and shown:
        rows = [[pictures[column][index] for column in shown] for index in range(len(comparison.sentences))]
        figure = draw_grid(rows, [results[column].name for column in shown])  # type: ignore[arg-type]
        figure.savefig(folder / "matrices.png", dpi=90)
        (folder / "pictures").mkdir(exist_ok=True)
        for column in shown:
            figure = draw_grid([pictures[column]], [""] * len(comparison.sentences))  # type: ignore[list-item]
            figure.savefig(folder / "pictures" / f"{results[column].name}.png", dpi=70)
    draw_lengths({result.name: result.by_length for result in results}, folder / "lengths.png")
    return comparison_table(results)


def _stored(comparison: Comparison, config: Config) -> VariantResult | None:
    """Return the stored row of a variant; None if it has not been scored with these settings."""
    stored = _row_file(config)
    kept = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {}
    if kept.get("made_with") != _settings(comparison, config):
        return None
    row = kept["result"]
    return VariantResult(**row | {"by_length": [LengthScore(**score) for score in row["by_length"]]})


def _variant(
    comparison: Comparison,
    name: str,
    config: Config,
    result: VariantResult | None,
    train: Train,
    evaluate: Evaluate,
) -> tuple[VariantResult, list[AlignmentMatrix | None]]:
    """Train or resume and score one variant, unless it has a `result`; return the result and its matrices."""
    if result is None:
        train(config)
    machine = [f"training.device={config.training.device}", f"training.threads={config.training.threads}"]
    model = load_model(config.run_dir, overrides=machine, trusts_data=True)
    if result is None:
        result = _score(comparison, name, model, evaluate)
        with atomic_write(_row_file(config)) as tmp_path:
            held = {"result": asdict(result), "made_with": _settings(comparison, config)}
            tmp_path.write_text(json.dumps(held, indent=2) + "\n", encoding="utf-8")
    translations = model.translator.translate(comparison.sentences)
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


def _score(comparison: Comparison, name: str, model: LoadedModel, evaluate: Evaluate) -> VariantResult:
    report = evaluate(model, comparison.split)
    scored = report.scores
    records = [json.loads(line) for line in model.run.metrics.read_text(encoding="utf-8").splitlines()]
    rates = [record["tokens_per_second"] for record in records if "tokens_per_second" in record]
    bleu = scored["scores"]["bleu"]
    return VariantResult(
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


def comparison_table(results: Sequence[VariantResult]) -> str:
    """Return a Markdown table of results, with BLEU of all sentences and of the quarter with the longest sources."""
    head = (
        "variant", "parameters", "updates", "minutes", "tokens/s", "ppl", "BLEU", "BLEU, longest", "AER", "sentences/s"
    )  # fmt: skip
    rows = [
        (
            result.name,
            f"{result.parameters:,}",
            f"{result.updates:,}",
            f"{result.minutes:.1f}",
            f"{result.tokens_per_second:,.0f}",
            f"{result.ppl:.2f}",
            f"{result.bleu:.2f}" + ("" if result.bleu_margin is None else f" ± {result.bleu_margin:.2f}"),
            f"{result.by_length[-1].bleu:.2f}" if result.by_length else "",
            "" if result.aer is None else f"{result.aer:.3f}",
            f"{result.sentences_per_second:.0f}",
        )
        for result in results
    ]
    lines = [head, ("---", *("---:" for _ in head[1:])), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    signatures = sorted({result.signature for result in results})
    return (
        f"{table}\n\nBLEU: {'; '.join(signatures)}. Tokens are target tokens; ± is half the 95 % interval (bootstrap)."
    )


def _write(folder: Path, results: Sequence[VariantResult]) -> None:
    """Write the table so far, as Markdown and JSON."""
    with atomic_write(folder / "comparison.md") as tmp_path:
        tmp_path.write_text(comparison_table(results) + "\n", encoding="utf-8")
    with atomic_write(folder / "comparison.json") as tmp_path:
        values: list[dict[str, Any]] = [asdict(result) for result in results]
        tmp_path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


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
