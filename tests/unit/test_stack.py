import math
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from nmt.config import Config
from nmt.data.batching import batch_of
from nmt.data.prepare import load_corpora
from nmt.errors import DataError
from nmt.model.attention.multi_head import MultiHead
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.model.transformer.layers import (
    CausalLinearAttention,
    CausalSelfAttention,
    DotProductSelfAttention,
    EncoderLayer,
    LinearSelfAttention,
    PositionalSelfAttention,
    PositionedEmbedding,
    SelfAttention,
    Sublayer,
    sinusoids,
)
from tests.variants import ENCODERS, TRANSFORMER_DECODER

B, S, E = 2, 5, 8
MASK = torch.arange(S) < torch.tensor([[5], [3]])
MIXERS: dict[str, Callable[[], nn.Module]] = {
    "dot product": DotProductSelfAttention,
    "one head": lambda: SelfAttention(E, 1, 0.0),
    "four heads": lambda: SelfAttention(E, 4, 0.0),
    "linear": lambda: LinearSelfAttention(E, 2),
}


def seeded(module: nn.Module) -> nn.Module:
    torch.manual_seed(2)
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double().eval()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(B, S, E, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("name", MIXERS)
def test_self_attention_is_equivariant_under_permutation(name: str, x: Tensor) -> None:
    self_attention, order = seeded(MIXERS[name]()), torch.randperm(S)
    everything = torch.ones(B, S, dtype=torch.bool)
    torch.testing.assert_close(
        self_attention(x[:, order], everything), self_attention(x, everything)[:, order], atol=1e-12, rtol=1e-9
    )


@pytest.mark.parametrize("name", MIXERS)
def test_padding_is_never_looked_at(name: str, x: Tensor) -> None:
    self_attention = seeded(MIXERS[name]())
    other = torch.where(MASK[..., None], x, torch.full_like(x, 50.0))
    torch.testing.assert_close(self_attention(x, MASK)[MASK], self_attention(other, MASK)[MASK], atol=1e-12, rtol=1e-9)


def softmax(energies: list[float]) -> list[float]:
    total = sum(math.exp(e) for e in energies)
    return [math.exp(e) / total for e in energies]


def test_dot_product_self_attention_by_a_slow_loop(x: Tensor) -> None:
    found = DotProductSelfAttention()(x, MASK)
    for b in range(B):
        rows = x[b, : int(MASK[b].sum())].tolist()
        for i, row in enumerate(rows):
            weights = softmax([sum(p * q for p, q in zip(row, other, strict=True)) / math.sqrt(E) for other in rows])
            expected = [sum(w * other[e] for w, other in zip(weights, rows, strict=True)) for e in range(E)]
            torch.testing.assert_close(found[b, i], torch.tensor(expected, dtype=torch.float64))


def test_dot_product_self_attention_looks_at_others_before_it_has_learned_anything() -> None:
    # With a gain of 1 a place's energy with itself is √128, and it looks at others with less than a thousandth.
    torch.manual_seed(1)
    layer = EncoderLayer(DotProductSelfAttention(), 128, 0, "pre", 0.0)
    x, everything = torch.randn(1, 20, 128), torch.ones(1, 20, dtype=torch.bool)
    shown = 0.5 * functional.layer_norm(x, (128,))
    weights = (shown @ shown.transpose(1, 2) / math.sqrt(128)).softmax(-1)
    torch.testing.assert_close(layer(x, everything), x + weights @ shown)
    assert 0.2 < 1 - weights.diagonal(dim1=1, dim2=2).mean() < 0.8


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_multi_head_by_a_slow_loop_and_both_paths_agree(x: Tensor, heads: int, causal: bool) -> None:
    attention = seeded(MultiHead(E, E, E, E, heads, 0.0))
    assert isinstance(attention, MultiHead)
    keys = attention.keys(x)
    allowed = None if causal else MASK[:, None, None, :]
    result, weights = attention(x, keys, allowed, causal, need_weights=True)
    fused, nothing = attention(x, keys, allowed, causal)
    assert nothing is None
    torch.testing.assert_close(fused, result, atol=1e-10, rtol=1e-9)
    width = E // heads
    q, k, v = (layer(x).detach() for layer in (attention.query_layer, attention.key_layer, attention.value_layer))
    for b in range(B):
        for i in range(S):
            seen = range(i + 1) if causal else range(int(MASK[b].sum()))
            joined: list[float] = []
            for head in range(heads):
                part = slice(head * width, (head + 1) * width)
                expected = softmax([float(q[b, i, part] @ k[b, j, part]) / math.sqrt(width) for j in seen])
                found = weights[b, head, i]
                torch.testing.assert_close(found[: len(expected)], torch.tensor(expected, dtype=torch.float64))
                assert not found[len(expected) :].any()  # causal: lower triangular; otherwise: 0 on padding
                joined += [sum(w * float(v[b, j, e]) for w, j in zip(expected, seen, strict=True)) for e in range(E)][
                    part
                ]
            output = attention.output_layer(torch.tensor(joined, dtype=torch.float64))
            torch.testing.assert_close(result[b, i], output, atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("kind", [CausalSelfAttention, CausalLinearAttention])
def test_a_place_sees_nothing_after_it(kind: type[CausalSelfAttention | CausalLinearAttention], x: Tensor) -> None:
    attention = seeded(kind(E, 2, 0.0) if kind is CausalSelfAttention else kind(E, 2))  # type: ignore[call-arg]
    changed = x.clone()
    changed[:, 3:] += 5
    before, after = attention.whole(x), attention.whole(changed)  # type: ignore[operator]
    torch.testing.assert_close(before[:, :3], after[:, :3], atol=1e-12, rtol=1e-9)
    assert not torch.allclose(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("rank", [None, 3])
def test_positional_weights_come_from_positions_alone(rank: int | None, x: Tensor) -> None:
    self_attention = seeded(PositionalSelfAttention(E, 2, 7, rank))
    weights = self_attention.weights(MASK)  # type: ignore[operator]
    torch.testing.assert_close(weights.sum(-1), torch.ones(B, 2, S, dtype=torch.float64))
    assert not weights.masked_select(~MASK[:, None, None, :].expand_as(weights)).any()
    rows = self_attention.position_rows.detach()  # type: ignore[union-attr, operator]
    columns = None if rank is None else self_attention.position_columns.detach()  # type: ignore[union-attr, operator]
    for head in range(2):
        for i in range(S):
            energies = [
                float(rows[head, i, j]) if columns is None else float(rows[head, i] @ columns[head, j])
                for j in range(3)  # the second sentence has three places
            ]
            expected = torch.tensor(softmax(energies), dtype=torch.float64)
            torch.testing.assert_close(weights[1, head, i, :3], expected, atol=1e-12, rtol=1e-9)
    values = self_attention.value_layer(x)  # type: ignore[operator]
    joined = torch.cat([weights[:, h] @ values[..., h * 4 : h * 4 + 4] for h in range(2)], -1)
    expected_output = self_attention.output_layer(joined)  # type: ignore[operator]
    torch.testing.assert_close(self_attention(x, MASK), expected_output, atol=1e-12, rtol=1e-9)


def test_the_builder_leaves_the_gain_of_dot_product_self_attention_as_it_is(make_config: Callable[..., Config]) -> None:
    def gains(**more: object) -> list[float]:
        encoder = ENCODERS["dot products alone"] | more
        layers = build_model(make_config(model={"encoder": encoder}), 50, 50).encoder.layers
        return [float(layer.attention_sublayer.norm.weight.detach().mean()) for layer in layers]  # type: ignore[union-attr]

    assert gains(layers=2) == [0.5, 0.5]
    assert gains(norm="post") == [1.0]  # a norm behind the sum is not before the products


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_residual_blocks_by_hand(norm: Literal["pre", "post"], x: Tensor) -> None:
    block = Sublayer(E, norm, 0.0).double()
    nn.init.normal_(block.norm.weight)
    nn.init.normal_(block.norm.bias)

    def normalised(row: Tensor) -> Tensor:
        spread = ((row - row.mean()) ** 2).mean()
        return (row - row.mean()) / torch.sqrt(spread + 1e-5) * block.norm.weight + block.norm.bias

    found = block(x, lambda inside: inside**2)
    for b in range(B):
        for position in range(S):
            row = x[b, position]
            expected = row + normalised(row) ** 2 if norm == "pre" else normalised(row + row**2)
            torch.testing.assert_close(found[b, position], expected)


@pytest.mark.parametrize("kind", ["none", "sinusoidal", "learned"])
def test_embeddings_are_scaled_and_positions_added(kind: Literal["none", "sinusoidal", "learned"], x: Tensor) -> None:
    positions = PositionedEmbedding(E, kind, 20, 0.0).double()
    table = torch.zeros(20, E, dtype=torch.float64)
    if kind == "sinusoidal":
        for position in range(20):
            for i in range(E // 2):
                angle = position / 10000 ** (2 * i / E)
                table[position, 2 * i], table[position, 2 * i + 1] = math.sin(angle), math.cos(angle)
    if positions.position_table is not None:
        table = nn.init.normal_(positions.position_table).detach()
    expected = math.sqrt(E) * x + table[3 : 3 + S]
    torch.testing.assert_close(positions(x, first=3), expected, atol=1e-6, rtol=1e-6)


def test_sinusoids_by_hand() -> None:
    found = sinusoids(3, 2, 4, torch.device("cpu"))
    for row, position in zip(found.tolist(), (3, 4), strict=True):
        expected = [math.sin(position), math.cos(position), math.sin(position / 100), math.cos(position / 100)]
        assert row == pytest.approx(expected, abs=1e-6)


def test_a_perceiver_tells_where_its_latents_looked(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model(encoder=ENCODERS["perceiver"])
    batch = batch_of([([5, 6, 7, 8, 9], [10]), ([13, 14], [15])])
    memory = model.encode(batch)
    assert memory.values.shape[1] == 4
    assert memory.origin is not None
    torch.testing.assert_close(memory.origin.sum(-1), torch.ones(2, 4))
    assert not memory.origin[1, :, 2:].any()
    weights = torch.rand(2, 3, 4)
    by_hand = torch.zeros(2, 3, 5)
    for b in range(2):
        for i in range(3):
            for latent in range(4):
                by_hand[b, i] += weights[b, i, latent] * memory.origin[b, latent].detach()
    torch.testing.assert_close(memory.on_source(weights), by_hand)


def test_a_decoder_without_attention_reads_a_perceivers_mean(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model(encoder=ENCODERS["perceiver"], attention={"score": "none"})
    batch = batch_of([([5, 6, 7], [10, 11])])
    features, weights = model(batch)
    memory = model.encode(batch)
    log_probs, step_weights, _ = model.step(batch.tgt_in[:, 0], model.start(memory), memory)
    assert (weights.shape, step_weights.shape) == ((1, 3, 0), (1, 0))
    torch.testing.assert_close(model.project(features[:, 0]).log_softmax(-1), log_probs)


@pytest.mark.parametrize(
    "section",
    [
        {"attention": {"score": "fc", "max_src_length": 120}},
        {"attention": {"score": "location", "max_src_length": 120}},
        {"encoder": ENCODERS["positional"]},
        {"encoder": ENCODERS["self_attention, post, learned"]},
    ],
)
def test_longer_sources_than_there_are_places_are_refused(
    make_model: Callable[..., Seq2Seq], section: dict[str, object]
) -> None:
    model = make_model(**section)
    model.encode(batch_of([([5] * 120, [])]))
    with pytest.raises(DataError, match=r"source sentence has 121 pieces.*positions for 120"):
        model.encode(batch_of([([5] * 121, [])]))


def test_longer_targets_than_there_are_positions_are_refused(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model(decoder={**TRANSFORMER_DECODER, "positions": "learned", "max_positions": 101})
    model(batch_of([([5], [6] * 100)]))
    with pytest.raises(DataError, match=r"target sentence has 102 pieces.*positions for 101"):
        model(batch_of([([5], [6] * 101)]))


def test_without_weights_the_features_are_the_same(make_model: Callable[..., Seq2Seq]) -> None:
    model = make_model(decoder=TRANSFORMER_DECODER)
    batch = batch_of([([5, 6, 7], [10, 11]), ([13, 14], [15])])
    features, weights = model(batch)
    fused, nothing = model(batch, need_weights=False)
    assert weights.shape == (2, 3, 3)
    assert nothing.shape[-1] == 0
    torch.testing.assert_close(fused, features, atol=1e-5, rtol=1e-5)


def test_the_alignment_is_that_of_the_layer_and_heads_asked_for(make_model: Callable[..., Seq2Seq]) -> None:
    batch = batch_of([([5, 6, 7], [10, 11])])

    def weights(**choice: object) -> Tensor:
        return make_model(decoder={**TRANSFORMER_DECODER, **choice})(batch)[1]

    both, one, two = (weights(alignment_layer=2, alignment_heads=heads) for heads in ([1, 2], [1], [2]))
    torch.testing.assert_close((one + two) / 2, both)
    torch.testing.assert_close(weights(), both)  # the second last of three layers, all heads
    assert not torch.allclose(weights(alignment_layer=3), both, atol=1e-3)


def test_a_validation_line_that_no_place_is_left_for_is_named_before_training(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    attention = {"score": "fc", "max_src_length": 30}
    config = make_config(model={"attention": attention}, data={"max_length": 30})
    load_corpora(config)
    (tmp_path / "valid.en").write_text("a cat\n" * 7 + "a cat sleeps " * 40 + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"line 8 of the validation data has \d+ source pieces.* positions for 30"):
        load_corpora(config)
