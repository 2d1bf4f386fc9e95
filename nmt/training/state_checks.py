"""Checks of the trainer's state in a checkpoint, since the file may be damaged or come from somebody else."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

_OF_ADAM = {"step", "exp_avg", "exp_avg_sq"}
_OF_SGD = {"momentum_buffer"}


def whole_number(state: Mapping[str, Any], key: str) -> int:
    """Return the whole number of 0 or more under a key of a state.

    Raises:
        KeyError: if the key is missing.
        ValueError: if the value is not such a number.
    """
    value = state[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{key} is {str(value)[:40]}, not a number of 0 or more")
    return value


def number(state: Mapping[str, Any], key: str, finite: bool = True) -> float:
    """Return the number under a key of a state; it must be finite unless `finite` is False, and is never NaN.

    Raises:
        KeyError: if the key is missing.
        ValueError: if the value is not such a number.
    """
    value = state[key]
    if not isinstance(value, int | float) or isinstance(value, bool) or math.isnan(value):
        raise ValueError(f"{key} is {str(value)[:40]}, not a number")
    if finite and not math.isfinite(value):
        raise ValueError(f"{key} is {value}")
    return value


def optimizer_state(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state that the optimizer can load: its own settings, and what was saved for each parameter.

    The tensors are checked because a wrong shape would crash the process in the fused update, without a message.

    Raises:
        KeyError: if something is missing.
        ValueError: if something has another name, shape or type.
    """
    own = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    names = _OF_SGD if isinstance(optimizer, torch.optim.SGD) else _OF_ADAM
    state: dict[int, dict[str, Any]] = {}
    for index, values in saved["state"].items():
        if not isinstance(index, int) or not 0 <= index < len(parameters) or set(values) != names:
            raise ValueError(f"the optimizer has no state {str(index)[:40]} of {', '.join(sorted(map(str, values)))}")
        shape = parameters[index].shape
        state[index] = {
            name: _checked(name, value, torch.Size() if name == "step" else shape) for name, value in values.items()
        }
    return {"state": state, "param_groups": own["param_groups"]}


def _checked(name: str, value: Any, shape: torch.Size) -> torch.Tensor | None:
    if value is None and name in _OF_SGD:  # no momentum
        return None
    if not isinstance(value, torch.Tensor) or value.layout != torch.strided or value.dtype != torch.float32:
        raise ValueError(f"the optimizer's {name} is not a tensor of float32")
    if value.shape != shape:
        raise ValueError(f"the optimizer's {name} has the shape {list(value.shape)}, not {list(shape)}")
    return value.detach().contiguous()


def tensors_like(parameters: Sequence[Tensor], state: Any) -> list[Tensor]:
    """Return saved tensors, one for each parameter, on the parameters' device; an empty list if none were saved.

    Args:
        parameters: the parameters whose shapes and types the tensors must have.
        state: the list of tensors in a checkpoint, which may be empty.

    Raises:
        ValueError: if the tensors do not have the parameters' shapes and types.
    """
    if not isinstance(state, list) or len(state) not in (0, len(parameters)):
        raise ValueError("the moving average is not of this model")
    for parameter, tensor in zip(parameters, state, strict=False):
        if not isinstance(tensor, Tensor) or (tensor.shape, tensor.dtype) != (parameter.shape, parameter.dtype):
            raise ValueError("the moving average is not of this model")
    return [tensor.to(parameter.device) for parameter, tensor in zip(parameters, state, strict=False)]
