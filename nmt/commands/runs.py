"""`nmt runs` and `nmt inspect`: list the runs, and describe a model."""

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from nmt.config import LOWER_IS_BETTER
from nmt.config.load import load_config
from nmt.errors import NmtError
from nmt.runs.checkpoint import intact_checkpoint, kept_checkpoints
from nmt.runs.folder import RunFolder, find_model
from nmt.runs.weights import weight_sizes
from nmt.training.records import read_records

_COLUMNS = ("run", "state", "epoch", "best", "trained", "size")


def run_runs(runs_dir: Path) -> Iterator[str]:
    """Yield the lines of a table of the runs in a folder and in the comparisons there, the newest first.

    Raises:
        NmtError: if there is no such folder.
    """
    if not runs_dir.is_dir():
        raise NmtError(f"{runs_dir}: no such folder; name the one with your runs (the setting runs_dir)")
    found = {path.parent for depth in ("*", "*/*") for path in runs_dir.glob(f"{depth}/config.yaml")}
    runs = [RunFolder(path) for path in found if not path.is_symlink()]
    rows = [_row(run, runs_dir) for run in sorted(runs, key=_age, reverse=True)]
    if not rows:
        yield f"{runs_dir}: no run yet; nmt init and nmt train make one"
        return
    widths = [max(len(row[at]) for row in (_COLUMNS, *rows)) for at in range(len(_COLUMNS))]
    for row in (_COLUMNS, *rows):
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def run_inspect(model: Path | None) -> Iterator[str]:
    """Yield lines that describe a model: languages, sizes, data, scores, versions.

    Raises:
        NmtError: if it is not a model folder.
    """
    run = find_model(model)
    run.refuse_strange_files()
    config = load_config(run.config)
    checkpoint = intact_checkpoint(run)
    parameters, size = weight_sizes(checkpoint)
    records = read_records(run.metrics)
    data = config.data
    source = data.source("train")
    named = [each.model_dump(exclude_defaults=True) for each in source.each] if source is not None else []
    tokenizer = config.tokenizer.model_dump()
    rows: list[tuple[str, str]] = [
        ("run", str(run.path)),
        ("languages", " -> ".join(data.languages)),
        ("encoder", _part(config.model.encoder, "type")),
        ("decoder", _part(config.model.decoder, "type")),
        *(
            []
            if config.model.decoder.type == "transformer"
            else [("attention", _part(config.model.attention, "score"))]
        ),
        ("tokenizer", _tokenizer(tokenizer)),
        ("parameters", f"{parameters:,}, {size / 1e6:.1f} MB"),
        ("word aligner", "yes" if run.aligner.is_dir() else "no"),
        ("training data", "; ".join(", ".join(f"{key}: {value}" for key, value in part.items()) for part in named)),
        ("state", _state(run, records)),
        ("best checkpoint", checkpoint.name),
    ]
    if (valid := _validation_of(records, checkpoint.name)) is not None:
        numbers = {name: round(value, 3) for name, value in valid.items() if _is_number(valid, name)}
        rows.append(("validation", _settings(numbers)))
    kept = sorted({path.parent.resolve().name for path in run.checkpoints.glob("[!.]*/model.safetensors")})
    rows.append(("checkpoints", ", ".join(kept)))
    versions = run.path / "versions.json"
    if versions.is_file():
        with contextlib.suppress(ValueError, AttributeError):  # damaged, but nothing in it is needed
            rows.append(("trained with", _settings(json.loads(versions.read_text(encoding="utf-8")))))
    for name, value in rows:
        yield f"{name:<16} {value}"


def _settings(values: dict[str, Any], first: str = "") -> str:
    """Return names and values on one line, after `first` if it is given."""
    named = [f"{key} {value}" for key, value in values.items() if value is not None]
    return ", ".join([first, *named] if first else named)


def _part(section: BaseModel, key: str) -> str:
    """Return the kind of a part of a model, with its settings that differ from the defaults."""
    chosen = {key: getattr(section, key), **section.model_dump(exclude_defaults=True)}
    return _settings({name: value for name, value in chosen.items() if name != key}, str(chosen[key]))


def _age(run: RunFolder) -> float:
    for file in (run.metrics, run.config):
        with contextlib.suppress(OSError):
            return file.stat().st_mtime
    return 0.0


def _row(run: RunFolder, runs_dir: Path) -> tuple[str, ...]:
    name = str(run.path.relative_to(runs_dir))
    records = read_records(run.metrics)
    try:
        metric = load_config(run.config).training.early_stopping.metric
    except NmtError:
        return name, "configuration of another version", "", "", _ago(_age(run)), ""
    best = _best(records, metric)
    score = f"{metric} {best['valid'][metric]:.2f}" if best is not None else "-"
    epoch = str(records[-1].get("epoch", "?")) if records else "0"
    return name, _state(run, records), epoch, score, _ago(_age(run)), f"{_size(run.path) / 1e6:.0f} MB"


def _size(folder: Path) -> int:
    """Return the total size of a folder's files in bytes; files that training removes meanwhile are left out."""
    total = 0
    for inside, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(Path(inside, name)).st_size
    return total


def _state(run: RunFolder, records: list[dict[str, Any]]) -> str:
    """Return whether a run is training, has finished, or was interrupted."""
    try:
        if run.is_locked():
            return "training"
    except OSError:
        return "unknown"
    if not run.log.exists():
        return "packed" if any(run.checkpoints.glob("*/model.safetensors")) else "empty"
    tail = run.log.read_text(encoding="utf-8", errors="replace")[-20_000:]
    # A run that was killed after it was resumed has said nothing since then.
    last_end, last_start = tail.rfind(" finished ("), max(map(tail.rfind, (" resuming ", "interrupted; saved")))
    if last_end > last_start:
        return "finished"
    return "interrupted" if records or kept_checkpoints(run.checkpoints) else "not begun"


def _best(records: list[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    valid = [record for record in records if _is_number(record.get("valid"), metric)]
    if not valid:
        return None
    choose = min if metric in LOWER_IS_BETTER else max
    return choose(valid, key=lambda record: record["valid"][metric])


def _validation_of(records: list[dict[str, Any]], checkpoint: str) -> dict[str, Any] | None:
    """Return the metrics of the last validation of a checkpoint, which may be a mean; None if there is none."""
    kind, _, update = checkpoint.partition("-")
    found = [
        record["valid"]
        for record in records
        if isinstance(record.get("valid"), dict)
        and f"{record['update']:06d}" == update
        and ("mean" if "averaged" in record else "step") == kind
    ]
    return found[-1] if found else None


def _is_number(metrics: Any, metric: str) -> bool:
    return isinstance(metrics, dict) and isinstance(metrics.get(metric), float) and math.isfinite(metrics[metric])


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def _tokenizer(settings: Mapping[str, Any]) -> str:
    if settings.get("model"):
        return f"that of {settings['model']}"
    return f"{settings['type']}, {settings.get('vocab_size', '?')} pieces, joint: {settings['joint']}"
