"""Configuration files of tests."""

from pathlib import Path

GOOD = "data:\n  train: builtin:phrasebook\n  valid: builtin:phrasebook\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my-run.yaml"
    path.write_text(text, encoding="utf-8")
    return path
