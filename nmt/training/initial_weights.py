"""Initial weights of a new training that are not random: another model's weights, or word vectors."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nmt.alignment.words import SPACE
from nmt.config import Config, ModelPart
from nmt.data.lines import read_lines
from nmt.data.tokenizer import EOS, UNK, SentencePieceTokenizer, Tokenizer
from nmt.errors import ConfigError, DataError
from nmt.training.freeze import parts_of

log = logging.getLogger(__name__)
_LARGEST = 1e6  # numbers of a vector must be below this in absolute value


class KnownModel(NamedTuple):
    """A trained model and the tokenizer that it was trained with."""

    model: nn.Module
    tokenizer: Tokenizer


def take_weights(model: nn.Module, tokenizer: Tokenizer, known: KnownModel, reset: Sequence[ModelPart] = ()) -> None:
    """Set the weights of a new model to those of a known model of the same sizes, whose vocabulary may differ.

    A piece of the known vocabulary keeps its rows. Any other piece gets the mean of the rows of the known pieces that
    spell it (Gee et al. 2022, Fast vocabulary transfer). A piece that cannot be spelled stays random.

    Args:
        model: the new model, with its random weights.
        tokenizer: the tokenizer of the new model.
        known: the known model with its tokenizer.
        reset: parts that keep their random weights; a parameter that two parts share is reset with either of them.

    Raises:
        ConfigError: if the vocabularies differ and one of them is not sentencepiece's, or if the model has no
            parameters in a part that is reset.
    """
    old = dict(known.model.named_parameters(remove_duplicate=False))
    same = known.tokenizer.fingerprint == tokenizer.fingerprint
    sides = {} if same else {side: _spellings(tokenizer, known.tokenizer, side) for side in ("src", "tgt")}
    parts: dict[int, set[ModelPart]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        parts.setdefault(id(parameter), set()).update(parts_of(name))
    if missing := set(reset) - set().union(*parts.values()):
        raise ConfigError(f"--reset {min(missing)}: this model has no parameters there; take it out")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parts[id(parameter)] & set(reset):
                continue
            side = _side(name)
            if same or side is None:
                parameter.copy_(old[name])
                continue
            for piece, spelling in enumerate(sides[side]):
                if spelling:
                    parameter[piece] = old[name][spelling].mean(dim=0)
    if not same:
        kept = sum(len(spelling) == 1 for spelling in sides["tgt"])
        made = sum(len(spelling) > 1 for spelling in sides["tgt"])
        log.info(
            "of %d target pieces, %d are taken from the other vocabulary, %d start as the mean of its pieces that "
            "spell them, and %d start at random",
            tokenizer.tgt_size,
            kept,
            made,
            tokenizer.tgt_size - kept - made,
        )


def take_pretrained(model: nn.Module, tokenizer: Tokenizer, config: Config) -> None:
    """Initialise the embeddings of a new model with the word vectors of `training.pretrained_embeddings`, if any.

    Raises:
        ConfigError: if the tokenizer is not sentencepiece's.
        DataError: if a file cannot be used.
    """
    tables = dict(model.named_parameters(remove_duplicate=False))
    keys = {"src": "src_embedding.weight", "tgt": "decoder.embedding.weight"}
    for side, path in _vector_files(tokenizer, config):
        pieces = _pieces(getattr(tokenizer, side))
        found = take_vectors(tables[keys[side]], pieces, path)
        level = logging.INFO if found else logging.WARNING
        log.log(level, "%d of %d %s embeddings start as vectors of %s", found, len(pieces), side, path)


def check_pretrained(tokenizer: Tokenizer, config: Config) -> None:
    """Check the files of word vectors by reading them, without a model.

    Raises:
        ConfigError: if the tokenizer is not sentencepiece's.
        DataError: if a file cannot be used.
    """
    for _, path in _vector_files(tokenizer, config):
        for _ in _vectors(path, config.model.embedding_size):
            pass


def _vector_files(tokenizer: Tokenizer, config: Config) -> Iterator[tuple[str, Path]]:
    """Yield the side and the path of each file of word vectors in a configuration."""
    files = config.training.pretrained_embeddings
    names = (files.tgt, files.src) if config.data.reverse else (files.src, files.tgt)
    for side, name in zip(("src", "tgt"), names, strict=True):
        if name is None:
            continue
        if not isinstance(tokenizer, SentencePieceTokenizer):
            raise ConfigError("training.pretrained_embeddings needs a sentencepiece tokenizer")
        yield side, Path(config.data.root or "").expanduser() / Path(name).expanduser()


def _side(name: str) -> str | None:
    """Return the side whose pieces are the rows of a parameter; None if its rows are not pieces."""
    return {
        "src_embedding.weight": "src",
        "decoder.embedding.weight": "tgt",
        "output.weight": "tgt",
        "output.bias": "tgt",
    }.get(name)


def _spellings(new: Tokenizer, old: Tokenizer, side: str) -> list[list[int]]:
    """Return, for each piece of the new vocabulary, the pieces of the old one that spell it."""
    if not isinstance(new, SentencePieceTokenizer) or not isinstance(old, SentencePieceTokenizer):
        raise ConfigError("a new vocabulary can only replace another one if both are sentencepiece's")
    ours, theirs = getattr(new, side), getattr(old, side)
    known = {piece: at for at, piece in enumerate(_pieces(theirs))}
    spellings = []
    for at, piece in enumerate(_pieces(ours)):
        if at <= EOS or piece in known:
            spellings.append([at if at <= EOS else known[piece]])
            continue
        ids = theirs.encode(piece.replace(SPACE, " "), return_type=int)
        if not piece.startswith(SPACE) and ids and theirs.id_to_piece(ids[0]) == SPACE:
            ids = ids[1:]  # sentencepiece puts a space before every text
        spellings.append([] if UNK in ids else ids)
    return spellings


def _pieces(processor: Any) -> list[str]:
    return [str(processor.id_to_piece(at)) for at in range(processor.get_piece_size())]


def take_vectors(table: Tensor, pieces: Sequence[str], path: Path) -> int:
    """Initialise rows of an embedding table with pretrained vectors; return the number of rows.

    Each line of the file has a word and its numbers, in the format of word2vec, fastText (``.vec``) and GloVe, plain or
    compressed. A header line with two numbers is skipped. A word matches the piece that spells the entire word. If the
    file marks the beginnings of words as sentencepiece does, pieces inside words are matched, too. The vectors are
    scaled to the table's standard deviation, so that they fit the initial values of the rest of the model.

    Args:
        table: ``[V, E]``, changed in place.
        pieces: the V pieces.
        path: the file.

    Raises:
        DataError: if the file cannot be read, or if a vector is damaged or not as wide as the table; the message for a
            vector names the line.
    """
    begin = {piece.removeprefix(SPACE): at for at, piece in enumerate(pieces) if piece.startswith(SPACE) and at > EOS}
    inside = {piece: at for at, piece in enumerate(pieces) if not piece.startswith(SPACE) and at > EOS}
    plain: dict[int, list[float]] = {}
    marked: dict[int, list[float]] = {}
    marks = False
    for word, numbers in _vectors(path, table.shape[1]):
        if word.startswith(SPACE):
            marks = True
            if (at := begin.get(word.removeprefix(SPACE))) is not None:
                marked[at] = numbers
            continue
        if (at := begin.get(word)) is not None:
            plain.setdefault(at, numbers)
        if (at := inside.get(word)) is not None:
            marked[at] = numbers
    found = marked if marks else plain
    if found:
        rows = torch.tensor(list(found.values()), dtype=table.dtype)
        with torch.no_grad():
            scale = table[EOS + 1 :].std() / rows.std().clamp(min=1e-8)
            table[torch.tensor(list(found), device=table.device)] = (rows * scale.cpu()).to(table.device)
    return len(found)


def _vectors(path: Path, width: int) -> Iterator[tuple[str, list[float]]]:
    for number, line in enumerate(read_lines(path), start=1):
        fields = line.rstrip().split(" ")
        if number == 1 and len(fields) == 2:
            continue
        word = " ".join(fields[:-width])
        try:
            numbers = [float(field) for field in fields[-width:]]
        except ValueError:
            numbers = []
        too_wide = len(fields) > width + 1 and _is_number(fields[-width - 1])
        if not all(abs(value) < _LARGEST for value in numbers):  # NaN fails this comparison, too
            raise DataError(f"{path}, line {number}: a number of the vector is infinite, too large or not a number")
        if len(numbers) != width or not word or too_wide:
            raise DataError(
                f"{path}, line {number}: this is not a word followed by {width} numbers; the vectors must be as wide "
                f"as model.embedding_size = {width}"
            )
        yield word, numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
