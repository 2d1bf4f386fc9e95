"""Frozen parts stay as they are, and the others learn as before."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nmt.config import Config
from nmt.data.cache import cached_table
from nmt.data.dataset import PieceCorpus
from nmt.errors import ConfigError
from nmt.model.build import build_model
from nmt.training.trainer import Trainer
from tests.variants import MODELS

PARTS = ["src_embedding", "tgt_embedding", "encoder", "decoder", "attention", "output"]
NAMES = [
    "encoder rnn",
    "encoder self_attention, transformer",
    "additive, coverage neural, bahdanau",
    "qkv in 2 heads",
    "normed",
]


@pytest.fixture
def corpus(tmp_path: Path) -> PieceCorpus:
    rows: Iterator[dict[str, Any]] = (
        {"src_ids": [5 + i % 7] * (1 + i % 4), "tgt_ids": [5 + i % 7, 6]} for i in range(8)
    )
    return PieceCorpus(cached_table(tmp_path / "c.arrow", {"src_ids": ["int32"], "tgt_ids": ["int32"]}, rows), 20)


def one_update(
    make_config: Callable[..., Config], corpus: PieceCorpus, model: dict[str, Any], freeze: list[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters before and after an update without clipping."""
    sgd = {"name": "sgd", "lr": 0.5}  # Adam's first step is the sign of a gradient, even of one that is rounding
    training = {"freeze": freeze, "clip_norm": 0.0, "batch_size": 8, "epochs": 1, "optimizer": sgd}
    no_dropout = dict.fromkeys(("embedding", "layers", "memory", "output"), 0.0)
    config = make_config(model=model | {"dropout": no_dropout}, training=training)
    torch.manual_seed(1)
    built = build_model(config, 20, 20)
    before = {name: parameter.detach().clone() for name, parameter in built.named_parameters()}
    torch.manual_seed(2)
    trainer = Trainer(config.training, 1, built, torch.device("cpu"), torch.float32, lambda epoch: corpus)
    list(trainer.updates())
    return before, {name: parameter.detach() for name, parameter in built.named_parameters()}


def belongs(name: str, part: str) -> bool:
    attention = name.startswith("decoder.attention.") or ".cross_attention." in name
    if part == "attention":
        return attention
    if part == "decoder":
        return name.startswith("decoder.") and not name.startswith("decoder.embedding.")
    return name.startswith("decoder.embedding." if part == "tgt_embedding" else f"{part}.")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_part_stays_and_the_others_take_the_same_step(
    make_config: Callable[..., Config], corpus: PieceCorpus, name: str, part: str
) -> None:
    before, free = one_update(make_config, corpus, MODELS[name], [])
    again, frozen = one_update(make_config, corpus, MODELS[name], [part])
    assert any(belongs(key, part) for key in before)
    for key, value in before.items():
        assert torch.equal(again[key], value)
        if belongs(key, part):
            assert torch.equal(frozen[key], value), key
        else:
            torch.testing.assert_close(frozen[key], free[key], msg=key)


def test_a_shared_embedding_is_frozen_with_either_side(make_config: Callable[..., Config], corpus: PieceCorpus) -> None:
    tied = {"tie_embeddings": "src_tgt", "embedding_size": 12}
    before, after = one_update(make_config, corpus, tied, ["tgt_embedding"])
    assert torch.equal(before["src_embedding.weight"], after["src_embedding.weight"])


def test_what_cannot_be_frozen_is_refused(make_config: Callable[..., Config], corpus: PieceCorpus) -> None:
    with pytest.raises(ConfigError, match=r"training\.freeze leaves nothing to train"):
        one_update(make_config, corpus, {}, PARTS)
    with pytest.raises(ConfigError, match="names attention, but this model has no parameters there"):
        one_update(make_config, corpus, {"attention": {"score": "dot"}, "decoder": {"hidden_size": 16}}, ["attention"])
