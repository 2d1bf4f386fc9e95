from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from nmt.arrays import IntArray
from nmt.config import Config
from nmt.data import dataset
from nmt.data.batching import batch_of, cut_batches, plan_batches
from nmt.data.cache import Table, cached_table
from nmt.data.dataset import PieceCorpus, encode_table
from nmt.data.prepare import load_corpora
from nmt.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer
from nmt.training.estimate import estimate_sizes


def corpus_of(folder: Path, lengths: list[tuple[int, int]], max_length: int | None = None) -> PieceCorpus:
    rows = ({"src_ids": [10 + i] * s, "tgt_ids": [10 + i] * t} for i, (s, t) in enumerate(lengths))
    return PieceCorpus(
        cached_table(folder / "pieces.arrow", {"src_ids": ["int32"], "tgt_ids": ["int32"]}, rows), max_length
    )


def random_lengths(count: int) -> list[tuple[int, int]]:
    random = np.random.default_rng(3)
    return [(int(n), max(1, int(n) + int(random.integers(-2, 3)))) for n in random.integers(1, 40, size=count)]


@pytest.mark.parametrize(("unit", "size"), [("tokens", 200), ("sentences", 7)])
def test_each_pair_exactly_once_and_never_over_the_budget(
    tmp_path: Path, unit: Literal["tokens", "sentences"], size: int
) -> None:
    corpus = corpus_of(tmp_path, random_lengths(3000))
    for epoch in (0, 1):
        plan = plan_batches(corpus.src_len, corpus.tgt_len, size, unit, seed=1, epoch=epoch)
        assert sorted(np.concatenate(plan).tolist()) == list(range(3000))
        for chosen in plan:
            batch = corpus.batch(chosen)
            cost = max(batch.src_ids.numel(), batch.tgt_in.numel()) if unit == "tokens" else len(chosen)
            assert cost <= size


def test_the_plan_is_a_function_of_seed_and_epoch(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, random_lengths(500))

    def plan(seed: int, epoch: int) -> list[list[int]]:
        return [chosen.tolist() for chosen in plan_batches(corpus.src_len, corpus.tgt_len, 200, "tokens", seed, epoch)]

    assert plan(1, 0) == plan(1, 0)
    assert plan(1, 0) != plan(1, 1)
    assert plan(1, 0) != plan(2, 0)


def test_sorting_in_windows_saves_padding(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, random_lengths(5000))
    masks = [
        corpus.batch(chosen).tgt_mask for chosen in plan_batches(corpus.src_len, corpus.tgt_len, 32, "sentences", 1, 0)
    ]
    padding = 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)
    assert padding < 0.04


def test_pairs_of_a_small_weight_are_used_in_some_epochs() -> None:
    weights, lengths = np.full(40, 0.01), np.full(40, 5)
    used = [len(plan_batches(lengths, lengths, 32, "sentences", 1, epoch, weights)) for epoch in range(400)]
    assert set(used) == {0, 1}
    assert 100 < sum(used) < 220  # 0.4 pairs in an epoch


def test_batches_come_in_random_order(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, random_lengths(5000))
    plan = plan_batches(corpus.src_len, corpus.tgt_len, 32, "sentences", 1, 0)
    means = np.array([corpus.tgt_len[chosen].mean() for chosen in plan])
    correlation = np.corrcoef(means, np.arange(len(means)))[0, 1]
    assert abs(correlation) < 0.25  # two standard deviations for 157 batches are 0.16
    assert (np.diff(means) > 0).mean() == pytest.approx(
        0.5, abs=0.12
    )  # in windows of sorted batches it would be near 1


def test_a_batch_is_padded_and_framed() -> None:
    batch = batch_of([([5, 6, 7], [8]), ([9], [11, 12])])
    assert batch.src_ids.tolist() == [[5, 6, 7], [9, PAD, PAD]]
    assert batch.src_mask.tolist() == [[True, True, True], [True, False, False]]
    assert batch.tgt_in.tolist() == [[BOS, 8, PAD], [BOS, 11, 12]]
    assert batch.tgt_out.tolist() == [[8, EOS, PAD], [11, 12, EOS]]
    assert batch.tgt_mask.tolist() == [[True, True, False], [True, True, True]]
    assert (batch.src_tokens, batch.tgt_tokens) == (4, 5)


def test_an_empty_source_becomes_one_unknown_piece_and_an_empty_target_only_its_end() -> None:
    batch = batch_of([([], []), ([5], [6])])
    assert batch.src_ids.tolist() == [[UNK], [5]]
    assert batch.src_mask.tolist() == [[True], [True]]
    assert batch.tgt_out.tolist() == [[EOS, PAD], [6, EOS]]


def test_filters_drop_from_training_and_are_counted(tmp_path: Path) -> None:
    lengths = [(3, 3), (0, 4), (4, 0), (0, 0), (11, 2), (2, 11), (10, 10)]
    train = corpus_of(tmp_path, lengths, max_length=10)
    assert train.rows.tolist() == [0, 6]
    assert (train.drops.empty, train.drops.too_long) == (3, 2)
    evaluation = corpus_of(tmp_path, lengths)
    assert len(evaluation) == 7
    assert sum(len(batch.src_ids) for batch in evaluation.in_order(40)) == 7


def test_batches_hold_the_pairs_they_name(tmp_path: Path, tokenizer: Tokenizer) -> None:
    text: Any = cached_table(
        tmp_path / "t.arrow", {"src": "string", "tgt": "string"}, [{"src": s, "tgt": t} for s, t in PAIRS]
    )
    corpus = PieceCorpus(encode_table(text, tokenizer, tmp_path / "p.arrow"), 50)
    batch = corpus.batch([2, 0])
    for row, pair in ((0, PAIRS[2]), (1, PAIRS[0])):
        assert batch.src_ids[row][batch.src_mask[row]].tolist() == tokenizer.encode_src(pair[0]).ids
        assert batch.tgt_out[row][batch.tgt_mask[row]].tolist() == [*tokenizer.encode_tgt(pair[1]).ids, EOS]


PAIRS = [("a cat", "un chat"), ("two dogs", "deux chiens"), ("I love you", "je t'aime")]


def test_a_dry_run_computes_the_costs_of_the_pairs_once(
    make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpora = load_corpora(make_config(training={"batch_size": 1}))
    calls: list[int] = []
    real = dataset.pair_costs

    def counted(*lengths: IntArray) -> IntArray:
        calls.append(1)
        return real(*lengths)

    monkeypatch.setattr(dataset, "pair_costs", counted)
    assert estimate_sizes(make_config(training={"batch_size": 1}), corpora).batches == 8
    assert len(calls) == 1


def cut_one_by_one(order: list[int], costs: list[int], budget: int, unit: str) -> list[list[int]]:
    batches: list[list[int]] = []
    batch: list[int] = []
    for pair in order:
        longer = [*batch, pair]
        size = len(longer) if unit == "sentences" else len(longer) * max(costs[one] for one in longer)
        if batch and size > budget:
            batches.append(batch)
            longer = [pair]
        batch = longer
    return [*batches, batch] if batch else batches


@pytest.mark.parametrize("unit", ["tokens", "sentences"])
@pytest.mark.parametrize("budget", [1, 7, 64, 1000])
@pytest.mark.parametrize("ordered", [True, False])
def test_batches_are_cut_as_if_pair_by_pair(unit: Any, budget: int, ordered: bool) -> None:
    random = np.random.default_rng(3)
    for count in (0, 1, 200):
        costs = random.integers(1, 40, 300).astype(np.int32)
        order = random.permutation(300)[:count]
        if ordered:
            order = order[np.argsort(costs[order], kind="stable")]
        found = [batch.tolist() for batch in cut_batches(order, costs, budget, unit)]
        assert found == cut_one_by_one(order.tolist(), costs.tolist(), budget, unit)


def test_rows_are_read_across_the_chunks_of_a_table(tmp_path: Path) -> None:
    import pyarrow

    random = np.random.default_rng(4)
    rows = [
        {side: random.integers(4, 99, random.integers(0, 9)).tolist() for side in ("src_ids", "tgt_ids")}
        for _ in range(57)
    ]
    whole = pyarrow.Table.from_pylist(rows)
    parts = [whole.slice(start, length) for start, length in ((0, 10), (10, 0), (10, 1), (11, 40), (51, 6))]
    corpus = PieceCorpus(Table(pyarrow.concat_tables(parts)), max_length=7)
    kept = [row for row in rows if row["src_ids"] and row["tgt_ids"] and max(map(len, row.values())) <= 7]
    assert len(corpus) == len(kept)
    assert corpus.drops.empty + corpus.drops.too_long == 57 - len(kept)
    chosen = random.permutation(len(kept))
    batch = corpus.batch(chosen)
    for at, row in enumerate(chosen):
        assert batch.src_ids[at][batch.src_mask[at]].tolist() == kept[row]["src_ids"]
        assert batch.tgt_out[at][batch.tgt_mask[at]].tolist() == [*kept[row]["tgt_ids"], EOS]
    assert corpus.token_counts(chosen[:9]) == (corpus.batch(chosen[:9]).src_tokens, corpus.batch(chosen[:9]).tgt_tokens)
