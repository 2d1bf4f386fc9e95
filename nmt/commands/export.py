"""`nmt export`: a model for other runtimes."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torch import nn

from nmt.config import Config
from nmt.data.tokenizer import Tokenizer
from nmt.errors import ModelError
from nmt.export.ctranslate2_files import write_ctranslate2
from nmt.export.onnx_files import write_onnx
from nmt.runs.load import load_model

Writer = Callable[[nn.Module, Tokenizer, Config, Path], None]
WRITERS: dict[str, Writer] = {"onnx": write_onnx, "ctranslate2": write_ctranslate2}


def run_export(
    model: Path | None, checkpoint: str | None, folder: Path, to: Literal["onnx", "ctranslate2"]
) -> list[Path]:
    """Write a model for another runtime.

    Args:
        model: a run folder; None for the run trained last.
        checkpoint: the name of the checkpoint; None for the best.
        folder: the folder for the files, which must be empty if it exists.
        to: the runtime.

    Returns:
        The paths of the files.

    Raises:
        ModelError: if the folder is not empty, or the runtime cannot run this model.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} already exists and is not empty; choose another folder")
    overrides = ["decoding.precision=fp32", "training.device=cpu"]
    loaded = load_model(model, checkpoint, overrides)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        WRITERS[to](loaded.translator.model, loaded.translator.tokenizer, loaded.config, folder)
    except ModelError:
        if not any(folder.iterdir()):
            folder.rmdir()
        raise
    return sorted(folder.iterdir())
