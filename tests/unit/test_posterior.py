"""The attention's weights once the target token is known."""

import contextlib
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from nmt.data.batching import batch_of
from nmt.decoding.ensemble import Ensemble
from nmt.errors import ModelError
from nmt.model.attention.base import Attention
from nmt.model.attention.query import Query
from nmt.model.memory import Memory
from nmt.model.seq2seq import Seq2Seq
from tests.variants import MODELS

MakeModel = Callable[..., Seq2Seq]
PAIRS = [([5, 6, 7, 8, 9], [10, 11, 12]), ([13, 14], [15, 16, 17, 18]), ([19], [])]
RECURRENT = [name for name, model in MODELS.items() if model.get("decoder", {}).get("type") != "transformer"]


@contextlib.contextmanager
def whole_weight_on(attention: Attention, position: int) -> Iterator[None]:
    """Make the attention look at one position, whatever its query."""

    def forward(self: Attention, query: Query, memory: Memory) -> tuple[Tensor, Tensor]:
        weights = torch.zeros(query.state.shape[0], query.state.shape[1], memory.mask.shape[1]).to(memory.values)
        weights[..., position] = 1.0
        by_head = weights if self.score.heads is None else torch.stack([weights] * self.score.heads, dim=1)
        return self.score.context(query, by_head, memory), weights

    kept = Attention.forward
    Attention.forward = forward  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        Attention.forward = kept  # type: ignore[method-assign]


def by_hand(model: Seq2Seq, src: list[int], tgt: list[int]) -> Tensor:
    """Bayes' rule for one sentence, position by position, ``[T, S]``."""
    batch = batch_of([(src, tgt)])
    memory = model.encode(batch)
    state = model.start(memory)
    rows = []
    for read, gold in zip(batch.tgt_in[0], batch.tgt_out[0], strict=True):
        joint = []
        features, prior, after = model.decoder.step(read[None], state, memory)
        for position in range(memory.mask.shape[1]):
            with whole_weight_on(model.decoder.attention, position):  # type: ignore[attr-defined]
                features, _, _ = model.decoder.step(read[None], state, memory)
            probability = model.project(features).double().softmax(-1)[0, gold]
            joint.append(prior[0, position] * probability)
        row = torch.stack(joint)
        rows.append(row / row.sum())
        state = after
    return memory.on_source(torch.stack(rows)[None])[0]


@pytest.mark.parametrize("name", [*RECURRENT, "bahdanau", "bahdanau fed"])
def test_posterior_weights_are_those_of_bayes_rule(make_model: MakeModel, name: str) -> None:
    wirings = {
        "bahdanau": {"decoder": {"wiring": "bahdanau"}},
        "bahdanau fed": {"decoder": {"wiring": "bahdanau", "input_feeding": True}},
    }
    model = make_model(**(MODELS[name] if name in MODELS else wirings[name])).double()
    with torch.no_grad():
        weights = model.posterior(batch_of(PAIRS))
        _, prior = model.forced(batch_of(PAIRS))
        for row, (src, tgt) in enumerate(PAIRS):
            steps = len(tgt) + 1
            alone = by_hand(model, src, tgt)
            torch.testing.assert_close(weights[row, :steps, : len(src)].double(), alone, atol=1e-5, rtol=1e-4)
            assert not weights[row, :steps, len(src) :].any()
            torch.testing.assert_close(weights[row, :steps].sum(-1).double(), torch.ones(steps).double())
    if name != "normaliser hard":  # of a single position there is nothing else to believe
        assert not torch.allclose(weights[0], prior[0].to(weights.dtype), atol=1e-4)


def test_a_model_that_looks_at_no_position_alone_has_no_posterior(make_model: MakeModel) -> None:
    for model in (make_model(attention={"score": "none"}), make_model(**MODELS["transformer, linear"])):
        with pytest.raises(ModelError, match="posterior weights need a recurrent decoder with attention"):
            model.posterior(batch_of(PAIRS))


def test_the_posterior_of_an_ensemble_is_the_mean(make_model: MakeModel) -> None:
    models = [make_model(attention={"score": score}) for score in ("additive", "dot")]
    with torch.no_grad():
        found = Ensemble(models).posterior(batch_of(PAIRS))
        each = torch.stack([model.posterior(batch_of(PAIRS)) for model in models])
    torch.testing.assert_close(found, each.mean(0))
