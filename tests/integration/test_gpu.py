"""What holds on a processor holds on a GPU; every test here needs one and is skipped where there is none."""

import os
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

from nmt.commands.train import run_train
from nmt.config import Config
from nmt.data.batching import Batch
from nmt.data.prepare import load_corpora
from nmt.decoding.translator import Translator
from nmt.model.build import build_model
from nmt.runs.checkpoint import kept_checkpoints
from nmt.runtime import allow_tf32, choose_precision, set_seed
from nmt.training.trainer import Trainer
from tests.conftest import SENTENCES

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:2")  # without it, cuDNN's RNNs may differ between two runs
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")]
MakeConfig = Callable[..., Config]
CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
NO_DROPOUT = {"dropout": {"embedding": 0.0, "layers": 0.0, "attention": 0.0, "memory": 0.0, "output": 0.0}}
STACK = {
    "encoder": {"type": "self_attention", "layers": 2, "heads": 2, "feed_forward": 20},
    "decoder": {"type": "transformer", "layers": 2, "heads": 2, "feed_forward": 20},
}
REGULARISED = {
    "encoder": {"layers": 2, "residual": True},
    "decoder": {"layers": 2, "residual": True},
    "dropout": {"recurrent": 0.2, "variational": True, "switchout": 1.0},
}
KINDS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"encoder": {"cell": "gru"}},
    "transformer": STACK,
    "regularised": REGULARISED,
}


def trainer_on(device: torch.device, config: Config, precision: str) -> Trainer:
    corpora = load_corpora(config)
    set_seed(1)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size).to(device)
    return Trainer(config.training, 1, model, device, choose_precision(precision, device), lambda epoch: corpora.train)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-4), ("tf32", 1e-2), ("bf16", 3e-2), ("fp16", 1e-2)])
def test_losses_are_those_of_the_processor(make_config: MakeConfig, kind: str, precision: str, near: float) -> None:
    config = make_config(model=KINDS[kind] | NO_DROPOUT, training={"epochs": 4})
    exact = [update.loss for update in trainer_on(CPU, config, "fp32").updates()]
    found = [update.loss for update in trainer_on(GPU, config, precision).updates()]
    assert found == pytest.approx(exact, rel=near)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_recurrent_layers_are_not_in_float16_where_bfloat16_is_wanted(make_config: MakeConfig, kind: str) -> None:
    trainer = trainer_on(GPU, make_config(model=KINDS[kind]), "bf16")
    batch = trainer.corpus_of_epoch(0).batch(range(4)).to(GPU)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        assert trainer.model.encode(batch).values.dtype != torch.float16


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_waits_for_the_gpu_once(make_config: MakeConfig, kind: str) -> None:
    trainer = trainer_on(GPU, make_config(model=KINDS[kind], training={"epochs": 9, "coverage_loss": 0.1}), "fp32")
    updates = trainer.updates()
    for _ in range(3):
        next(updates)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            next(updates)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [str(one.message) for one in said if "synchroniz" in str(one.message)]
    assert len(waits) <= 1, waits


@pytest.mark.parametrize("kind", KINDS)
def test_translations_are_those_of_the_processor(make_config: MakeConfig, kind: str) -> None:
    config = make_config(model=KINDS[kind])
    corpora = load_corpora(config)
    set_seed(1)
    model = build_model(config, corpora.tokenizer.src_size, corpora.tokenizer.tgt_size)
    allow_tf32(in_products=False, in_rnns=False)
    lines = [src for src, _ in SENTENCES]
    at_home, away = (
        Translator(model.to(device), corpora.tokenizer, config.decoding, device).translate(lines)
        for device in (CPU, GPU)
    )
    assert [one.tgt.text for one in away] == [one.tgt.text for one in at_home]
    for one, other in zip(away, at_home, strict=True):
        torch.testing.assert_close(one.weights, other.weights, atol=1e-4, rtol=1e-4)


def test_a_resumed_run_ends_with_the_same_weights(make_config: MakeConfig) -> None:
    settings = {
        "device": "cuda:0",
        "epochs": 3,
        "keep_last": 1,
        "validation": {"sentences": 0},
        "early_stopping": {"metric": "loss"},
    }
    whole = run_train(make_config(name="whole", training=settings))
    run_train(make_config(name="parts", training=settings | {"max_updates": 4}))
    parts = run_train(make_config(name="parts", training=settings))
    weights = [(kept_checkpoints(run.checkpoints)[-1] / "model.safetensors").read_bytes() for run in (whole, parts)]
    assert weights[0] == weights[1]


def test_pinned_batches_hold_the_same_numbers(make_config: MakeConfig) -> None:
    corpus = load_corpora(make_config()).train
    batch: Batch = corpus.batch(range(4))
    moved = batch.pinned().to(GPU)
    assert batch.pinned().src_ids.is_pinned()
    assert torch.equal(moved.src_ids.cpu(), batch.src_ids)
    assert torch.equal(moved.tgt_positions.cpu(), batch.tgt_positions)
    assert moved.src_lengths.device == CPU
