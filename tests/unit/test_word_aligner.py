from pathlib import Path

import numpy as np
import pytest
import torch

from nmt.alignment.bitext import BitextAligner
from nmt.alignment.links import parse_pharaoh
from nmt.alignment.matrix import AlignmentMatrix, WordLinks
from nmt.alignment.words import split_words
from nmt.data.builtin.phrasebook import phrasebook
from nmt.decoding import word_aligner
from nmt.decoding.word_aligner import NETWORK_SHARE, EncodedPair, WordAligner, network_posteriors
from nmt.errors import AlignmentError
from nmt.model.link_network import LinkNetwork
from nmt.training import link_network
from nmt.training.link_network import train_link_network

CPU = torch.device("cpu")


def pairs(count: int) -> list[EncodedPair]:
    random = np.random.default_rng(1)
    return [
        EncodedPair(random.integers(-1, 9, s), np.arange(0, s, 2), random.integers(-1, 9, t), np.arange(0, t, 2))
        for s, t in random.integers(1, 8, (count, 2))
    ]


def test_padding_and_company_do_not_matter() -> None:
    torch.manual_seed(1)
    network = LinkNetwork(9, 9, 8)
    some = pairs(12)
    for pair, together in zip(some, network_posteriors(network, some), strict=True):
        alone = network_posteriors(network, [pair])[0]
        assert together is not None
        assert alone is not None
        assert together.shape == (len(pair.tgt_starts), len(pair.src_starts))
        np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("cells", [1, 50, 10**6])
def test_how_many_cells_are_computed_at_once_does_not_matter(monkeypatch: pytest.MonkeyPatch, cells: int) -> None:
    torch.manual_seed(1)
    network, some = LinkNetwork(9, 9, 8), pairs(12)
    alone = [network_posteriors(network, [pair])[0] for pair in some]
    calls = []
    network.register_forward_pre_hook(lambda _, inputs: calls.append(inputs[0].numel() // max(inputs[0].shape[1], 1)))
    monkeypatch.setattr(word_aligner, "_CELLS_AT_ONCE", cells)
    for found, expected in zip(network_posteriors(network, some), alone, strict=True):
        assert found is not None
        assert expected is not None
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert sum(calls) == 12
    assert (len(calls) == 12) == (cells == 1)
    assert (len(calls) == 1) == (cells == 10**6)


def test_pairs_that_are_empty_or_too_long_are_left_to_the_statistics() -> None:
    nothing = np.zeros(0, dtype=np.int64)
    long = np.zeros(1001, dtype=np.int64)
    network = LinkNetwork(9, 9, 8)
    found = network_posteriors(
        network,
        [
            EncodedPair(nothing, nothing, long[:2], np.arange(2)),
            EncodedPair(long, np.arange(1001), long[:1], np.arange(1)),
        ],
    )
    assert found == [None, None]


def test_a_words_links_are_the_means_over_its_pieces() -> None:
    torch.manual_seed(2)
    network = LinkNetwork(9, 9, 8).eval()
    pair = EncodedPair(np.array([1, 2, 3]), np.array([0, 2]), np.array([4, 5]), np.array([0]))
    masks = torch.ones(1, 3, dtype=torch.bool), torch.ones(1, 2, dtype=torch.bool)
    _, logits = network(torch.tensor([[1, 2, 3]]), masks[0], torch.tensor([[4, 5]]), masks[1])
    by_piece = logits.sigmoid()[0].detach().numpy()
    found = network_posteriors(network, [pair])[0]
    np.testing.assert_allclose(found, [[by_piece[:, :2].mean(), by_piece[:, 2].mean()]], atol=1e-6)


def test_the_network_learns_links_and_leaves_the_global_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_network, "_FEWEST_UPDATES", 250)
    monkeypatch.setattr(link_network, "_MOST_EPOCHS", 250)
    monkeypatch.setattr(link_network, "_SIZE", 32)
    random = np.random.default_rng(4)
    encoded, links = [], []
    for _ in range(16):  # words of a reversed order, each translated by the word of the same number
        ids = random.permutation(6)[: random.integers(2, 5)]
        encoded.append(EncodedPair(ids, np.arange(len(ids)), ids[::-1].copy(), np.arange(len(ids))))
        links.append([(i, len(ids) - 1 - i) for i in range(len(ids))])
    state = torch.get_rng_state()
    network = train_link_network(encoded, links, (6, 6), CPU, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    right = wrong = 0
    for found, own in zip(network_posteriors(network, encoded), links, strict=True):
        assert found is not None
        chosen = {(int(src), int(tgt)) for tgt, src in np.argwhere(found > 0.5)}
        right, wrong = right + len(chosen & set(own)), wrong + len(chosen ^ set(own))
    assert right > 20 * wrong
    again = train_link_network(encoded, links, (6, 6), CPU, seed=1)
    assert all(torch.equal(one, two) for one, two in zip(network.parameters(), again.parameters(), strict=True))


@pytest.fixture(scope="module")
def aligner() -> WordAligner:
    rows = [row for row, _ in zip(phrasebook("train"), range(200), strict=False)]
    bitext = BitextAligner.fit([(split_words(src), split_words(tgt)) for src, tgt, _ in rows])
    torch.manual_seed(3)
    src, tgt = bitext.largest_pieces
    return WordAligner(bitext, LinkNetwork(len(src), len(tgt), 8).eval())


def test_the_aligner_is_a_weighted_mean(aligner: WordAligner) -> None:
    words = [(["the", "cat"], ["le", "chat"]), ([], ["le"])]
    statistical = aligner.bitext.posteriors(words)
    network = network_posteriors(aligner.network, aligner.encode(words))[0]  # type: ignore[arg-type]
    found = aligner.posteriors(words)
    np.testing.assert_allclose(found[0], (1 - NETWORK_SHARE) * statistical[0] + NETWORK_SHARE * network, atol=1e-6)
    assert found[1].shape == (1, 0)


def test_it_is_saved_and_read(aligner: WordAligner, tmp_path: Path) -> None:
    aligner.save(tmp_path / "aligner")
    again = WordAligner.load(tmp_path / "aligner", CPU)
    texts = [("I see the cat.", "je vois le chat."), ("", "x")]
    for one, two in zip(aligner.word_links(texts), again.word_links(texts), strict=True):
        np.testing.assert_allclose(one.probabilities, two.probabilities, atol=1e-3)
        assert one.read_from == two.read_from == "aligner"
    (tmp_path / "aligner" / "network.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(AlignmentError, match=r"network\.safetensors: the word aligner's network is damaged"):
        WordAligner.load(tmp_path / "aligner", CPU)


def test_the_matrix_of_links_by_hand() -> None:
    # "ab cd" / "x y": ab is both x and y, cd is y, and nothing else is sure
    links = WordLinks(np.array([[0.8, 0.1], [0.6, 0.6]], dtype=np.float32), [(0, 2), (3, 5)], [(0, 1), (2, 3)])
    matrix = links.matrix((["ab", "cd"], [(0, 2), (3, 5)]), (["x", "y"], [(0, 1), (2, 3)]), "words")
    np.testing.assert_allclose(matrix.weights, [[8 / 9, 1 / 9], [0.5, 0.5]], atol=1e-6)
    np.testing.assert_allclose(matrix.null, [0.2, 0.4], atol=1e-6)
    np.testing.assert_allclose(matrix.link_probabilities, links.probabilities, atol=1e-6)
    assert matrix.links() == [(0, 0), (0, 1), (1, 1)]
    # pieces: a | b | cd; a piece of a word has its word's links
    pieces = links.matrix((["a", "b", "cd"], [(0, 1), (1, 2), (3, 5)]), (["x", "y"], [(0, 1), (2, 3)]), "pieces", True)
    np.testing.assert_allclose(pieces.link_probabilities[:2], [[0.8, 0.8, 0.1], [0.6, 0.6, 0.6]], atol=1e-6)
    assert pieces.tgt_tokens[-1] == "</s>"
    assert pieces.null[-1] == 1.0
    assert len(pieces.links()) == 5
    # one token over both source words
    token = links.matrix((["ab cd"], [(0, 5)]), (["x", "y"], [(0, 1), (2, 3)]), "tokens")
    np.testing.assert_allclose(token.link_probabilities, [[0.8], [0.6]], atol=1e-6)


def test_null_must_fit() -> None:
    weights = np.ones((2, 1), dtype=np.float32)
    for null in (np.array([0.5]), np.array([0.5, 1.5]), np.array([0.5, np.nan])):
        with pytest.raises(AlignmentError, match="2 probabilities"):
            AlignmentMatrix(weights, ["a"], ["b", "c"], "words", "dropped", null=null.astype(np.float32))


def test_gold_words_of_the_phrasebook_are_those_of_the_aligner() -> None:
    src, tgt, links = next(iter(phrasebook("train")))
    assert max(link[0] for link in parse_pharaoh(links).sure) < len(split_words(src))
    assert max(link[1] for link in parse_pharaoh(links).sure) < len(split_words(tgt))
