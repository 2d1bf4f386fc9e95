"""The record of the versions with which a run was started."""

import importlib.metadata
import json
import platform
from pathlib import Path

from nmt import __version__
from nmt.atomic import atomic_write

_PACKAGES = ("torch", "sentencepiece", "datasets", "sacrebleu", "safetensors", "numpy")


def write_versions(folder: Path) -> None:
    """Write ``versions.json``: the versions of this program, Python and relevant packages, and the machine."""
    versions = {"nmt": __version__, **{name: importlib.metadata.version(name) for name in _PACKAGES}}
    versions |= {"python": platform.python_version(), "machine": platform.machine(), "system": platform.system()}
    with atomic_write(folder / "versions.json") as tmp_path:
        tmp_path.write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")
