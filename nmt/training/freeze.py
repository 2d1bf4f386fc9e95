"""Freezing parts of a model, so that training does not change them."""

from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from nmt.config import ModelPart
from nmt.errors import ConfigError


def freeze(model: nn.Module, parts: Sequence[ModelPart]) -> int:
    """Exclude the parameters of some parts of a model from training; return how many numbers they hold.

    A parameter that two parts share, such as a tied embedding, is frozen with either of them.

    Args:
        model: a Seq2Seq.
        parts: the parts to freeze; see `TrainingConfig`.

    Raises:
        ConfigError: if the model has no such part, or nothing is left to train.
    """
    frozen = 0
    named = list(model.named_parameters(remove_duplicate=False))
    for part in parts:
        chosen = [parameter for name, parameter in named if part in parts_of(name)]
        if not chosen:
            raise ConfigError(f"training.freeze names {part}, but this model has no parameters there; take it out")
        for parameter in _without_repeats(chosen):
            frozen += parameter.numel() if parameter.requires_grad else 0
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError("training.freeze leaves nothing to train; take one of its parts out")
    return frozen


def parts_of(name: str) -> set[ModelPart]:
    """Return the parts that a parameter belongs to, given its name in the model."""
    if name.startswith("src_embedding."):
        return {"src_embedding"}
    if name.startswith("decoder.embedding."):
        return {"tgt_embedding"}
    if name.startswith("decoder.attention.") or ".cross_attention." in name:
        return {"attention", "decoder"}
    return {"encoder"} if name.startswith("encoder.") else {"output"} if name.startswith("output.") else {"decoder"}


def _without_repeats(parameters: Iterable[nn.Parameter]) -> Iterator[nn.Parameter]:
    yield from {id(parameter): parameter for parameter in parameters}.values()
