"""Checkpoints: the weights as safetensors, the trainer's state beside them, written whole or not at all."""

import hashlib
import json
import logging
import math
import os
import re
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_file, save_model
from torch import nn

from nmt.config import Metric
from nmt.errors import CheckpointError
from nmt.evaluation.metrics import ranking_key
from nmt.runs.folder import RunFolder, replace_symlink

log = logging.getLogger("nmt")


FORMAT = 1  # raise it when older programs could not read what is written


_STEP = re.compile(r"step-(\d+)$")


_WEIGHTS, _STATE, _MANIFEST = "model.safetensors", "state.pt", "manifest.json"


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
    tmp_path = folder / f".{final.name}.tmp"
    shutil.rmtree(tmp_path, ignore_errors=True)
    try:
        tmp_path.mkdir(parents=True)
        save_model(model, str(tmp_path / _WEIGHTS))
        torch.save(state, tmp_path / _STATE)
        _publish(tmp_path, final)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{final}: cannot be written: {error}. Make room, or see that the folder can be written; the same command "
            f"then goes on from the checkpoint before"
        ) from None
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)
    replace_symlink(folder / "last", final.name)
    return final


def _publish(tmp_path: Path, final: Path) -> None:
    """Give a written checkpoint its manifest and its name; an older one of that name stays until this one is there."""
    files = [path for path in (tmp_path / _WEIGHTS, tmp_path / _STATE) if path.exists()]
    manifest = {"format": FORMAT, "sha256": {path.name: _digest(path) for path in files}}
    (tmp_path / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for path in (*files, tmp_path / _MANIFEST, tmp_path):
        _sync(path)
    replaced = final.with_name(f".{final.name}.old")
    if final.exists():
        os.replace(final, replaced)
    os.replace(tmp_path, final)
    _sync(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Clear away what a process left that died while it wrote a checkpoint; one that was being replaced comes back."""
    for replaced in folder.glob(".*.old"):
        final = replaced.with_name(replaced.name[1:].removesuffix(".old"))
        if final.exists():
            shutil.rmtree(replaced)
        else:
            os.replace(replaced, final)
    for unfinished in folder.glob(".*.tmp"):
        if unfinished.is_dir() and not unfinished.is_symlink():
            shutil.rmtree(unfinished)
        else:
            unfinished.unlink()


def find_damage(checkpoint: Path, to_train: bool = False) -> str | None:
    """What is wrong with a checkpoint's files, by its manifest and their checksums; None if nothing is.

    Args:
        checkpoint: its folder.
        to_train: whether the trainer's state is needed, too, and not the weights alone.

    Raises:
        CheckpointError: if a newer version of this program wrote it.
    """
    try:
        manifest = json.loads((checkpoint / _MANIFEST).read_text(encoding="utf-8"))
        written, digests = int(manifest["format"]), dict(manifest["sha256"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return f"{_MANIFEST} is missing or damaged"
    if written > FORMAT:
        raise CheckpointError(
            f"{checkpoint}: written in format {written} by a newer nmt; this one reads up to {FORMAT}, so upgrade it"
        )
    if _WEIGHTS not in digests or not set(digests) <= {_WEIGHTS, _STATE}:
        return f"{_MANIFEST} names other files than a checkpoint has"
    for name in (_WEIGHTS, _STATE) if to_train else (_WEIGHTS,):
        try:
            if _digest(checkpoint / name) != digests.get(name):
                return f"{name} is not what was written (its checksum differs)"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prune(folder: Path, keep_last: int, validated: Collection[str], keep: Collection[str] = ()) -> None:
    """Remove all checkpoints but the newest, the `keep_last` newest of those `validated`, the best, and `keep`.

    What an interruption saved between two validations thus goes when it is no longer needed, and a resumed run keeps
    what an undisturbed one does.
    """
    kept = kept_checkpoints(folder)
    names = [path.name for path in kept if path.name in validated][-keep_last:]
    for path in kept[:-1]:
        if path.name not in (*names, *keep, (folder / "best").resolve().name):
            shutil.rmtree(path)


def rank_checkpoints(
    folder: Path, values: Mapping[str, tuple[float, float]], best_by: Metric | None = None
) -> list[Path]:
    """Return the kept checkpoints that were validated, the newest or the best first.

    Args:
        folder: the run's ``checkpoints``.
        values: metric and loss of each validated checkpoint, by its name.
        best_by: the metric's name; None for the newest first.
    """
    kept = [path for path in kept_checkpoints(folder) if path.name in values]
    if best_by is None:
        return kept[::-1]
    return sorted(kept, key=lambda path: ranking_key(best_by, *values[path.name]), reverse=True)


def validation_values(folder: Path) -> dict[str, tuple[float, float]]:
    """Return metric and loss of each validated checkpoint, by its name.

    Raises:
        CheckpointError: if the newest checkpoint's state holds no such values.
    """
    last = newest_checkpoint(folder)
    if last is None:
        return {}
    try:
        values = load_state(last)["progress"]["values"]
        return {str(name): (float(value), float(loss)) for name, (value, loss) in values.items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{last}: the trainer's state is damaged ({error}); remove that folder") from None


def intact_checkpoint(run: RunFolder, name: str | None = None) -> Path:
    """The checkpoint to use; a damaged one that nobody named is passed over, with a warning.

    Args:
        run: a run folder.
        name: `best`, `last`, ``step-<update>`` or an average's name; None for the best, else the last, else the newest.

    Raises:
        CheckpointError: if there is none, or the named one is damaged.
    """
    if name is not None:
        chosen = run.checkpoint(name)
        if (wrong := find_damage(chosen)) is not None:
            raise CheckpointError(f"{chosen}: damaged: {wrong}; choose another one with --checkpoint")
        return chosen
    named = [run.checkpoints / link for link in ("best", "last")]
    for candidate in [*named, *reversed(kept_checkpoints(run.checkpoints))]:
        if not candidate.exists():
            continue
        if (wrong := find_damage(candidate)) is None:
            if candidate.name != "best":
                log.warning("%s: there is no usable best checkpoint; %s is used", run.path, candidate.resolve().name)
            return candidate
        log.warning("%s is damaged and passed over: %s", candidate, wrong)
    return run.checkpoint()  # which says that there is none


def check_weights(checkpoint: Path, model: nn.Module) -> None:
    """Refuse weights that are not those of `model`, before memory is taken for them.

    Args:
        checkpoint: a folder with ``model.safetensors``.
        model: its shapes are compared; it may be on the meta device.

    Raises:
        CheckpointError: naming a tensor that is unknown, or has another shape or type.
    """
    path = checkpoint / _WEIGHTS
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    try:
        with safe_open(str(path), framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            found = {name: (tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None
    for name, (shape, kind) in found.items():
        if name not in wanted:
            raise CheckpointError(f"{path}: holds '{name}', which a model of this configuration does not have")
        if shape != wanted[name] or kind != "F32":
            raise CheckpointError(
                f"{path}: '{name}' is {kind} of shape {shape}; by config.yaml and tokenizer it is F32 of {wanted[name]}"
            )
    if sum(math.prod(shape) for shape, _ in found.values()) != sum(one.numel() for one in _stored(model)):
        missing = sorted(wanted.keys() - found.keys())
        raise CheckpointError(f"{path}: not all weights are there; missing or shared: {', '.join(missing[:3])}")


def _stored(model: nn.Module) -> list[torch.Tensor]:
    """Every parameter and saved buffer once, however many names it has."""
    return list({id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}.values())


def load_weights(folder: Path, model: nn.Module) -> None:
    """Read ``model.safetensors`` of a checkpoint into `model`.

    Raises:
        CheckpointError: if it is missing, damaged or of another shape.
    """
    path = folder / _WEIGHTS
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
    path = folder / _STATE
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
        if (wrong := find_damage(checkpoint)) is not None:
            raise CheckpointError(f"{checkpoint}: cannot be averaged, it is damaged: {wrong}")
        path = checkpoint / _WEIGHTS
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
    tmp_path = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(tmp_path, ignore_errors=True)
    tmp_path.mkdir(parents=True)
    save_file({name: mean.float() for name, mean in means.items()}, str(tmp_path / _WEIGHTS), metadata)
    _publish(tmp_path, target)


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint of the most updates that training can go on from, or None; damaged ones are passed over."""
    for checkpoint in reversed(kept_checkpoints(folder)):
        if (wrong := find_damage(checkpoint, to_train=True)) is None:
            return checkpoint
        log.warning("%s is damaged, the one before is taken: %s", checkpoint, wrong)
    return None


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
