"""A check of references: whether the model could write them at all."""

import logging
from collections.abc import Sequence

from nmt.data.tokenizer import UNK, Tokenizer

log = logging.getLogger(__name__)
_LOOKED_AT = 2_000  # references
_TOLERATED = 0.01  # share of references that need no warning


def warn_if_unwritable(refs: Sequence[str], tokenizer: Tokenizer, lowercase: bool) -> None:
    """Log a warning if the model cannot write many of the references, because its tokenizer changes their characters.

    Args:
        refs: the references, of which some thousand are looked at.
        tokenizer: the tokenizer of the model.
        lowercase: whether scores ignore case.
    """
    changed = []
    for ref in refs[:_LOOKED_AT]:
        ids = tokenizer.encode_tgt(ref).ids
        if UNK in ids:  # a character that is unknown is another matter
            continue
        wanted, written = ref.split(), tokenizer.decode_tgt(ids).text.split()
        if lowercase:
            wanted, written = ref.lower().split(), " ".join(written).lower().split()
        if wanted != written:
            changed.append((wanted, written))
    looked_at = min(len(refs), _LOOKED_AT)
    if len(changed) <= _TOLERATED * looked_at:
        return
    wanted, written = changed[0]
    pairs = zip([*wanted, ""], [*written, ""], strict=False)
    word, instead = next((one, other) for one, other in pairs if one != other)
    log.warning(
        "%d of %d references have characters that the model's tokenizer changes, such as %r, which becomes %r. The "
        "model cannot write them, so its translations are better than BLEU, chrF and TER. A new run with "
        "tokenizer.normalization=identity keeps them",
        len(changed),
        looked_at,
        word[:40],
        instead[:40],
    )
