"""Choose the sizes that `nmt init` writes into a configuration, so that they fit the corpus.

The numbers interpolate between recipes that were measured on the phrasebook (5,000 pairs), on Multi30k (29,000 pairs)
and on subsets of Multi30k (docs/quality.md).
"""

from dataclasses import dataclass
from typing import Any, Literal

Preset = Literal["recurrent", "transformer"]
CJK = "Chinese or Japanese"


@dataclass(frozen=True)
class CorpusSize:
    """The properties of a corpus that the sizes depend on.

    Attributes:
        pairs: the number of training pairs.
        scripts: the usual script of each side.
        long_pairs: the share of pairs with more than 50 words on a side.
        tokenised: whether the target is already tokenised.
        changed: the share of target texts that the default of `tokenizer.normalization` changes.
    """

    pairs: int
    scripts: tuple[str | None, str | None]
    long_pairs: float = 0.0
    tokenised: bool = False
    changed: float = 0.0


def preset_settings(name: Preset, size: CorpusSize) -> dict[str, dict[str, Any]]:
    """Return the sections of a configuration, except `data`, that fit a corpus.

    Args:
        name: the kind of model.
        size: the size of the corpus.
    """
    joint = size.scripts[0] == size.scripts[1]
    settings: dict[str, dict[str, Any]] = {
        "tokenizer": _tokenizer(size, joint),
        "model": (_recurrent if name == "recurrent" else _transformer)(size.pairs, joint),
        "training": _training(name, size.pairs),
        "decoding": {"beam_size": 5, "length_penalty": 1.0},
    }
    if size.tokenised:
        settings["evaluation"] = {"bleu_tokenize": "none"}
    return settings


def max_length(size: CorpusSize) -> int:
    """Return the most pieces of a pair to train on: 100, or 250 if more than a hundredth of the pairs are long."""
    return 250 if size.long_pairs > 0.01 else 100


def _by_size(pairs: int, *steps: tuple[float, Any]) -> Any:
    """Return the value of the first step whose limit is larger than the number of pairs."""
    return next(value for limit, value in steps if pairs < limit)


_ANY = float("inf")


def _tokenizer(size: CorpusSize, joint: bool) -> dict[str, Any]:
    pieces = _by_size(
        size.pairs, (1_000, 500), (5_000, 1_000), (15_000, 2_000), (60_000, 4_000), (300_000, 8_000),
        (2_000_000, 16_000), (_ANY, 32_000),
    )  # fmt: skip
    settings: dict[str, Any] = {"type": "bpe", "vocab_size": pieces, "joint": joint}
    if CJK in size.scripts or "HANGUL" in size.scripts:
        # Thousands of characters occur only a few times; they are written as bytes instead of having their own pieces.
        settings |= {"vocab_size": max(pieces, 2_000), "character_coverage": 0.9995, "byte_fallback": True}
    if size.scripts[1] == CJK or size.changed > 0.01:
        # The other rules write full-width punctuation as "," and "!", and the space within a Persian word as a space
        # between words. The model could not write such characters.
        settings["normalization"] = "identity"
    return settings


def _recurrent(pairs: int, joint: bool) -> dict[str, Any]:
    width = _by_size(pairs, (3_000, 128), (5_000, 256), (300_000, 512), (_ANY, 768))
    dropout = _by_size(pairs, (3_000, 0.4), (15_000, 0.3), (300_000, 0.2), (_ANY, 0.1))
    return {
        "embedding_size": width,
        "encoder": {"cell": "gru", "hidden_size": width // 2},
        "bridge": "learned",
        "decoder": {"cell": "gru", "hidden_size": width, "wiring": "luong", "input_feeding": False},
        "attention": {"score": "additive", "size": max(64, width // 2)},
        "tie_embeddings": "all" if joint else "tgt_output",
        "dropout": {"embedding": dropout, "memory": dropout, "output": round(dropout + 0.1, 1)},
    }


def _transformer(pairs: int, joint: bool) -> dict[str, Any]:
    width = _by_size(pairs, (300_000, 128), (_ANY, 256))
    stack = {"layers": 4, "heads": 4, "feed_forward": 2 * width if width == 128 else 4 * width}
    dropout = _by_size(pairs, (15_000, 0.3), (300_000, 0.2), (_ANY, 0.1))
    return {
        "embedding_size": width,
        "encoder": {"type": "self_attention", **stack},
        "decoder": {"type": "transformer", **stack},
        "tie_embeddings": "all" if joint else "tgt_output",
        "dropout": {"embedding": dropout, "layers": dropout, "attention": 0.1, "memory": 0.0, "output": 0.0},
    }


def _training(name: Preset, pairs: int) -> dict[str, Any]:
    batch = _by_size(pairs, (3_000, 32), (15_000, 64), (_ANY, 128))
    epochs = _by_size(
        pairs, (1_000, 60), (3_000, 40), (15_000, 20), (60_000, 10), (300_000, 6), (2_000_000, 3), (_ANY, 2)
    )
    if name == "transformer":  # learns more slowly
        epochs *= 3
    updates = epochs * -(-pairs // batch)
    warmup = min(150 if name == "recurrent" else 1_000, max(1, updates // 10))
    settings: dict[str, Any] = {
        "epochs": epochs,
        "batch_unit": "sentences",
        "batch_size": batch,
        "optimizer": {"name": "adam", "lr": 2e-3 if name == "recurrent" else 3e-3},
        "schedule": {"type": "cosine", "warmup": warmup, "min_factor": 0.02},
        "averaging": {"checkpoints": 2},
        "keep_last": 3,
    }
    if pairs >= 300_000:  # about ten validations per epoch
        settings["validation"] = {"every": max(1_000, pairs // batch // 10)}
    return settings
