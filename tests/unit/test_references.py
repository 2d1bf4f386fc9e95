"""References that the model cannot write."""

import logging
import unicodedata

import pytest

from nmt.config import TokenizerConfig
from nmt.data.references import warn_if_unwritable
from nmt.data.tokenizer_training import train_tokenizer

TEXT = "été à la plage où il fait chaud"


@pytest.mark.parametrize(("rule", "size", "count"), [("nmt_nfkc", 21, 1), ("identity", 20, 0)])
def test_references_in_another_unicode_form_are_reported(
    caplog: pytest.LogCaptureFixture, rule: str, size: int, count: int
) -> None:
    refs = [unicodedata.normalize("NFD", TEXT)] * 3
    settings = TokenizerConfig(vocab_size=size, type="char", normalization=rule)  # type: ignore[arg-type]
    tokenizer = train_tokenizer(settings, lambda: [(ref, ref) for ref in refs])
    with caplog.at_level(logging.WARNING, logger="nmt"):
        warn_if_unwritable(refs, tokenizer, lowercase=False)
    assert len(caplog.records) == count
    if count:
        assert "3 of 3 references" in caplog.text


def test_spaces_case_that_is_ignored_and_single_references_are_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    settings = TokenizerConfig(vocab_size=21, type="char", normalization="nmt_nfkc_cf")
    tokenizer = train_tokenizer(settings, lambda: [(TEXT, TEXT)])
    with caplog.at_level(logging.WARNING, logger="nmt"):
        warn_if_unwritable([f" {TEXT.title()}\u00a0 "] * 3, tokenizer, lowercase=True)
        warn_if_unwritable([TEXT] * 199 + [TEXT.upper()], tokenizer, lowercase=False)
        assert not caplog.records
        warn_if_unwritable([TEXT.title()] * 3, tokenizer, lowercase=False)
    assert len(caplog.records) == 1
    assert "'Été', which becomes 'été'" in caplog.text


def test_unknown_characters_are_not_taken_for_changed_ones(caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = train_tokenizer(TokenizerConfig(vocab_size=21, type="char"), lambda: [(TEXT, TEXT)])
    with caplog.at_level(logging.WARNING, logger="nmt"):
        warn_if_unwritable(["猫 猫"] * 3, tokenizer, lowercase=False)
    assert not caplog.records
