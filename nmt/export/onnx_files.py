"""A model as two ONNX graphs: one encodes a sentence, the other takes one step of the decoder."""

import json
import logging
import shutil
import warnings
from pathlib import Path

import torch
from torch import nn

from nmt.config import Config, DecodingConfig
from nmt.data.tokenizer import BOS, EOS, PAD, UNK, SentencePieceTokenizer, Tokenizer
from nmt.errors import ModelError
from nmt.model.graphs import EncoderGraph, StepGraph, memory_names, state_names
from nmt.model.seq2seq import Seq2Seq

log = logging.getLogger(__name__)

EXAMPLE = Path(__file__).with_name("onnx_translate.py")


def write_onnx(model: nn.Module, tokenizer: Tokenizer, config: Config, folder: Path) -> None:
    """Write ``encoder.onnx``, ``step.onnx``, the tokenizer, ``model.json`` and an example that needs no torch.

    The encoder reads ``src_ids [1, S]`` and returns the memory and the decoder's first state. A step reads
    ``tokens [N]``, memory and state. It returns ``log_probs [N, V]`` in nats, the attention's ``weights [N, S]`` and
    the next state, whose names begin with ``next_``. ``model.json`` lists the names of the memory and the state.

    Args:
        model: a single model in float32, on the CPU.
        tokenizer: the tokenizer that it was trained with.
        config: the configuration of its run.
        folder: an existing, empty folder.

    Raises:
        ModelError: for an ensemble, for a model whose step cannot be a graph, or if the package onnx is missing.
    """
    if not isinstance(model, Seq2Seq):
        raise ModelError("several models cannot be exported as one; export each one separately")
    if not isinstance(tokenizer, SentencePieceTokenizer):
        raise ModelError("the exported program needs sentencepiece, and this model has another tokenizer")
    try:
        import onnx  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        raise ModelError("writing ONNX needs the package onnx: pip install onnx") from None
    memory, state = memory_names(model), state_names(model)
    model.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing warns about fixed sizes; the dynamic axes below keep them variable
        ids = torch.tensor([[UNK, UNK, UNK, EOS, UNK]])  # any sentence
        encoder = EncoderGraph(model)
        outputs = encoder(ids)
        _write(encoder, (ids,), folder / "encoder.onnx", ["src_ids"], memory + state)
        tokens = torch.full((3,), BOS)
        rows = [tensor.repeat(3, *[1] * (tensor.dim() - 1)) for tensor in outputs[len(memory) :]]
        step = StepGraph(model)
        inputs = (tokens, *outputs[: len(memory)], *rows)
        # Trace the second step, since a Transformer's caches are empty in the first one.
        inputs = (tokens, *outputs[: len(memory)], *step(*inputs)[2:])
        after = [f"next_{name}" for name in state]
        names = ["tokens", *memory, *state], ["log_probs", "weights", *after]
        _write(step, inputs, folder / "step.onnx", *names)
    tokenizer.save(folder)
    languages = config.data.languages
    facts = {
        "source": languages[0],
        "target": languages[1],
        "memory": memory,
        "state": state,
        "pad": PAD,
        "unk": UNK,
        "bos": BOS,
        "eos": EOS,
        "joint_tokenizer": tokenizer.joint,
        "max_src_length": min(config.decoding.max_src_length, model.max_src_length or config.decoding.max_src_length),
        "max_tgt_length": model.max_tgt_length,
        "max_length_ratio": config.decoding.max_length_ratio,
        "max_length_extra": config.decoding.max_length_extra,
        "alignment_at": config.resolved_decoding.alignment_at,
    }
    plain = DecodingConfig()
    for key in ("min_length", "min_length_ratio", "no_repeat_ngram", "repetition_penalty", "unk"):
        if (value := getattr(config.decoding, key)) != getattr(plain, key):
            log.warning("translate.py does not follow decoding.%s, which is %s", key, value)
    (folder / "model.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    shutil.copyfile(EXAMPLE, folder / "translate.py")


def _axes(name: str) -> dict[int, str]:
    """Return the names of the dimensions of a tensor whose size varies, such as hypotheses or source positions."""
    match name:
        case "src_ids":
            return {1: "source"}
        case "values" | "keys":
            return {1: "positions"}
        case "origin":
            return {1: "positions", 2: "source"}
        case "weights":
            return {0: "hypotheses", 1: "source"}
        case "coverage":
            return {0: "hypotheses", 1: "positions"}
        case _ if name.startswith("cache"):
            return {0: "hypotheses", 1: "so_far"}
        case _:
            return {0: "hypotheses"}


def _write(
    graph: torch.nn.Module,
    inputs: tuple[torch.Tensor, ...],
    path: Path,
    input_names: list[str],
    output_names: list[str],
) -> None:
    torch.onnx.export(
        graph,
        inputs,
        str(path),
        input_names=input_names,
        output_names=output_names,
        dynamic_axes={name: _axes(name.removeprefix("next_")) for name in (*input_names, *output_names)},
        dynamo=False,  # the other exporter fixes the number of hypotheses or positions of some models
    )
