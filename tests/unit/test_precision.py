"""Fewer bits: nearly the same probabilities, and matrices that are still distributions."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Literal

import pytest
import torch

from nmt.decoding.precision import _engine, _Int8Linear, in_precision
from nmt.errors import ConfigError
from nmt.model.seq2seq import Seq2Seq
from tests.unit.test_decoder import BATCH
from tests.variants import MODELS

CPU = torch.device("cpu")


def test_the_engine_of_8_bits_is_the_best_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported, default, chosen in (
        (["none", "fbgemm", "onednn", "x86"], "x86", "onednn"),
        (["none", "qnnpack"], "none", "qnnpack"),
        (["none", "fbgemm"], "fbgemm", "fbgemm"),
    ):
        engines = SimpleNamespace(engine=default, supported_engines=supported)
        monkeypatch.setattr(torch.backends, "quantized", engines)
        with _engine():
            assert engines.engine == chosen
        assert engines.engine == (chosen if default == "none" else default)  # torch cannot set it to none


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("name", MODELS)
@torch.inference_mode()
def test_scores_are_near_those_of_float32(
    make_model: Callable[..., Seq2Seq], name: str, precision: Literal["bf16", "int8"]
) -> None:
    model = make_model(**MODELS[name]).eval()
    exact, _ = model.forced(BATCH)
    found, weights = in_precision(model, precision, CPU).eval().forced(BATCH)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact, atol=0.1, rtol=0.02)
    if weights.shape[-1]:
        torch.testing.assert_close(weights.float().sum(-1), torch.ones(weights.shape[:2]), atol=0.02, rtol=0.0)


def test_float32_is_left_as_it_is(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model()
    before = [parameter.clone() for parameter in model.parameters()]
    in_precision(model, "fp32", CPU)
    assert all(one.equal(other) for one, other in zip(before, model.parameters(), strict=True))


def test_in_eight_bits_a_large_row_does_not_coarsen_the_others() -> None:
    torch.manual_seed(1)
    layer = torch.nn.Linear(64, 10)
    with torch.no_grad():
        layer.weight[3] *= 100
    x = torch.randn(20, 64)
    error = (_Int8Linear(layer)(x) - layer(x)).detach().abs().mean(0)
    assert float(error[[row for row in range(10) if row != 3]].max()) < 0.02
    assert _Int8Linear(layer.bfloat16())(x.bfloat16()).dtype == torch.float32


def test_eight_bits_are_at_most_256_weights_a_row(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model(decoder={"hidden_size": 400}, attention={"size": 10})
    exact = model.output.weight.detach().clone()
    converted = in_precision(model, "int8", CPU)
    assert isinstance(converted.output, _Int8Linear)
    with torch.inference_mode():
        rows = converted.output(torch.eye(exact.shape[1])) - converted.output(torch.zeros(1, exact.shape[1]))
    assert all(len(row.unique()) <= 256 for row in rows.T.round(decimals=4))
    assert max(len(row.unique()) for row in exact) > 256
    torch.testing.assert_close(rows.T, exact, atol=0.02, rtol=0.02)


def test_eight_bits_are_for_processors(make_model: Callable[..., Seq2Seq]) -> None:
    with pytest.raises(ConfigError, match="bf16"):
        in_precision(make_model(), "int8", torch.device("cuda"))
