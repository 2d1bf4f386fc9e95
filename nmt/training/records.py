"""The records of a training run in ``metrics.jsonl``."""

import json
from pathlib import Path
from typing import Any


def read_records(metrics: Path) -> list[dict[str, Any]]:
    """Return the records of a metrics file, up to the first damaged line, such as one that a crash cut short.

    A file that does not exist has no records.
    """
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
