"""Checkpoints: the weights as safetensors, the trainer's state beside them, written whole or not at all."""

import os
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_file, save_model
from torch import nn

from nmt.errors import CheckpointError
from nmt.run_folder import point

_STEP = re.compile(r"step-(\d+)$")


def checkpoint_name(update: int) -> str:
    """The name of the checkpoint after an update."""
    return f"step-{update:06d}"


def save_checkpoint(folder: Path, update: int, model: nn.Module, state: dict[str, Any]) -> Path:
    """Write ``step-<update>/{model.safetensors, state.pt}`` and point `last` at it.

    Everything is written beside, synced and renamed, so a crash leaves the old checkpoints as they were.

    Args:
        folder: the run's ``checkpoints``.
        update: number of updates done.
        model: its parameters are saved.
        state: tensors, numbers, strings, lists and dicts only.

    Returns:
        The checkpoint's folder.
    """
    final = folder / checkpoint_name(update)
    beside = folder / f".{final.name}.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_model(model, str(beside / "model.safetensors"))
    torch.save(state, beside / "state.pt")
    for path in (beside / "model.safetensors", beside / "state.pt", beside):
        _sync(path)
    if final.exists():
        shutil.rmtree(final)
    os.replace(beside, final)
    _sync(folder)
    point(folder / "last", final.name)
    return final


def prune(folder: Path, keep_last: int, keep: Collection[str] = ()) -> None:
    """Remove all checkpoints but the `keep_last` newest, the best, and those named in `keep`."""
    best = (folder / "best").resolve().name
    for path in kept_checkpoints(folder)[:-keep_last]:
        if path.name != best and path.name not in keep:
            shutil.rmtree(path)


def load_weights(folder: Path, model: nn.Module) -> None:
    """Read ``model.safetensors`` of a checkpoint into `model`.

    Raises:
        CheckpointError: if it is missing, damaged or of another shape.
    """
    path = folder / "model.safetensors"
    try:
        load_model(model, str(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except (SafetensorError, RuntimeError, OSError) as error:
        raise CheckpointError(f"{path}: damaged, or not of this configuration: {error}") from None


def load_state(folder: Path) -> dict[str, Any]:
    """Read the trainer's state of a checkpoint; nothing but plain data is unpickled.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    path = folder / "state.pt"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; the run cannot be resumed from here") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path}: damaged: {error}") from None
    return state


def average_checkpoints(checkpoints: Sequence[Path], target: Path) -> None:
    """Write a checkpoint whose weights are the mean of others'; it has no trainer's state.

    Args:
        checkpoints: of one run, at least one.
        target: the new checkpoint's folder; one that is there is replaced.

    Raises:
        CheckpointError: if one is missing or damaged, or they are not of one model.
    """
    means: dict[str, torch.Tensor] = {}
    metadata: dict[str, str] | None = None
    for checkpoint in checkpoints:
        path = checkpoint / "model.safetensors"
        try:
            with safe_open(str(path), framework="pt") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
                metadata = file.metadata()
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: cannot be averaged: {error}") from None
        shapes = {name: weight.shape for name, weight in weights.items()}
        if means and shapes != {name: mean.shape for name, mean in means.items()}:
            raise CheckpointError(f"{path}: not of the same model as {checkpoints[0]}")
        for name, weight in weights.items():
            share = weight.double() / len(checkpoints)
            means[name] = means[name] + share if name in means else share
    beside = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    save_file({name: mean.float() for name, mean in means.items()}, str(beside / "model.safetensors"), metadata)
    _sync(beside / "model.safetensors")
    shutil.rmtree(target, ignore_errors=True)
    os.replace(beside, target)
    _sync(target.parent)


def newest(folder: Path) -> Path | None:
    """The checkpoint of the most updates that training can go on from, or None if there is none."""
    return next((path for path in reversed(kept_checkpoints(folder)) if (path / "state.pt").exists()), None)


def kept_checkpoints(folder: Path) -> list[Path]:
    """The run's own checkpoints, in the order of their updates."""
    found = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _STEP.match(path.name))
    ]
    return [path for _, path in sorted(found)]


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
