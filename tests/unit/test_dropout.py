"""Our dropout is torch's: the same rate, the same scale, the same gradient."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nmt.config.load import load_config
from nmt.errors import ConfigError
from nmt.model.dropout import Dropout, weight_drop
from tests.config_files import GOOD, write


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_dropped_at_the_rate_and_the_others_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    dropped = Dropout(p)(torch.ones(401, 997, dtype=dtype))
    scale = torch.tensor(1 / (1 - p), dtype=dtype)
    assert ((dropped == 0) | (dropped == scale)).all()
    rate = float((dropped == 0).float().mean())
    assert rate == pytest.approx(p, abs=4 * (p * (1 - p) / dropped.numel()) ** 0.5)


@pytest.mark.parametrize("p", [1e-9, 1e-6, 1.0 - 1e-6])
def test_the_smallest_and_largest_rates_can_be_drawn(p: float) -> None:
    dropped = Dropout(p)(torch.ones(1000))
    assert int((dropped == 0).sum()) == pytest.approx(1000 * p, abs=5)


def test_every_place_is_drawn_by_itself() -> None:
    torch.manual_seed(2)
    dropped = (Dropout(0.5)(torch.ones(100_000, 8)) == 0).float()
    torch.testing.assert_close(dropped.T.cov(), torch.eye(8) / 4, atol=0.01, rtol=0.0)


def test_the_gradient_is_dropped_where_the_value_is() -> None:
    torch.manual_seed(3)
    x = torch.randn(7, 9, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad * x, y)


def test_evaluation_and_the_ends_of_the_range_are_torchs() -> None:
    x = torch.randn(5, 3)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x).equal(x)
    assert not Dropout(1.0)(x).any()


def test_the_same_seed_drops_the_same() -> None:
    torch.manual_seed(4)
    first = Dropout(0.3)(torch.ones(10, 3))
    torch.manual_seed(4)
    assert first.equal(Dropout(0.3)(torch.ones(10, 3)))


def test_variational_dropout_is_the_same_at_every_position_and_another_for_each_sentence() -> None:
    torch.manual_seed(5)
    x = torch.randn(200, 7, 30)
    dropped = Dropout(0.3, variational=True)(x) / x
    assert dropped.allclose(dropped[:, :1].expand_as(dropped))
    first = dropped[:, 0]
    assert float((first == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert first[first != 0].allclose(torch.tensor(1 / 0.7), rtol=1e-3)
    assert len({tuple(row.tolist()) for row in first != 0}) == 200
    assert Dropout(0.3, variational=True).eval()(x) is x
    with pytest.raises(ValueError, match="whole sentences"):
        Dropout(0.3, variational=True)(x[:, 0])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_weight_drop_drops_weights_for_good_until_it_is_called_again(kind: type[nn.LSTM] | type[nn.GRU]) -> None:
    torch.manual_seed(6)
    rnn = kind(3, 5, 2, batch_first=True, bidirectional=True)
    x = torch.randn(2, 4, 3)
    assert weight_drop(rnn.eval(), Dropout(0.5)) is rnn
    run = weight_drop(rnn.train(), Dropout(0.5))
    first = run(x)[0]
    assert first.equal(run(x)[0])
    assert not first.allclose(weight_drop(rnn, Dropout(0.5))(x)[0])
    first.sum().backward()
    for name, weight in rnn.named_parameters():
        assert weight.grad is not None
        assert bool((weight.grad == 0).any()) == ("weight_hh" in name), name


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "model: {encoder: {residual: true}}\n", "residual connects layers"),
        (GOOD + "model: {decoder: {residual: true, layers: 1}}\n", "residual connects layers"),
        (
            GOOD + "model: {encoder: self_attention, decoder: transformer, dropout: {recurrent: 0.1}}\n",
            "dropout.recurrent is for recurrent encoders and decoders",
        ),
        (GOOD + "model: {decoder: transformer, dropout: {recurrent: 0.1}}\n", ""),
        (
            GOOD + "model: {decoder: transformer, dropout: {variational: true}}\n",
            "dropout.variational is for recurrent decoders",
        ),
        (
            GOOD + "model: {dropout: {variational: true, embedding: 0.0, memory: 0.0, output: 0.0}}\n",
            "dropout.variational has no effect",
        ),
        (GOOD + "model: {dropout: {switchout: 1e-46}}\n", "a temperature of 0.01 or more"),
        (
            GOOD + "model: {dropout: {recurrent: 0.1}}\ntraining: {teacher_forcing: {start: 0.9}}\n",
            "model.dropout.recurrent needs targets that are read at once",
        ),
        (
            GOOD + "model: {dropout: {variational: true}}\ntraining: {teacher_forcing: {schedule: linear}}\n",
            "model.dropout.variational needs targets that are read at once",
        ),
        (
            "data: {train: {builtin: phrasebook, tag: <a>}, valid: builtin:phrasebook}\n"
            "model: {dropout: {switchout: 1.0}}\n",
            "would replace tags",
        ),
        (
            GOOD + "model: {dropout: {switchout: 1.0}}\ntokenizer: {user_defined_symbols: [<a>]}\n",
            "would replace tags",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    if not message:
        load_config(path)
        return
    with pytest.raises(ConfigError, match=message):
        load_config(path)
