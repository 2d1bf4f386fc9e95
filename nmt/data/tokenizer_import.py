"""Sentencepiece models that were trained elsewhere, or by another run."""

from pathlib import Path
from typing import Any

from nmt.data.tokenizer import LARGEST_MODEL, SPECIALS, SentencePieceTokenizer, load_model
from nmt.errors import TokenizerError
from nmt.regular import read_regular

_NAMES = ("pad", "unk", "bos", "eos")  # in the order of their ids


def import_tokenizer(path: Path, sampled: str | None = None) -> SentencePieceTokenizer:
    """Return the tokenizer of a folder, or a joint tokenizer made from a sentencepiece model with any special ids.

    Args:
        path: a run folder, a folder that `Tokenizer.save` wrote, or the file of a model.
        sampled: the type of model that subword sampling expects; None without sampling.

    Raises:
        TokenizerError: if there is no model, or it is damaged or of another type.
    """
    if path.is_dir():
        inside = path / "tokenizer"
        try:
            tokenizer = SentencePieceTokenizer.load(inside if inside.is_dir() else path)
        except TokenizerError as error:
            raise TokenizerError(f"tokenizer.model: {error}") from None
    else:
        try:
            tokenizer = SentencePieceTokenizer(with_our_specials(read_regular(path, LARGEST_MODEL)))
        except OSError as error:
            raise TokenizerError(f"tokenizer.model: {path} cannot be read ({error.strerror})") from None
    if sampled is not None and (kinds := {_kind(model) for model in tokenizer.models}) != {sampled}:
        raise TokenizerError(
            f"tokenizer.type is {sampled}, but the model of {path} is of type {' and '.join(sorted(kinds))}; set "
            f"tokenizer.type to that, since tokenizer.sampling depends on it"
        )
    return tokenizer


def _kind(model: bytes) -> str:
    """Return the type of a sentencepiece model: unigram, bpe, word or char."""
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    return str(proto.trainer_spec.ModelType.Name(proto.trainer_spec.model_type)).lower()


def with_our_specials(model: bytes) -> bytes:
    """Return a sentencepiece model with pad, unk, bos and eos as pieces 0 to 3, and its other pieces after them.

    Other control pieces are left out, since no text is ever segmented into them. Texts are segmented as before.

    Raises:
        TokenizerError: if it is not a sentencepiece model.
    """
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2.ModelProto()
    try:
        proto.ParseFromString(model)
    except DecodeError as error:
        raise TokenizerError(f"tokenizer.model is not a sentencepiece model: {error}") from None
    kinds = proto.SentencePiece
    text = [piece for piece in proto.pieces if piece.type not in (kinds.UNKNOWN, kinds.CONTROL)]
    if not text:
        raise TokenizerError("tokenizer.model has no pieces; is it a sentencepiece model?")
    kept = [(piece.piece, piece.score, piece.type) for piece in text]
    del proto.pieces[:]
    for name in _NAMES:
        kind = kinds.UNKNOWN if name == "unk" else kinds.CONTROL
        proto.pieces.add(piece=SPECIALS[f"{name}_piece"], score=0.0, type=kind)
    for spelling, score, kind in kept:
        proto.pieces.add(piece=spelling, score=score, type=kind)
    for key, value in SPECIALS.items():
        setattr(proto.trainer_spec, key, value)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    rewritten: bytes = proto.SerializeToString()
    load_model(rewritten)
    return rewritten
