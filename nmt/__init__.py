"""Train attention-based neural machine translation and see which word looked at which.

From Python: ``nmt.load("runs/latest").translate(["I love you"])``; see `nmt.api`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nmt.threads import thread_environment

if TYPE_CHECKING:
    from nmt.api import Model as Model
    from nmt.api import load as load

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Return `load` or `Model`, imported only when it is used, so that ``import nmt`` does not import torch."""
    if name in ("load", "Model"):
        with thread_environment():
            return getattr(importlib.import_module("nmt.api"), name)
    raise AttributeError(f"module 'nmt' has no attribute '{name}'")


def __dir__() -> list[str]:
    """Return the names in the package, including those that are imported only when they are used."""
    return sorted({*globals(), *__all__})
