"""What a new model takes from another one, or from word vectors, row by row."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from nmt.commands.dry_run import run_dry_run
from nmt.config import Config, TokenizerConfig
from nmt.data.tokenizer import SentencePieceTokenizer, Tokenizer
from nmt.data.tokenizer_training import train_tokenizer
from nmt.errors import ConfigError, DataError
from nmt.model.build import build_model
from nmt.model.seq2seq import Seq2Seq
from nmt.training.initial_weights import KnownModel, take_pretrained, take_vectors, take_weights
from tests.conftest import SENTENCES

OTHER = [("the dogs sleep today", "les chiens dorment"), ("we love the cat", "nous aimons le chat")]


def model_of(make_config: Callable[..., Config], size: int, seed: int, **model: object) -> Seq2Seq:
    torch.manual_seed(seed)
    return build_model(make_config(model=model), size, size)


@pytest.fixture
def smaller() -> SentencePieceTokenizer:
    found = train_tokenizer(TokenizerConfig(vocab_size=60), lambda: [*SENTENCES, *OTHER])
    assert isinstance(found, SentencePieceTokenizer)
    return found


@pytest.mark.parametrize("tie", ["none", "tgt_output", "all"])
def test_pieces_keep_their_rows_or_begin_as_the_mean_of_those_that_spell_them(
    make_config: Callable[..., Config],
    tokenizer: SentencePieceTokenizer,
    smaller: SentencePieceTokenizer,
    caplog: pytest.LogCaptureFixture,
    tie: str,
) -> None:
    sizes = {"tie_embeddings": tie}
    old, new = model_of(make_config, 60, 1, **sizes), model_of(make_config, 120, 2, **sizes)
    with caplog.at_level(logging.INFO, logger="nmt"):
        take_weights(new, tokenizer, KnownModel(old, smaller))
    tables = [(new.src_embedding, old.src_embedding), (new.decoder.embedding, old.decoder.embedding)]
    known = {smaller.tgt.id_to_piece(at): at for at in range(60)}
    kept = made = 0
    for at in range(4, 120):
        piece = tokenizer.tgt.id_to_piece(at)
        if piece in known:
            spelling = [known[piece]]
            kept += 1
        else:
            spelling = smaller.tgt.encode(piece.replace("▁", " "), return_type=int)
            if not piece.startswith("▁") and smaller.tgt.id_to_piece(spelling[0]) == "▁":
                spelling = spelling[1:]
            made += 1
        for ours, theirs in [*tables, (new.output, old.output)]:
            expected = theirs.weight[spelling].mean(dim=0)
            assert torch.equal(ours.weight[at], expected), piece
        assert torch.equal(new.output.bias[at], old.output.bias[spelling].mean())
    assert kept
    assert made
    assert torch.equal(new.output.bias[:4], old.output.bias[:4])
    for (name, ours), (_, theirs) in zip(new.named_parameters(), old.named_parameters(), strict=True):
        if ours.shape == theirs.shape:
            assert torch.equal(ours, theirs), name
    assert f"of 120 target pieces, {kept + 4} are taken" in caplog.text


def test_parts_that_are_reset_stay_random(make_config: Callable[..., Config], tokenizer: Tokenizer) -> None:
    old, new, plain = (model_of(make_config, 120, seed) for seed in (1, 2, 2))
    take_weights(new, tokenizer, KnownModel(old, tokenizer), ["encoder", "output"])
    fresh, theirs = dict(plain.named_parameters()), dict(old.named_parameters())
    for name, parameter in new.named_parameters():
        expected = fresh if name.startswith(("encoder.", "output.")) else theirs
        assert torch.equal(parameter, expected[name]), name


def test_a_part_without_parameters_cannot_be_reset(make_config: Callable[..., Config], tokenizer: Tokenizer) -> None:
    old, new = (model_of(make_config, 120, seed, attention={"score": "none"}) for seed in (1, 2))
    with pytest.raises(ConfigError, match="--reset attention: this model has no parameters there"):
        take_weights(new, tokenizer, KnownModel(old, tokenizer), ["attention"])


def test_what_two_parts_share_is_reset_with_either(make_config: Callable[..., Config], tokenizer: Tokenizer) -> None:
    old, new, plain = (model_of(make_config, 120, seed, tie_embeddings="all") for seed in (1, 2, 2))
    take_weights(new, tokenizer, KnownModel(old, tokenizer), ["output"])
    assert torch.equal(new.src_embedding.weight, plain.src_embedding.weight)


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


PIECES = ["< pad >", "< unk >", "< bos >", "< eos >", "▁cat", "cat", "▁do", "g", "▁."]


def test_vectors_stand_for_whole_words_and_are_scaled_to_the_table(tmp_path: Path) -> None:
    table = torch.randn(9, 3, generator=torch.Generator().manual_seed(1))
    before, rows = table.clone(), torch.tensor([[3.0, -1.0, 0.5], [1.0, 2.0, -4.0]])
    path = write(tmp_path / "w.vec", "3 3", "cat 3 -1 0.5", "dog 9 9 9", ". 1 2 -4", "cat 7 7 7")
    assert take_vectors(table, PIECES, path) == 2
    scale = before[4:].std() / rows.std()
    torch.testing.assert_close(table[[4, 8]], rows * scale)
    others = [0, 1, 2, 3, 5, 6, 7]
    assert torch.equal(table[others], before[others])


def test_vectors_of_pieces_are_found_inside_words_too(tmp_path: Path) -> None:
    table = torch.randn(9, 2, generator=torch.Generator().manual_seed(1))
    path = write(tmp_path / "w.txt", "▁cat 1 2", "cat 3 4", "g 5 6", "do 7 8")
    assert take_vectors(table, PIECES, path) == 3  # ▁do has none: `do` is a piece inside a word there
    torch.testing.assert_close(table[4] * 3, table[5] * torch.tensor([1.0, 1.5]))


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e300"])
def test_vectors_with_numbers_that_are_none_are_refused(tmp_path: Path, number: str) -> None:
    path = write(tmp_path / "w.txt", "cat 1 2 3", f"dog 1 {number} 3")
    with pytest.raises(DataError, match=r"w\.txt, line 2: a number of the vector"):
        take_vectors(torch.zeros(9, 3), PIECES, path)


@pytest.mark.parametrize("line", ["dog 1 2", "dog 1 2 3 4", "dog 1 two 3", "1 2 3"])
def test_vectors_of_another_width_are_refused_with_their_line(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "w.txt", "cat 1 2 3", line)
    with pytest.raises(DataError, match=r"w\.txt, line 2: this is not a word followed by 3 numbers"):
        take_vectors(torch.zeros(9, 3), PIECES, path)


def test_a_training_begins_with_the_vectors_that_its_configuration_names(
    make_config: Callable[..., Config], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    write(tmp_path / "en.vec", "the " + " ".join(map(str, range(12))))
    config = make_config(training={"pretrained_embeddings": {"src": "en.vec"}})
    model = model_of(make_config, 120, 3)
    before = [table.weight.detach().clone() for table in (model.src_embedding, model.decoder.embedding)]
    take_pretrained(model, tokenizer, config)
    assert isinstance(tokenizer, SentencePieceTokenizer)
    the = tokenizer.src.piece_to_id("▁the")
    assert the > 3
    row = model.src_embedding.weight[the]
    torch.testing.assert_close(row / row[1], torch.arange(12.0))
    changed = (model.src_embedding.weight != before[0]).any(dim=1).nonzero()[:, 0].tolist()
    assert changed == [the]
    assert torch.equal(model.decoder.embedding.weight, before[1])


def test_the_files_of_vectors_are_exchanged_with_the_sides(
    make_config: Callable[..., Config], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    write(tmp_path / "en.vec", "the " + " ".join(map(str, range(12))))
    config = make_config(data={"reverse": True}, training={"pretrained_embeddings": {"src": "en.vec"}})
    model = model_of(make_config, 120, 3)
    before = [table.weight.detach().clone() for table in (model.src_embedding, model.decoder.embedding)]
    take_pretrained(model, tokenizer, config)
    assert torch.equal(model.src_embedding.weight, before[0])
    assert isinstance(tokenizer, SentencePieceTokenizer)
    changed = (model.decoder.embedding.weight != before[1]).any(dim=1).nonzero()[:, 0].tolist()
    assert changed == [tokenizer.tgt.piece_to_id("▁the")]


def test_a_dry_run_reads_the_vectors_through(make_config: Callable[..., Config], tmp_path: Path) -> None:
    config = make_config(training={"pretrained_embeddings": {"src": "en.vec"}})
    numbers = " ".join(["0.5"] * 12)
    (tmp_path / "en.vec").write_text(f"cat {numbers}\ndog {numbers} 0.5\n")
    with pytest.raises(DataError, match=r"en\.vec, line 2: this is not a word followed by 12 numbers"):
        run_dry_run(config)
    (tmp_path / "en.vec").write_text(f"cat {numbers}\n")
    assert "(new)" in run_dry_run(config)
