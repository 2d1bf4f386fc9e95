"""Allocating a model, with an error message if its sizes are impossible."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nmt.config import Config
from nmt.errors import ConfigError
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq


def allocate_model(
    config: Config, src_size: int, tgt_size: int, device: torch.device | str = "cpu", is_loaded: bool = False
) -> Seq2Seq:
    """Return the model that the configuration describes, on a device; see `build_model`.

    Args:
        config: the configuration of the run.
        src_size: number of source pieces.
        tgt_size: number of target pieces.
        device: the device of the model; on ``meta`` it takes no memory.
        is_loaded: whether all weights will be loaded next, so that the model needs no random ones.

    Raises:
        ConfigError: if the sizes are too large for this machine or for any machine; the message names them.
    """
    meta = torch.device(device).type == "meta"
    has_values = not (meta or is_loaded)
    try:
        with torch.device("meta" if meta else "cpu"), nullcontext() if has_values else _WithoutValues():
            model = build_model(config, src_size, tgt_size, has_values)
        return model if meta else model.to(device)
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"no model can have these sizes here: {_sizes(config)}; {src_size} source and {tgt_size} target pieces "
            f"({reason}). Lower the largest of them"
        ) from None


class _WithoutValues(TorchFunctionMode):
    """Skips the random initialisation of torch's modules.

    On the device `meta`, which holds no values, torch would import its compiler for some initialisations, and that
    takes longer than the rest of `nmt translate`.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (nn.init.normal_, Tensor.normal_, Tensor.uniform_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _sizes(config: Config) -> str:
    """Return the settings that determine the size of a model, with their values, as text."""
    model: Any = config.model
    found = [
        (key, getattr(section, key.rpartition(".")[2], None))
        for section, keys in (
            (model, ("model.embedding_size",)),
            (model.encoder, ("model.encoder.hidden_size", "model.encoder.layers", "model.encoder.feed_forward")),
            (model.decoder, ("model.decoder.hidden_size", "model.decoder.layers", "model.decoder.feed_forward")),
            (model.attention, ("model.attention.size",)),
        )
        for key in keys
    ]
    return ", ".join(f"{key}={value}" for key, value in found if value is not None)
