"""Weights in lower precision, for faster translation."""

import contextlib
import copy
import warnings
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from nmt.errors import ConfigError
from nmt.model.seq2seq import Seq2Seq


def in_precision(model: Seq2Seq, precision: Literal["fp32", "bf16", "int8"], device: torch.device) -> Seq2Seq:
    """Convert the weights of a model to a precision, in place, and move it to a device; softmaxes stay in float32.

    Args:
        model: a model with float32 weights.
        precision: `fp32`; `bf16`; or `int8`, which quantises the output layer to 8 bits, with one scale for each piece,
            and converts the rest to bfloat16. The output layer's inputs are quantised dynamically.
        device: where to compute.

    Returns:
        The same model.

    Raises:
        ConfigError: if `precision` is `int8` and the device is not a CPU.
    """
    if precision == "int8":
        if device.type != "cpu":
            raise ConfigError(f"decoding.precision: int8 works only on a CPU, not on {device}; use bf16")
        model.output = _Int8Linear(model.output)  # type: ignore[assignment]
    return model.to(device, torch.float32 if precision == "fp32" else torch.bfloat16)


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """Compute 8-bit products with the best engine that torch has on this machine.

    On x86 this is onednn, which is a quarter faster than the default. On ARM it is qnnpack; there may be no default.
    """
    quantized = torch.backends.quantized
    before = quantized.engine
    quantized.engine = next((name for name in ("onednn", "qnnpack") if name in quantized.supported_engines), before)
    try:
        yield
    finally:
        if before != "none":
            quantized.engine = before


class _Int8Linear(nn.Module):
    """A linear layer whose weights are 8-bit integers."""

    def __init__(self, layer: nn.Linear):
        super().__init__()
        wanted = torch.ao.quantization.per_channel_dynamic_qconfig
        with warnings.catch_warnings(), _engine():
            warnings.simplefilter("ignore")  # torch warns that it will move this API
            holder = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
                nn.Sequential(copy.deepcopy(layer).float()), {nn.Linear: wanted}
            )
        self._quantised = [holder[0]]  # in a list, so that its weights are not parameters and are not cast

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits ``[..., V]`` of features ``[..., F]``, in float32."""
        quantised: Tensor = self._quantised[0](features.float())
        return quantised
