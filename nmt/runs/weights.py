"""The weights of a model as a safetensors file: writing them in a fixed order, checking, loading and averaging them."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_file
from torch import nn

from nmt.errors import CheckpointError
from nmt.regular import GIB, MIB, open_regular

WEIGHTS = "model.safetensors"
LARGEST_WEIGHTS = 16 * GIB  # bytes, enough for four billion parameters
_LARGEST_HEADER = 10 * MIB  # bytes; the names of a model's tensors take some kilobytes
_NO_DAMAGE = (SafetensorError, OSError, ValueError)  # what safetensors raises for a damaged file


def save_weights(model: nn.Module, path: Path) -> None:
    """Write the parameters and saved buffers of a model; those that share memory are written once.

    The same weights give the same bytes: names are sorted, and there are no metadata, whose order would be random.

    Raises:
        OSError: if the file cannot be written.
        SafetensorError: likewise.
    """
    unique: dict[int, tuple[str, torch.Tensor]] = {}
    for name, tensor in sorted(model.state_dict(keep_vars=True).items()):
        unique.setdefault(id(tensor), (name, tensor.detach()))
    write_weights(dict(unique.values()), path)


def write_weights(weights: dict[str, torch.Tensor], path: Path) -> None:
    """Write tensors in the order of their names, with the permissions that the umask gives to a new file."""
    path.touch()
    mode = path.stat().st_mode & 0o777
    save_file({name: weights[name].contiguous() for name in sorted(weights)}, str(path))
    path.chmod(mode)  # safetensors creates files that only their owner can read


def check_weights(checkpoint: Path, model: nn.Module) -> None:
    """Refuse weights that do not fit `model`, before memory is allocated for them.

    Args:
        checkpoint: a folder with ``model.safetensors``.
        model: the model whose shapes the weights must have; it may be on the meta device.

    Raises:
        CheckpointError: naming a tensor that is missing or unknown, or has another shape or type.
    """
    path = checkpoint / WEIGHTS
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found: dict[str, tuple[tuple[int, ...], str]] = {}
    try:
        _refuse_large_header(path)
        with safe_open(str(path), framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                if name not in wanted:
                    raise CheckpointError(f"{path}: holds '{name}', which a model of this configuration does not have")
                part = file.get_slice(name)
                found[name] = tuple(part.get_shape()), part.get_dtype()
    except _NO_DAMAGE as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None
    for name, (shape, kind) in found.items():
        if shape != wanted[name] or kind != "F32":
            raise CheckpointError(
                f"{path}: '{name}' is {kind} of shape {shape}; according to config.yaml and the tokenizer, it must be "
                f"F32 of {wanted[name]}"
            )
    if sum(math.prod(shape) for shape, _ in found.values()) != sum(one.numel() for one in _stored(model)):
        missing = sorted(wanted.keys() - found.keys())
        raise CheckpointError(f"{path}: not all weights are there; missing or shared: {', '.join(missing[:3])}")


def _stored(model: nn.Module) -> list[torch.Tensor]:
    """Return every parameter and saved buffer once, even if it has several names."""
    return list({id(tensor): tensor for tensor in model.state_dict(keep_vars=True).values()}.values())


def _refuse_large_header(path: Path) -> None:
    """Refuse a file whose header is larger than that of any model, before the header is parsed.

    Raises:
        OSError: if the file cannot be read.
        CheckpointError: if its header is too large.
    """
    with open_regular(path, LARGEST_WEIGHTS) as file:
        size = int.from_bytes(file.read(8), "little")
    if size > _LARGEST_HEADER:
        raise CheckpointError(f"{path}: damaged: its header has {size} bytes, more than {_LARGEST_HEADER}")


def load_weights(folder: Path, model: nn.Module) -> None:
    """Read ``model.safetensors`` of a checkpoint into `model`.

    Raises:
        CheckpointError: if it is missing, damaged or of another shape.
    """
    path = folder / WEIGHTS
    try:
        _refuse_large_header(path)
        load_model(model, str(path))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except (*_NO_DAMAGE, RuntimeError) as error:
        raise CheckpointError(f"{path}: damaged, or not of this configuration: {error}") from None


def weight_sizes(checkpoint: Path) -> tuple[int, int]:
    """Return the number of parameters of a checkpoint, and the size of their file in bytes.

    Raises:
        CheckpointError: if it is damaged.
    """
    path = checkpoint / WEIGHTS
    try:
        _refuse_large_header(path)
        with safe_open(str(path), framework="pt") as file:
            count = sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - no mapping
    except _NO_DAMAGE as error:
        raise CheckpointError(f"{path}: damaged: {error}") from None
    return count, path.stat().st_size


def mean_weights(checkpoints: Sequence[Path]) -> dict[str, torch.Tensor]:
    """Return the mean of the weights of several checkpoints of one model.

    Raises:
        CheckpointError: if a checkpoint cannot be read, or they are not of the same model.
    """
    means: dict[str, torch.Tensor] = {}
    for checkpoint in checkpoints:
        path = checkpoint / WEIGHTS
        try:
            _refuse_large_header(path)
            with safe_open(str(path), framework="pt") as file:
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        except _NO_DAMAGE as error:
            raise CheckpointError(f"{path}: cannot be averaged: {error}") from None
        shapes = {name: weight.shape for name, weight in weights.items()}
        if means and shapes != {name: mean.shape for name, mean in means.items()}:
            raise CheckpointError(f"{path}: not of the same model as {checkpoints[0]}")
        for name, weight in weights.items():
            share = weight.double() / len(checkpoints)
            means[name] = means[name] + share if name in means else share
    return {name: mean.float() for name, mean in means.items()}
