"""The records of a training, as ``metrics.jsonl`` keeps them."""

import json
from pathlib import Path
from typing import Any


def read_records(metrics: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of metrics, up to the first one that a crash cut short."""
    records = []
    for line in metrics.read_text(encoding="utf-8", errors="replace").splitlines() if metrics.exists() else ():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break
        if not isinstance(record, dict) or not isinstance(record.get("update"), int):
            break
        records.append(record)
    return records
