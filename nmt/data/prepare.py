"""The corpora of a run: text, tokenizer and piece ids, each made once and cached."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nmt.alignment.links import transposed
from nmt.alignment.words import FORMAT as WORDS_FORMAT
from nmt.alignment.words import SPACE
from nmt.arrays import Float64Array, IntArray
from nmt.config import Config, Source, TokenizerConfig
from nmt.config.load import load_config
from nmt.data.bitext_links import TextAligner, text_aligner, text_links
from nmt.data.cache import Table, cached_folder, cached_table
from nmt.data.checksums import digest
from nmt.data.dataset import PieceCorpus, encode_table, text_pairs
from nmt.data.guide import GUIDANCE_COLUMNS, TargetAlignments, check_links, guidance_rows
from nmt.data.lines import read_lines
from nmt.data.sources import file_digest, load_text, read_texts
from nmt.data.tokenizer import Tokenizer, load_tokenizer
from nmt.data.tokenizer_import import import_tokenizer
from nmt.data.tokenizer_training import train_tokenizer
from nmt.errors import ConfigError, DataError

log = logging.getLogger(__name__)

_TOKENIZER_FORMAT = 3  # raise it when the same settings and text give another tokenizer


@dataclass(frozen=True)
class Corpora:
    """The data that training reads.

    Attributes:
        tokenizer: the tokenizer of both sides.
        train_text: the training text, with columns `src`, `tgt`, `links`.
        valid_text: the validation text, with the same columns.
        train: the training pairs that were not dropped.
        valid: all validation pairs.
        fingerprints: the fingerprints of training data and validation data (`data` and `valid`), each of the text and
            the tokenizer, and of the file of word links that guide the attention (`links`), if there is one; if one
            differs, so do the data.
        aligner: the statistical word aligner of the training text, if it made the links.
        links_from: a description of where the links that guide the attention come from; None without guidance.
    """

    tokenizer: Tokenizer
    train_text: Table
    valid_text: Table
    train: PieceCorpus
    valid: PieceCorpus
    fingerprints: dict[str, str]
    aligner: TextAligner | None = None
    links_from: str | None = None

    def changed_since(self, known: Mapping[str, Any]) -> str | None:
        """Return which data differ from those of a checkpoint, given its fingerprints; None if none do."""
        if known.get("data") != self.fingerprints["data"]:
            return "the training data"
        for key, what in (("valid", "the validation data"), ("links", "the word links")):
            # Checkpoints of earlier versions do not have these fingerprints.
            if known.get(key, self.fingerprints.get(key)) != self.fingerprints.get(key):
                return what
        return None


@dataclass(frozen=True)
class _Guidance:
    """The target alignments of guided attention, where their links come from, and the aligner if it made them.

    `links_id` is the fingerprint of the links if they come from a file.
    """

    target: TargetAlignments | None = None
    links_from: str | None = None
    aligner: TextAligner | None = None
    links_id: str | None = None


def load_corpora(config: Config, tokenizer: Tokenizer | None = None, with_guide: bool = True) -> Corpora:
    """Read and tokenise the training and validation data, and read the test data to check them.

    Args:
        config: the configuration of the run.
        tokenizer: the tokenizer of another run, or of this one if it is resumed; None for the tokenizer that the
            configuration describes, which is imported, taken from the cache or trained.
        with_guide: whether word links are read or made if the configuration asks for guided attention.

    Raises:
        DataError: if the data cannot be read, or nothing is left to train on.
    """
    cache = Path(config.data.cache_dir).expanduser()
    train_source, valid_source = config.data.source("train"), config.data.source("valid")
    test_source = config.data.source("test")
    assert train_source is not None  # the schema requires both
    assert valid_source is not None
    train_text, train_id = load_train_text(config)
    valid_text, valid_id = load_text(valid_source, "valid", cache)
    if test_source is not None:
        load_text(test_source, "test", cache)  # so that an error in them shows before training and not after it
    if tokenizer is None:
        tokenizer = _cached_tokenizer(config, train_text, train_id, cache)
    _check_tokenizer(config, tokenizer)
    train_path = pieces_path(cache, train_id, tokenizer)
    train_pieces = encode_table(train_text, tokenizer, train_path)
    guidance = _Guidance()
    if with_guide:
        guidance = _load_guide(config, train_text, train_id, train_pieces, train_path, tokenizer, cache)
    train = PieceCorpus(train_pieces, config.data.max_length, guide=guidance.target)
    train.weights = pair_weights(train_source, train_text, config.data.temperature, train.rows)
    valid_path = pieces_path(cache, valid_id, tokenizer)
    valid = PieceCorpus(encode_table(valid_text, tokenizer, valid_path))
    refuse_longer_than_the_model(valid, config, "validation")
    if len(train) == 0:
        raise DataError(
            f"no training pair is left: {train.drops.empty} have an empty side, {train.drops.too_long} are longer than "
            f"data.max_length = {config.data.max_length} pieces; raise data.max_length or look at the data"
        )
    fingerprints = {"data": train_path.stem, "valid": valid_path.stem}
    fingerprints |= {} if guidance.links_id is None else {"links": guidance.links_id}
    return Corpora(tokenizer, train_text, valid_text, train, valid, fingerprints, guidance.aligner, guidance.links_from)


def load_train_text(config: Config) -> tuple[Table, str]:
    """Return the training pairs that the filters leave, and their fingerprint; see `load_text`."""
    source = config.data.source("train")
    assert source is not None  # the schema requires it
    held_out = {"valid": config.data.source("valid"), "test": config.data.source("test")}
    return load_text(source, "train", Path(config.data.cache_dir).expanduser(), config.data.filters, held_out)


def _check_tokenizer(config: Config, tokenizer: Tokenizer) -> None:
    """Refuse a tokenizer, of another run or imported, that the configuration does not fit.

    Raises:
        ConfigError: if the tokenizer splits a tag, or if its two vocabularies should share one matrix.
    """
    for tag in config.data.tags:
        if tag not in [piece.removeprefix(SPACE) for piece in tokenizer.encode_src(tag).pieces]:
            raise ConfigError(
                f"the data have the tag {tag}, which is not a piece of the tokenizer; train a tokenizer that has it "
                f"(user_defined_symbols), or take the tag out"
            )
    if config.model.ties_src_tgt and not tokenizer.joint:
        raise ConfigError(
            "model.tie_embeddings shares one matrix, but the tokenizer has a vocabulary for each side; set "
            "model.tie_embeddings to tgt_output or none"
        )


def pair_weights(source: Source, text: Table, temperature: float, rows: IntArray) -> Float64Array | None:
    """Return how often each pair that is used occurs in an epoch; None if each occurs once.

    Args:
        source: the source of the training data.
        text: the table of its pairs.
        temperature: see `DataConfig`.
        rows: the rows of the table that are used.
    """
    weights = np.array([part.weight for part in source.each])
    if not source.parts or (temperature == 1.0 and (weights == 1.0).all()):
        return None
    parts = text.column("part").to_numpy()[rows]
    if temperature != 1.0:
        sizes = np.bincount(parts, minlength=len(weights))
        shares = np.where(sizes > 0, sizes ** (1.0 / temperature), 0.0)
        weights = len(parts) * shares / shares.sum() / np.maximum(sizes, 1)
    of_pairs: Float64Array = weights[parts]
    return of_pairs


def _load_guide(
    config: Config, text: Table, text_id: str, pieces: Table, pieces_path: Path, tokenizer: Tokenizer, cache: Path
) -> _Guidance:
    """Return the target alignments of guided attention; all fields are None if the attention is not guided.

    Raises:
        ConfigError: if the corpus should bring links and does not, or brings links between other units.
    """
    settings = config.training.guided_alignment
    if config.guided_step is None:
        return _Guidance()
    made, level = None, settings.level
    with_own = settings.links in ("auto", "corpus") and text.has_text("links")
    if with_own:
        if level == "tokens":
            raise ConfigError(
                "training.guided_alignment.level is tokens, but the links of a corpus are between words; give links "
                "between tokens as training.guided_alignment.links"
            )
        links, links_id = text, "text"
    elif settings.links in ("auto", "bitext"):
        made = text_aligner(text, text_id, level, cache)
        links, links_id = text_links(text, made, cache), made.fingerprint
    elif settings.links == "corpus":
        raise ConfigError(
            "training.guided_alignment.links is corpus, but the training corpus comes without links; set it to auto, "
            "or to the name of a file"
        )
    else:
        links, links_id = _links_of_file(config, text, text_id, cache)
    path = cache / f"guided-{digest(WORDS_FORMAT, pieces_path.stem, links_id, level)}.arrow"
    guidance = cached_table(path, GUIDANCE_COLUMNS, guidance_rows(links, text, pieces, tokenizer, level))
    source = "the corpus" if with_own else "a word aligner of the training text" if made else settings.links
    target = TargetAlignments(links, guidance, tokenizer, level, config.guided_step)
    return _Guidance(target, source, made, None if guide_file(config) is None else links_id)


def guide_file(config: Config) -> Path | None:
    """Return the file of the links that guide the attention; None if it is not guided, or by other links."""
    name = config.training.guided_alignment.links
    if config.guided_step is None or name in ("auto", "corpus", "bitext"):
        return None
    return Path(config.data.root or "").expanduser() / Path(name).expanduser()


def _links_of_file(config: Config, text: Table, text_id: str, cache: Path) -> tuple[Table, str]:
    if config.data.tags:
        raise ConfigError(
            "training.guided_alignment.links names a file, but the training data have tags, which are words, too; give "
            "each part of data.train its own links instead"
        )
    path = guide_file(config)
    assert path is not None  # the caller knows that it is a file

    def lines_of_corpus() -> Iterator[str]:
        return map(transposed, read_lines(path)) if config.data.reverse else read_lines(path)

    def lines() -> Iterator[str]:
        if not config.data.filters:
            return lines_of_corpus()
        kept = {line for (line,) in text.rows("line")}
        return (links for line, links in enumerate(lines_of_corpus(), start=1) if line in kept)

    level = config.training.guided_alignment.level

    def checked_rows() -> Iterator[dict[str, str]]:
        # The file has a line for each pair, including those that a filter leaves out.
        source = config.data.source("train")
        pairs = read_texts(source, "train") if config.data.filters and source is not None else text_pairs(text)
        check_links(str(path), lines_of_corpus(), pairs, level)
        yield from ({"links": line} for line in lines())

    links_id = digest(file_digest(path, cache), config.data.reverse, text_id, level)
    return cached_table(cache / f"links-{links_id}.arrow", {"links": "string"}, checked_rows()), links_id


def refuse_longer_than_the_model(corpus: PieceCorpus, config: Config, name: str) -> None:
    """Refuse pairs that are too long for a model with a fixed number of positions, since evaluation drops no pair.

    Raises:
        DataError: naming the first such line.
    """
    for side, lengths, limit in (
        ("source", corpus.src_len, config.model.max_src_length),
        ("target", corpus.tgt_len + 1, config.model.max_tgt_length),
    ):
        if limit is not None and (lengths > limit).any():
            line = int((lengths > limit).argmax())
            raise DataError(
                f"line {line + 1} of the {name} data has {lengths[line]} {side} pieces (EOS counted on the target), "
                f"but the model has positions for {limit}; raise its max_src_length or max_positions, or split the line"
            )


def pieces_path(cache: Path, text_id: str, tokenizer: Tokenizer) -> Path:
    """Return the path in the cache of the piece ids that a tokenizer makes of a text."""
    return cache / f"pieces-{text_id}-{digest(tokenizer.fingerprint)}.arrow"


def _cached_tokenizer(config: Config, text: Table, text_id: str, cache: Path) -> Tokenizer:
    settings = config.tokenizer
    if isinstance(settings, TokenizerConfig) and settings.model is not None:
        path = Path(settings.model).expanduser()
        log.info("using the tokenizer of %s", path)
        tokenizer = import_tokenizer(path, settings.type if settings.sampling.enabled else None)
        if tokenizer.joint:
            return tokenizer
        was_reversed = (path / "config.yaml").is_file() and load_config(path / "config.yaml").data.reverse
        return tokenizer if config.data.reverse == was_reversed else tokenizer.reversed()
    if isinstance(settings, TokenizerConfig) and config.data.tags:
        symbols = list(dict.fromkeys([*settings.user_defined_symbols, *config.data.tags]))
        settings = settings.model_copy(update={"user_defined_symbols": symbols})

    def make(folder: Path) -> None:
        size = f" of {settings.vocab_size} pieces" if isinstance(settings, TokenizerConfig) else ""
        log.info("training a %s tokenizer%s", settings.type, size)
        train_tokenizer(settings, lambda: text_pairs(text)).save(folder)

    fingerprint = digest(_TOKENIZER_FORMAT, text_id, settings.model_dump(mode="json", exclude={"sampling"}))
    return load_tokenizer(settings, cached_folder(cache / f"tokenizer-{fingerprint}", make))
