"""The cache of tables and tokenizers, keyed by what they were made from."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datasets


def cached_table(path: Path, columns: dict[str, Any], rows: Iterable[dict[str, Any]]) -> "datasets.Dataset":
    """The Arrow table at `path`, memory-mapped; written from `rows` first if it is not there.

    Args:
        path: the table's file.
        columns: column name → ``datasets`` type name, or a list with one such name for a list column.
        rows: read only if the table has to be written, and never held in memory as a whole.
    """
    import datasets
    from datasets.arrow_writer import ArrowWriter

    if not path.exists():
        features = datasets.Features(
            {
                name: [datasets.Value(kind[0])] if isinstance(kind, list) else datasets.Value(kind)
                for name, kind in columns.items()
            }
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, tmp_path = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
        os.close(handle)
        try:
            with ArrowWriter(features=features, path=tmp_path) as writer:
                count = 0
                for row in rows:
                    writer.write(row)
                    count += 1
                if count == 0:  # an Arrow file needs a schema even when it has no rows
                    writer.write_table(features.arrow_schema.empty_table())
                writer.finalize()
            os.replace(tmp_path, path)
        finally:
            Path(tmp_path).unlink(missing_ok=True)
    return datasets.Dataset.from_file(str(path))


def digest(*parts: Any) -> str:
    """A short fingerprint of plain values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]
