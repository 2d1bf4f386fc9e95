"""What the data and the tokenizer of a configuration must agree on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.config import Config, TokenizerConfig
from nmt.data.prepare import load_corpora
from nmt.data.tokenizer import SentencePieceTokenizer
from nmt.data.tokenizer_training import train_tokenizer
from nmt.errors import ConfigError
from tests.conftest import SENTENCES


def test_a_tag_must_be_a_piece_of_another_runs_tokenizer(make_config: Callable[..., Config]) -> None:
    config = make_config()
    train = [{"src": config.data.train.src, "tgt": config.data.train.tgt, "tag": "<bt>"}]
    data = config.data.model_dump(exclude_defaults=True) | {"train": train}
    tagged = make_config(data=data)
    for symbols, is_piece in ([], False), (["<bt>"], True):
        tokenizer = train_tokenizer(TokenizerConfig(vocab_size=120, user_defined_symbols=symbols), lambda: SENTENCES)
        if is_piece:
            assert len(load_corpora(tagged, tokenizer).train) == len(SENTENCES)
        else:
            with pytest.raises(ConfigError, match="the tag <bt>, which is not a piece of the tokenizer"):
                load_corpora(tagged, tokenizer)


def test_two_vocabularies_do_not_share_one_matrix(make_config: Callable[..., Config]) -> None:
    config = make_config(model={"tie_embeddings": "all"})
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=120, joint=False), lambda: SENTENCES)
    with pytest.raises(ConfigError, match="but the tokenizer has a vocabulary for each side"):
        load_corpora(config, tokenizer)
    assert len(load_corpora(make_config(), tokenizer).train) == len(SENTENCES)


def test_a_window_is_guided_by_squared_differences(make_config: Callable[..., Config]) -> None:
    training = {"guided_alignment": {"enabled": True}}
    for window, loss in (("none", "cross_entropy"), ("local-m", "squared")):
        model = {"attention": {"score": "general", "window": window}}
        assert make_config(model=model, training=training).guided_loss == loss


def test_two_imported_vocabularies_are_exchanged_for_the_other_direction(
    make_config: Callable[..., Config], tmp_path: Path
) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=60, joint=False), lambda: SENTENCES)
    tokenizer.save(tmp_path / "pieces")
    section = TokenizerConfig(model=str(tmp_path / "pieces"))
    for reverse in (False, True):
        config = make_config()
        data = config.data.model_copy(update={"reverse": reverse})
        config = config.model_copy(update={"data": data, "tokenizer": section})
        found = load_corpora(config).tokenizer
        assert isinstance(found, SentencePieceTokenizer)
        assert found.models == (tokenizer.models[::-1] if reverse else tokenizer.models)
