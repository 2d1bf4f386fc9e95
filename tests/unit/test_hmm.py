import itertools

import numpy as np
import pytest

from nmt.alignment import hmm
from nmt.alignment.hmm import BidirectionalHMM


def paths(model: BidirectionalHMM, src: list[int], tgt: list[int]) -> tuple[np.ndarray, hmm._JumpCounts]:
    """The forward direction's posteriors and expected jumps, summed over every path of states in float64."""
    side, size = model.forward, len(src)
    table = {int(key): float(side.translation[index]) for index, key in enumerate(model.keys)}
    null = hmm.NULL_PROBABILITY
    jump = lambda a, b: side.jumps[b - a + hmm._JUMPS]  # noqa: E731
    total, posteriors, counts = 0.0, np.zeros((len(tgt), size)), hmm._JumpCounts()
    for states in itertools.product(itertools.product(range(size), (False, True)), repeat=len(tgt)):
        probability = 1.0
        for t, (position, empty) in enumerate(states):
            if t == 0:
                probability *= side.first[position] / side.first[:size].sum()
            elif empty:
                probability *= position == states[t - 1][0]  # a null state stays where the last word was
            else:
                before = states[t - 1][0]
                probability *= jump(before, position) / sum(jump(before, to) for to in range(size))
            emission = table.get(src[position] * model.sizes[1] + tgt[t], 1e-12)
            probability *= null * float(side.null[tgt[t]]) if empty else (1 - null) * emission
        total += probability
        for t, (position, empty) in enumerate(states):
            posteriors[t, position] += 0.0 if empty else probability
            if t == 0:
                counts.first[position] += probability  # also of a null state, which remembers the position
            elif not empty:
                counts.jumps[position - states[t - 1][0] + hmm._JUMPS] += probability
    counts.jumps, counts.first = counts.jumps / total, counts.first / total
    return posteriors / total, counts


def corpus() -> list[tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(3)
    return [
        (random.integers(0, 5, random.integers(1, 5)), random.integers(0, 6, random.integers(1, 5))) for _ in range(30)
    ]


def test_posteriors_are_sums_over_all_paths() -> None:
    pairs = corpus()
    model = BidirectionalHMM.fit(pairs, 5, 6)
    batch = next(iter(model._batches(pairs)))
    counts = hmm._JumpCounts()
    found = hmm._posteriors(model.forward, batch, counts)
    jumps, first = np.zeros_like(counts.jumps), np.zeros_like(counts.first)
    for row, index in enumerate(batch.pairs):
        src, tgt = pairs[index]
        expected, by_path = paths(model, src.tolist(), tgt.tolist())
        np.testing.assert_allclose(found[row, : len(tgt), : len(src)], expected, atol=2e-5)
        jumps, first = jumps + by_path.jumps, first + by_path.first
    np.testing.assert_allclose(counts.jumps, jumps, atol=2e-4)
    np.testing.assert_allclose(counts.first, first, atol=2e-4)


def test_training_learns_where_sentences_begin_and_how_far_links_jump() -> None:
    random = np.random.default_rng(5)
    pairs = [(words := random.integers(0, 40, 6), words.copy()) for _ in range(60)]  # links 0-0 1-1 ...
    side = BidirectionalHMM.fit(pairs, 40, 40).forward
    assert int(side.jumps.argmax()) == hmm._JUMPS + 1
    assert side.jumps[hmm._JUMPS + 1] > 10 * side.jumps[hmm._JUMPS - 1]
    assert int(side.first.argmax()) == 0


def test_far_positions_share_the_mean_of_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weight of a jump is used for each far position, so their counts must not be summed."""
    monkeypatch.setattr(hmm, "_JUMPS", 2)
    counts = hmm._JumpCounts()
    transitions = np.arange(25, dtype=np.float32).reshape(5, 5)
    counts.add(transitions, np.array([1, 2, 3, 4, 8], dtype=np.float32))
    expected = np.zeros(5)
    for row in range(5):
        expected[1:4] += [transitions[row, row + jump] if 0 <= row + jump < 5 else 0 for jump in (-1, 0, 1)]
        for bucket, far in ((0, transitions[row, : max(0, row - 1)]), (4, transitions[row, row + 2 :])):
            expected[bucket] += far.mean() if len(far) else 0
    np.testing.assert_allclose(counts.jumps, expected)
    np.testing.assert_allclose(counts.first, [1, 2, (3 + 4 + 8) / 3])
    short = hmm._JumpCounts()
    short.add(np.ones((1, 1), dtype=np.float32), np.array([7], dtype=np.float32))
    np.testing.assert_allclose(short.first, [7, 0, 0])


def test_padding_and_order_do_not_matter() -> None:
    pairs = corpus()
    model = BidirectionalHMM.fit(pairs, 5, 6)
    together = model.posteriors(pairs)
    for pair, expected in zip(pairs[::-1], together[::-1], strict=True):
        np.testing.assert_allclose(model.posteriors([pair])[0], expected, atol=1e-5)


def test_both_directions_are_treated_alike() -> None:
    pairs = corpus()
    one = BidirectionalHMM.fit(pairs, 5, 6).posteriors(pairs)
    turned = BidirectionalHMM.fit([(tgt, src) for src, tgt in pairs], 6, 5).posteriors([(t, s) for s, t in pairs])
    for ahead, back in zip(one, turned, strict=True):
        np.testing.assert_allclose(ahead, back.T, atol=1e-4)


def test_ibm_model_1_by_hand() -> None:
    # one pair, two words each, a uniform table: a link weighs (1 - null) / 2 / V, null weighs null x frequency
    model = BidirectionalHMM([(np.array([0, 1]), np.array([0, 1]))], 2, 2)
    batch = next(iter(model._batches([(np.array([0, 1]), np.array([0, 1]))])))
    link, null = 0.9 / 2 / 2, 0.1 * 0.5
    expected = link / (2 * link + null)
    np.testing.assert_allclose(hmm._posteriors(model.forward, batch, None), expected, rtol=1e-5)


def test_digamma() -> None:
    # psi(1) = -gamma, psi(1/2) = -gamma - 2 ln 2, psi(x + 1) = psi(x) + 1 / x
    gamma = 0.5772156649015329
    found = hmm._digamma(np.array([1.0, 0.5, 1e-3, 7.25, 8.25]))
    np.testing.assert_allclose(found[:2], [-gamma, -gamma - 2 * np.log(2)], atol=1e-8)
    assert found[4] - found[3] == pytest.approx(1 / 7.25, abs=1e-8)
    assert found[2] == pytest.approx(-1000 - gamma, abs=2e-3)


def test_unknown_words_are_aligned_by_their_places() -> None:
    pairs = [(np.arange(4), np.arange(4))] * 20
    model = BidirectionalHMM.fit(pairs, 4, 4)
    found = model.posteriors([(np.array([0, -1, 2]), np.array([0, -1, 2]))])[0]
    assert found.argmax(axis=1).tolist() == [0, 1, 2]
    assert found[1, 1] > 0.3


def test_what_is_saved_aligns_alike() -> None:
    pairs = corpus()
    model = BidirectionalHMM.fit(pairs, 5, 6)
    again = BidirectionalHMM.from_arrays(model.arrays(), 5, 6)
    for one, two in zip(model.posteriors(pairs), again.posteriors(pairs), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-3)


@pytest.mark.parametrize(
    "damage",
    [
        {"keys": np.array([3, 1])},
        {"keys": np.array([-1])},
        {"forward.null": np.ones(2, dtype=np.float32)},
        {"backward.jumps": -np.ones(101)},
        {"forward.translation": None},
    ],
)
def test_damaged_arrays_are_refused(damage: dict[str, np.ndarray | None]) -> None:
    arrays = BidirectionalHMM.fit(corpus(), 5, 6).arrays() | damage
    with pytest.raises((ValueError, KeyError)):
        BidirectionalHMM.from_arrays({name: array for name, array in arrays.items() if array is not None}, 5, 6)
