"""A model in one file: one checkpoint's weights without the trainer's state, and everything needed to use them."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from nmt.atomic import atomic_write, temporary_name
from nmt.config import DataConfig
from nmt.errors import CheckpointError, out_of_memory
from nmt.regular import MIB
from nmt.runs.checkpoint import intact_checkpoint, write_checkpoint
from nmt.runs.folder import RunFolder
from nmt.runs.pointers import point
from nmt.runs.weights import LARGEST_WEIGHTS, WEIGHTS

Precision = Literal["fp32", "bf16", "int8"]
_FORMAT = 1  # raise it when older programs could not read what is written
_INDEX = "pack.json"
_FILES = ("config.yaml", "versions.json", "calibration.json")
_FOLDERS = ("tokenizer", "aligner")
_LARGEST_FILE = 512 * MIB  # the largest size of each file other than the weights
_MOST_FILES = 100
_SCALE = ".scale"  # the suffix of the name of an int8 tensor's scales
_DATE = (1980, 1, 1, 0, 0, 0)  # always the same, so that the same content gives the same bytes


def pack(
    run: RunFolder, target: Path, checkpoint: str | None, precision: Precision, config: bytes | None = None
) -> Path:
    """Write a run's model as a zip file.

    Args:
        run: the run folder.
        target: the file to write.
        checkpoint: the name of the checkpoint; None for the best.
        precision: how the weights are stored: unchanged, in bfloat16, or the matrices in 8 bits with a scale for each
            row.
        config: the content of ``config.yaml``; None for that of the run.

    Returns:
        The folder of the checkpoint that was packed.

    Raises:
        CheckpointError: if the run has no intact checkpoint, or the file cannot be written.
    """
    run.refuse_strange_files()
    folder = intact_checkpoint(run, checkpoint)
    weights = _reduced(load((folder / WEIGHTS).read_bytes()), precision)
    files = {name: (run.path / name).read_bytes() for name in _FILES if (run.path / name).is_file()}
    if config is not None:
        files["config.yaml"] = config
    for name in _FOLDERS:
        files |= {f"{name}/{path.name}": path.read_bytes() for path in sorted((run.path / name).glob("*"))}
    files[WEIGHTS] = save({name: weights[name].contiguous() for name in sorted(weights)})
    index = {
        "format": _FORMAT,
        "precision": precision,
        "checkpoint": folder.name,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
    }
    try:
        with atomic_write(target) as tmp_path, zipfile.ZipFile(tmp_path, "w") as archive:
            for name, content in {
                _INDEX: json.dumps(index, indent=2).encode() + b"\n",
                **dict(sorted(files.items())),
            }.items():
                info = zipfile.ZipInfo(name, _DATE)
                info.external_attr = 0o644 << 16
                archive.writestr(info, content, zipfile.ZIP_DEFLATED)
    except OSError as error:
        raise CheckpointError(f"{target}: cannot be written: {error.strerror}") from None
    return folder


def unpacked(archive: Path) -> Path:
    """Unpack a packed model into the cache, unless the same archive was unpacked before, and return its run folder.

    Raises:
        CheckpointError: if it is not a packed model, is damaged, or holds a file that no packed model has.
    """
    try:
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:20]
    except OSError as error:
        raise CheckpointError(f"{archive}: cannot be read: {error.strerror}") from None
    cache = Path(str(DataConfig.model_fields["cache_dir"].default)).expanduser() / "packed" / digest
    folder = cache / (archive.stem.lstrip(".") or "model")
    if (folder / "config.yaml").exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    tmp_path = temporary_name(folder)
    try:
        _extract(archive, tmp_path)
        with contextlib.suppress(OSError):  # another process was faster
            os.rename(tmp_path, folder)
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)
    return folder


def _extract(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            index = json.loads(_read(opened, _INDEX, MIB))
            if index["format"] > _FORMAT:
                raise CheckpointError(f"{archive}: it was packed by a newer nmt; upgrade nmt")
            names = dict(index["sha256"])
            if len(names) > _MOST_FILES or WEIGHTS not in names or "config.yaml" not in names:
                raise ValueError("it does not contain the files of a packed model")
            checkpoint = str(index["checkpoint"])
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", checkpoint) or checkpoint in ("best", "last"):
                raise ValueError(f"{checkpoint!r} is not the name of a checkpoint")
            for name, digest in names.items():
                if not _is_ours(name):
                    raise ValueError(f"it contains {name!r}, which is not part of a packed model")
                content = _read(opened, name, LARGEST_WEIGHTS if name == WEIGHTS else _LARGEST_FILE)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise ValueError(f"{name} is not the file that was packed")
                if name == WEIGHTS:
                    checkpoints = folder / "checkpoints"
                    write_checkpoint(checkpoints / checkpoint, _restored(load(content)))
                    point(checkpoints / "best", checkpoint)
                    continue
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    except (
        zipfile.BadZipFile,
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
        NotImplementedError,
    ) as error:
        raise CheckpointError(f"{archive}: this is not a packed model, or it is damaged: {error}") from None
    except (zlib.error, EOFError, RuntimeError, OverflowError, struct.error) as error:
        if out_of_memory(error):
            raise
        raise CheckpointError(f"{archive}: this is not a packed model, or it is damaged: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{archive}: cannot be unpacked: {error.strerror or error}") from None


def _is_ours(name: str) -> bool:
    parts = name.split("/")
    if len(parts) == 1:
        return name in (*_FILES, WEIGHTS)
    return (
        len(parts) == 2 and parts[0] in _FOLDERS and Path(parts[1]).name == parts[1] and parts[1] not in ("", ".", "..")
    )


def _read(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """Return a member of the archive; refuse one larger than `limit` without relying on the size that is declared."""
    if archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{name} is compressed in a way that nmt pack never uses")
    with archive.open(name) as member:
        content = member.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"{name} is larger than that of any model")
    return content


def _reduced(weights: dict[str, torch.Tensor], precision: Precision) -> dict[str, torch.Tensor]:
    if precision == "fp32":
        return weights
    reduced: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if precision == "bf16" or weight.dim() < 2:
            reduced[name] = weight.to(torch.bfloat16 if precision == "bf16" else torch.float32)
            continue
        scale = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12) / 127  # [rows]
        rows = scale.view(-1, *[1] * (weight.dim() - 1))
        reduced[name], reduced[name + _SCALE] = (weight / rows).round().to(torch.int8), scale
    return reduced


def _restored(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights in float32."""
    restored = {}
    for name, weight in weights.items():
        if weight.dtype == torch.int8:
            scale = weights[name + _SCALE].float()
            restored[name] = weight.float() * scale.view(-1, *[1] * (weight.dim() - 1))
        elif not (name.endswith(_SCALE) and weights.get(name.removesuffix(_SCALE), weight).dtype == torch.int8):
            restored[name] = weight.float()
    return restored
