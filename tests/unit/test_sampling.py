"""Segmentations drawn at random have the probabilities that the papers give them, in every process."""

import itertools
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nmt.config import Config, TokenizerConfig
from nmt.data.batching import Batch
from nmt.data.prepare import load_corpora
from nmt.data.sampled import sampled_epochs
from nmt.data.subword_regularization import Sampler, Sampling
from nmt.data.tokenizer import Tokenizer
from nmt.data.tokenizer_training import train_tokenizer
from tests.conftest import SENTENCES

COUNT = 20_000


class Pieces:
    """A piece model by hand: ids 0 to 3 are special."""

    def __init__(self, scores: dict[str, float]):
        self.names = ["<pad>", "<unk>", "<s>", "</s>", *scores]
        self.scores = [0.0] * 4 + list(scores.values())

    def get_piece_size(self) -> int:
        return len(self.names)

    def id_to_piece(self, piece: int) -> str:
        return self.names[piece]

    def get_score(self, piece: int) -> float:
        return self.scores[piece]

    def is_unknown(self, piece: int) -> bool:
        return piece == 1

    def is_control(self, piece: int) -> bool:
        return piece in (0, 2, 3)

    def is_byte(self, piece: int) -> bool:
        return False

    is_unused = is_byte

    def serialized_model_proto(self) -> bytes:
        return b""  # nothing of the user


def frequencies(model: Pieces, text: list[str], sampling: Sampling) -> dict[str, float]:
    sampler = Sampler(model, sampling)
    ids = [model.names.index(piece) for piece in text]
    drawn = Counter(" ".join(model.names[piece] for piece in sampler.sample(ids, seed)) for seed in range(COUNT))
    return {key: count / COUNT for key, count in drawn.items()}


UNIGRAM = Pieces({"▁": -3.0, "a": -1.5, "b": -2.0, "▁a": -2.2, "ab": -1.0, "▁ab": -2.5})


@pytest.mark.parametrize("nbest", [-1, 2])
def test_a_unigram_model_draws_in_proportion_to_the_smoothed_probabilities(nbest: int) -> None:
    alpha, word = 0.5, "▁ab"
    known = dict(zip(UNIGRAM.names[4:], UNIGRAM.scores[4:], strict=True))
    every = {}
    for cuts in itertools.product([False, True], repeat=len(word) - 1):
        parts = "".join(char + (" " if cut else "") for char, cut in zip(word, (*cuts, False), strict=True)).split()
        if all(part in known for part in parts):
            every[" ".join(parts)] = sum(known[part] for part in parts)
    best = dict(sorted(every.items(), key=lambda item: -item[1])[: None if nbest == -1 else nbest])
    total = sum(math.exp(alpha * score) for score in best.values())
    found = frequencies(UNIGRAM, ["▁ab"], Sampling("unigram", alpha, nbest))
    assert found.keys() == best.keys()
    for parts, score in best.items():
        assert found[parts] == pytest.approx(math.exp(alpha * score) / total, abs=0.015)


BPE = Pieces({"▁": -9.0, "a": -9.1, "b": -9.2, "▁a": -1.0, "ab": 0.0, "▁ab": -2.0})


def test_bpe_dropout_by_hand() -> None:
    # ab is merged first, then ▁ with ab; if ab is left out, ▁a comes next, and then ▁a with b.
    p = 0.3
    found = frequencies(BPE, ["▁ab"], Sampling("bpe", p, -1))
    assert found["▁ab"] == pytest.approx((1 - p) * (1 - p) + p * (1 - p) * (1 - p), abs=0.015)
    assert found["▁ ab"] == pytest.approx((1 - p) * p, abs=0.015)
    assert found["▁a b"] == pytest.approx(p * (1 - p) * p, abs=0.015)
    assert found["▁ a b"] == pytest.approx(p * p, abs=0.015)


def segmented(text: str, p: float) -> dict[str, float]:
    """The probabilities of segmentations by algorithm 1 of Provilkov et al. 2020, over every set of left-out merges.

    The merges are those of `MERGES`, the best first.
    """
    symbols = text.split()
    found: Counter[str] = Counter()
    possible = [at for at in range(len(symbols) - 1) if symbols[at] + symbols[at + 1] in MERGES]
    for kept in itertools.product([False, True], repeat=len(possible)):
        probability = math.prod((1 - p) if keeps else p for keeps in kept)
        done = [at for at, keeps in zip(possible, kept, strict=True) if keeps]
        if not done:
            found[text] += probability
            continue
        at = min(done, key=lambda at: MERGES.index(symbols[at] + symbols[at + 1]))
        merged = " ".join([*symbols[:at], symbols[at] + symbols[at + 1], *symbols[at + 2 :]])
        for result, share in segmented(merged, p).items():
            found[result] += probability * share
    return found


MERGES = ["ab", "cd", "abcd", "▁abcd"]


def test_bpe_dropout_draws_anew_before_each_merge() -> None:
    model = Pieces({**dict.fromkeys("▁abcd", -9.0), **{piece: -float(at) for at, piece in enumerate(MERGES)}})
    expected, found = segmented("▁ a b c d", 0.5), frequencies(model, ["▁abcd"], Sampling("bpe", 0.5, -1))
    assert found.keys() == expected.keys()
    for parts, probability in expected.items():
        assert found[parts] == pytest.approx(probability, abs=0.015)


def test_everything_left_out_is_characters_and_words_with_unknown_pieces_stay() -> None:
    assert frequencies(BPE, ["▁ab"], Sampling("bpe", 1.0, -1)) == {"▁ a b": 1.0}
    kept = Sampler(BPE, Sampling("bpe", 1.0, -1)).sample([BPE.names.index("▁a"), 1, BPE.names.index("▁ab")], 1)
    assert [BPE.names[piece] for piece in kept] == ["▁a", "<unk>", "▁", "a", "b"]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_drawn_pieces_spell_the_same_text(kind: Any) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(type=kind, vocab_size=85), lambda: SENTENCES)
    sampler = Sampler(tokenizer.src, Sampling(kind, 0.3, -1))
    different = 0
    for seed, (src, _) in enumerate(SENTENCES * 5):
        best = tokenizer.encode_src(src).ids
        drawn = sampler.sample(best, seed)
        assert tokenizer.tgt.decode(drawn) == src
        different += drawn != best
    assert different > 10


def test_another_process_draws_the_same(tokenizer: Tokenizer, tmp_path: Any) -> None:
    tokenizer.save(tmp_path)
    program = (
        "import sys; from pathlib import Path\n"
        "from nmt.data.tokenizer import SentencePieceTokenizer\n"
        "from nmt.data.subword_regularization import Sampling\n"
        "tokenizer = SentencePieceTokenizer.load(Path(sys.argv[1]))\n"
        "ids = tokenizer.encode_src('the black cat sees me today').ids\n"
        "sampler, _ = tokenizer.samplers(Sampling('bpe', 0.3, -1))\n"
        "print([sampler.sample(ids, seed) for seed in range(20)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    }
    assert len(said) == 1


def test_segmentations_of_a_bounded_number_of_words_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmt.data.subword_regularization._WORDS_KEPT", 3)
    pieces = Pieces(dict.fromkeys("abcdefgh", -1.0))
    for nbest in (-1, 2):
        sampler = Sampler(pieces, Sampling("unigram", 0.5, nbest))
        for piece in range(4, 12):
            assert sampler.sample([piece], 1) == [piece]
        kept = sampler._lattices.cache_info().currsize + sampler._best.cache_info().currsize
        assert kept == 3


SAMPLED = {"vocab_size": 120, "sampling": {"enabled": True, "alpha": 0.4}}


def spelled(batch: Batch) -> list[tuple[list[int], list[int]]]:
    return [
        (src[in_src].tolist(), tgt[in_tgt][:-1].tolist())
        for src, in_src, tgt, in_tgt in zip(batch.src_ids, batch.src_mask, batch.tgt_out, batch.tgt_mask, strict=True)
    ]


def test_a_pairs_pieces_depend_on_seed_epoch_and_row_alone(make_config: Callable[..., Config]) -> None:
    config = make_config(tokenizer=SAMPLED)
    corpora = load_corpora(config)
    first, second = map(sampled_epochs(config, corpora), (0, 1))
    every = np.arange(len(first))
    counts = first.token_counts(every)
    batch = first.batch(every)
    assert counts == (batch.src_tokens, batch.tgt_tokens)
    together = spelled(batch)
    alone = sampled_epochs(config, corpora)(0)
    assert [spelled(alone.batch([row]))[0] for row in reversed(every)] == together[::-1]
    assert spelled(second.batch(every)) != together
    other_seed = sampled_epochs(make_config(tokenizer=SAMPLED, seed=9), corpora)(0)
    assert spelled(other_seed.batch(every)) != together
    texts = [(corpora.tokenizer.decode_src(src).text, corpora.tokenizer.decode_tgt(tgt).text) for src, tgt in together]
    assert texts == SENTENCES
    assert together != spelled(corpora.train.batch(every))


def test_a_segmentation_over_the_limit_gives_way_to_the_best_one(make_config: Callable[..., Config]) -> None:
    config = make_config(tokenizer=SAMPLED)
    corpora = load_corpora(config)
    longest = int(max(corpora.train.src_len.max(), corpora.train.tgt_len.max()))
    short = make_config(tokenizer=SAMPLED, data={"max_length": longest})
    batch = sampled_epochs(short, load_corpora(short))(0).batch(range(len(SENTENCES)))
    assert max(batch.src_mask.sum(1).max(), batch.tgt_mask.sum(1).max() - 1) <= longest
    free = sampled_epochs(config, corpora)(0).batch(range(len(SENTENCES)))
    assert max(free.src_mask.sum(1).max(), free.tgt_mask.sum(1).max() - 1) > longest
