"""Checkpoints: the weights as safetensors and the trainer's state, written completely or not at all."""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from nmt.atomic import ON_WINDOWS, replace, sync_file
from nmt.config import Metric
from nmt.errors import CheckpointError
from nmt.evaluation.metrics import ranking_key
from nmt.regular import MIB, open_regular, read_regular
from nmt.runs.folder import RunFolder, resolved
from nmt.runs.pointers import follow, point
from nmt.runs.weights import LARGEST_WEIGHTS, WEIGHTS, mean_weights, save_weights, write_weights

log = logging.getLogger(__name__)


FORMAT = 1  # raise it when older programs could not read what is written


_STEP = re.compile(r"step-(\d+)$")


_STATE, _MANIFEST = "state.pt", "manifest.json"
_LARGEST_MANIFEST = 1 * MIB
_LARGEST = {WEIGHTS: LARGEST_WEIGHTS, _STATE: 3 * LARGEST_WEIGHTS}  # the optimizer keeps two numbers for each weight


def checkpoint_name(update: int) -> str:
    """Return the name of the checkpoint that is saved after an update."""
    return f"step-{update:06d}"


def save_checkpoint(folder: Path, update: int, model: nn.Module, state: dict[str, Any]) -> Path:
    """Write ``step-<update>/{model.safetensors, state.pt}`` and point `last` at it.

    Everything is written to a temporary folder, synced and then renamed, so a crash leaves the old checkpoints intact.

    Args:
        folder: the run's folder ``checkpoints``.
        update: number of updates done.
        model: the model whose parameters are saved.
        state: the trainer's state, which may hold only tensors, numbers, strings, lists and dicts.

    Returns:
        The checkpoint's folder.
    """
    final = folder / checkpoint_name(update)
    with _written(final) as tmp_path:
        save_weights(model, tmp_path / WEIGHTS)
        torch.save(state, tmp_path / _STATE)
    point(folder / "last", final.name)
    return final


@contextmanager
def _written(final: Path) -> Iterator[Path]:
    """Yield a temporary folder for a checkpoint, which becomes `final` if the block succeeds and else is removed.

    Raises:
        CheckpointError: if it cannot be written.
    """
    tmp_path = final.with_name(f".{final.name}.tmp")
    shutil.rmtree(tmp_path, ignore_errors=True)
    try:
        tmp_path.mkdir(parents=True)
        yield tmp_path
        _publish(tmp_path, final)
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors raise no OSError for a full disk
        raise CheckpointError(f"{final}: cannot be written: {error}. {remedy_for_writing(error)}") from None
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)


def remedy_for_writing(error: Exception) -> str:
    """Return what to do if a run's files cannot be written: make room, unless another cause is known."""
    numbers = (errno.ENOSPC, errno.EDQUOT)
    if getattr(error, "errno", None) in numbers or any(os.strerror(number) in str(error) for number in numbers):
        remedy = "Free some space"
    elif isinstance(error, OSError):
        remedy = "Correct that"
    else:
        remedy = "Free some space, or make sure that the folder is writable"
    return f"{remedy}; the same command then resumes from the last checkpoint"


def _publish(tmp_path: Path, final: Path) -> None:
    """Write the manifest of a checkpoint and give it its name; an older one is kept until the new one is in place."""
    files = [path for path in (tmp_path / WEIGHTS, tmp_path / _STATE) if path.exists()]
    manifest = {"format": FORMAT, "sha256": {path.name: _digest(path) for path in files}}
    (tmp_path / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for path in (*files, tmp_path / _MANIFEST, tmp_path):
        _sync(path)
    replaced = final.with_name(f".{final.name}.old")
    if final.exists():
        replace(final, replaced)
    replace(tmp_path, final)
    _sync(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of a process that died while it wrote a checkpoint.

    If it was replacing an older checkpoint, that one is restored.
    """
    for replaced in folder.glob(".*.old"):
        final = replaced.with_name(replaced.name[1:].removesuffix(".old"))
        if final.exists():
            shutil.rmtree(replaced)
        else:
            replace(replaced, final)
    for unfinished in folder.glob(".*.tmp"):
        if unfinished.is_dir() and not unfinished.is_symlink():
            shutil.rmtree(unfinished)
        else:
            unfinished.unlink()


def find_damage(checkpoint: Path, to_train: bool = False) -> str | None:
    """Return what is wrong with a checkpoint, judging by its manifest and its files' checksums; None if it is intact.

    Args:
        checkpoint: the folder of the checkpoint.
        to_train: whether to check the trainer's state in addition to the weights.

    Raises:
        CheckpointError: if a newer version of this program wrote it.
    """
    try:
        manifest = json.loads(read_regular(checkpoint / _MANIFEST, _LARGEST_MANIFEST))
        written, digests = int(manifest["format"]), dict(manifest["sha256"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return f"{_MANIFEST} is missing or damaged"
    if written > FORMAT:
        raise CheckpointError(
            f"{checkpoint}: it was written in format {written} by a newer nmt; this one reads formats up to {FORMAT}, "
            f"so upgrade nmt"
        )
    if WEIGHTS not in digests or not set(digests) <= {WEIGHTS, _STATE}:
        return f"{_MANIFEST} names other files than a checkpoint has"
    for name in (WEIGHTS, _STATE) if to_train else (WEIGHTS,):
        try:
            if _digest(checkpoint / name) != digests.get(name):
                return f"{name} has changed since it was written (its checksum differs)"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None


def _digest(path: Path) -> str:
    with open_regular(path, _LARGEST[path.name]) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def prune(folder: Path, keep_last: int, validated: Collection[str], keep: Collection[str] = ()) -> None:
    """Delete old checkpoints.

    Four kinds are kept: the newest checkpoint, the best one, the `keep_last` newest of the validated ones, and those in
    `keep`. A checkpoint that an interruption saved between two validations is deleted once there is a newer one, so
    that a resumed run ends with the same checkpoints as an uninterrupted one.

    Args:
        folder: the folder of the checkpoints.
        keep_last: how many of the validated checkpoints are kept.
        validated: names of the checkpoints that were validated.
        keep: names of further checkpoints that are kept.
    """
    kept = kept_checkpoints(folder)
    names = [path.name for path in kept if path.name in validated][-keep_last:]
    for path in kept[:-1]:
        if path.name not in (*names, *keep, resolved(folder / "best").name):
            shutil.rmtree(path, ignore_errors=ON_WINDOWS)  # where another program may be reading it


def rank_checkpoints(
    folder: Path, values: Mapping[str, tuple[float, float]], best_by: Metric | None = None
) -> list[Path]:
    """Return the existing checkpoints that were validated, the newest or the best first.

    Args:
        folder: the run's folder ``checkpoints``.
        values: name of each validated checkpoint → its metric and loss.
        best_by: the metric by which the best comes first; None for the newest first.
    """
    kept = [path for path in kept_checkpoints(folder) if path.name in values]
    if best_by is None:
        return kept[::-1]
    return sorted(kept, key=lambda path: ranking_key(best_by, *values[path.name]), reverse=True)


def validation_values(folder: Path) -> dict[str, tuple[float, float]]:
    """Return the metric and the loss of each validated checkpoint, by the checkpoint's name.

    Raises:
        CheckpointError: if the state of the newest checkpoint does not hold these values.
    """
    last = newest_checkpoint(folder)
    if last is None:
        return {}
    try:
        values = load_state(last)["progress"]["values"]
        return {str(name): (float(value), float(loss)) for name, (value, loss) in values.items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{last}: the trainer's state is damaged ({error}); remove that folder") from None


def intact_checkpoint(run: RunFolder, name: str | None = None) -> Path:
    """Return the folder of the checkpoint to use. Without a name, damaged checkpoints are skipped with a warning.

    Args:
        run: a run folder.
        name: `best`, `last`, ``step-<update>`` or the name of a mean; None for the first that is usable of the best,
            the last and the others from the newest on.

    Raises:
        CheckpointError: if there is no usable checkpoint, or the named one is damaged.
    """
    if name is not None:
        chosen = resolved(run.checkpoint(name))
        if (wrong := find_damage(chosen)) is not None:
            raise CheckpointError(f"{chosen}: damaged: {wrong}; choose another one with --checkpoint")
        return chosen
    named = [run.checkpoints / link for link in ("best", "last")]
    for link in [*named, *reversed(kept_checkpoints(run.checkpoints))]:
        if not follow(link).exists():
            continue
        candidate = resolved(link)  # training may move the links at any moment
        if (wrong := find_damage(candidate)) is None:
            if link.name != "best":
                log.warning("%s: there is no usable best checkpoint; %s is used", run.path, candidate.name)
            return candidate
        log.warning("%s is damaged, so it is skipped: %s", candidate, wrong)
    return run.checkpoint()  # raises an error if there is none


def load_state(folder: Path) -> dict[str, Any]:
    """Return the trainer's state of a checkpoint; only plain data are unpickled.

    Raises:
        CheckpointError: if it is missing or damaged.
    """
    path = folder / _STATE
    try:
        with open_regular(path, _LARGEST[_STATE]) as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; the run cannot be resumed from here") from None
    except Exception as error:  # torch raises many kinds for a damaged file
        raise CheckpointError(f"{path}: damaged: {error}") from None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: damaged: it contains no trainer's state; remove {folder}")
    return state


def average_checkpoints(checkpoints: Sequence[Path], target: Path) -> None:
    """Write a checkpoint with the mean weights of other checkpoints; it has no trainer's state.

    Args:
        checkpoints: at least one checkpoint, all of the same run.
        target: the folder of the new checkpoint, which is replaced if it exists.

    Raises:
        CheckpointError: if a checkpoint is missing or damaged, they are not of the same model, or the mean cannot be
            written.
    """
    for checkpoint in checkpoints:
        if (wrong := find_damage(checkpoint)) is not None:
            raise CheckpointError(f"{checkpoint}: cannot be averaged, it is damaged: {wrong}")
    write_checkpoint(target, mean_weights(checkpoints))


def write_checkpoint(target: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write a checkpoint that has only weights; an existing one is replaced.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with _written(target) as tmp_path:
        write_weights(weights, tmp_path / WEIGHTS)


def write_model(target: Path, model: nn.Module) -> None:
    """Write a checkpoint that has only the weights of a model; an existing one is replaced.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with _written(target) as tmp_path:
        save_weights(model, tmp_path / WEIGHTS)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that training can continue from, or None; damaged ones are skipped."""
    for checkpoint in reversed(kept_checkpoints(folder)):
        if (wrong := find_damage(checkpoint, to_train=True)) is None:
            return checkpoint
        log.warning("%s is damaged, so the one before it is used: %s", checkpoint, wrong)
    return None


def kept_checkpoints(folder: Path) -> list[Path]:
    """Return the folders of the checkpoints ``step-<update>``, in the order of their updates."""
    found = [
        (int(match[1]), path)
        for path in (folder.iterdir() if folder.is_dir() else ())
        if (match := _STEP.match(path.name))
    ]
    return [path for _, path in sorted(found)]


def _sync(path: Path) -> None:
    """Force a file or folder to be written to the disk now, if the system supports that."""
    if not path.is_dir():
        sync_file(path)
        return
    if ON_WINDOWS:  # it cannot open folders
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
