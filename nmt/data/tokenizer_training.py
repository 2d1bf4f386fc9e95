"""Training of sentencepiece models, and the range of vocabulary sizes that a text allows."""

import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator

import sentencepiece as spm

from nmt.alignment.words import word_spans
from nmt.config import BaseTokenizerConfig, TokenizerConfig
from nmt.data.tokenizer import SPECIALS, SentencePieceTokenizer, Tokenizer, load_model
from nmt.errors import TokenizerError

_MOST_PAIRS = 1_000_000  # the most pairs that a model is trained on
_THREADS = 4  # the same on every machine, since the sums of a unigram model depend on the number of threads
_WORD_END = "\x1f"  # stands between words in the training text only


def train_tokenizer(config: BaseTokenizerConfig, pairs: Callable[[], Iterable[tuple[str, str]]]) -> Tokenizer:
    """Train a tokenizer on the training text: one model on both sides if joint, else one per side.

    Args:
        config: type, vocabulary size and options.
        pairs: a function that returns a fresh iterator over (source, target) texts, which are read a few times. Of more
            than a million pairs, only every second, third and so on is used, since sentencepiece holds its text in
            memory.

    Raises:
        TokenizerError: if the vocabulary is too large or too small for the text; the message has the feasible range.
    """
    if not isinstance(config, TokenizerConfig):
        tokenizer: Tokenizer = config.train(pairs)
        return tokenizer
    step = max(1, math.ceil(sum(1 for _ in pairs()) / _MOST_PAIRS))

    def texts(sides: tuple[int, ...]) -> Iterator[str]:
        chosen = itertools.islice(pairs(), 0, None, step)
        return (pair[side] for pair in chosen for side in sides if pair[side].strip())

    if config.joint:
        return SentencePieceTokenizer(_train(config, lambda: texts((0, 1)), "both sides' training text"))
    src = _train(config, lambda: texts((0,)), "the source side's training text")
    return SentencePieceTokenizer(src, _train(config, lambda: texts((1,)), "the target side's training text"))


def _train(config: TokenizerConfig, texts: Callable[[], Iterable[str]], name: str) -> bytes:
    try:
        model = _run_trainer(config, config.vocab_size, texts())
        if load_model(model).get_piece_size() == config.vocab_size:
            return model
        message = "vocab_size not reached"  # training a char model raises no error if the text has too few characters
    except RuntimeError as error:
        message = str(error)
    if not re.search(r"vocab(ulary)?[ _]size", message, re.IGNORECASE):
        raise TokenizerError(f"sentencepiece could not be trained: {message}")
    lowest, highest = _feasible_range(config, texts, message)
    raise TokenizerError(
        f"tokenizer.vocab_size is {config.vocab_size}, but a {config.type} model of {name} can have {lowest} to "
        f"{highest} pieces; set tokenizer.vocab_size in that range"
    )


def _run_trainer(config: TokenizerConfig, vocab_size: int, texts: Iterable[str], hard_limit: bool = True) -> bytes:
    model = io.BytesIO()
    cut_words = config.pretokenization == "words"
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(map(_mark_words, texts) if cut_words else texts),
        model_writer=model,
        vocab_size=vocab_size,
        model_type=config.type,
        character_coverage=config.character_coverage,
        byte_fallback=config.byte_fallback,
        normalization_rule_name=config.normalization,
        user_defined_symbols=config.user_defined_symbols,
        hard_vocab_limit=hard_limit,
        split_by_unicode_script=not cut_words,
        pretokenization_delimiter=_WORD_END if cut_words else "",
        max_sentence_length=65536,
        input_sentence_size=5_000_000,
        shuffle_input_sentence=False,
        num_threads=_THREADS,
        minloglevel=2,
        **SPECIALS,
    )
    return model.getvalue()


def _mark_words(text: str) -> str:
    """Return `text` with a mark between words that are not separated by white space."""
    spans = word_spans(text)
    cuts = [start for (_, end), (start, _) in itertools.pairwise(spans) if end == start]
    return _WORD_END.join(text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))


def feasible_sizes(config: TokenizerConfig, pairs: Callable[[], Iterable[tuple[str, str]]]) -> tuple[int, int]:
    """Return the smallest and largest `vocab_size` that the text allows (on both sides, if there are two models)."""
    sides = [(0, 1)] if config.joint else [(0,), (1,)]
    ranges = [
        _feasible_range(config, lambda chosen=chosen: (p[s] for p in pairs() for s in chosen if p[s].strip()), "")  # type: ignore[misc]
        for chosen in sides
    ]
    return max(lowest for lowest, _ in ranges), min(highest for _, highest in ranges)


def _feasible_range(config: TokenizerConfig, texts: Callable[[], Iterable[str]], message: str) -> tuple[int, int]:
    """Return the smallest and largest number of pieces; `message` is sentencepiece's error for an impossible number."""
    lowest = 5
    if found := re.search(r"required_chars\. \d+ vs (\d+)", message):
        lowest = int(found[1])
    else:
        try:
            _run_trainer(config, 5, texts())
        except RuntimeError as error:
            if found := re.search(r"required_chars\. \d+ vs (\d+)", str(error)):
                lowest = int(found[1])
    try:
        largest = _run_trainer(config, max(1_000_000, config.vocab_size), texts(), hard_limit=False)
    except RuntimeError as error:
        raise TokenizerError(f"sentencepiece could not be trained: {error}") from None
    return lowest, int(load_model(largest).get_piece_size())
