"""Unknown pieces of a translation, replaced by what they look at in the source (Luong et al. 2015b, section 3)."""

import numpy as np
from numpy.typing import NDArray

from nmt.alignment.words import SPACE, word_spans
from nmt.data.tokenizer import UNK, Encoded


def replace_unknown(tgt: Encoded, src: Encoded, weights: NDArray[np.float32]) -> Encoded:
    """Return the target with every unknown piece replaced; ids and pieces stay, text and offsets are new.

    An unknown piece that looks at an unknown source piece copies its characters; one that looks at a known piece copies
    that piece's word, once even if several unknown pieces in a row look at it.

    Args:
        tgt: pieces of the translation.
        src: the source text as pieces.
        weights: ``[at least len(tgt.ids), len(src.ids)]``; a row's largest weight is what its piece looks at.
    """
    if UNK not in tgt.ids or not src.ids or weights.shape[1] == 0:
        return tgt
    text, offsets, copied_before = "", [], ""
    for position, (piece, (start, end)) in enumerate(zip(tgt.ids, tgt.offsets, strict=True)):
        new, copied = tgt.text[start:end], ""
        if piece == UNK:
            looked_at = int(weights[position].argmax())
            new = copied = _copied(src, looked_at)
            if src.ids[looked_at] != UNK and copied == copied_before:
                new = ""
            if new and src.pieces[looked_at].startswith(SPACE) and text and not text.endswith(" "):
                new = " " + new
        offsets.append((len(text), len(text) + len(new)))
        text, copied_before = text + new, copied
    return Encoded(text, tgt.ids, tgt.pieces, offsets)


def _copied(src: Encoded, piece: int) -> str:
    """Return what a source piece stands for: its own characters if it is unknown, else the word it belongs to."""
    start, end = src.offsets[piece]
    if src.ids[piece] != UNK:
        words = [span for span in word_spans(src.text) if span[0] < end and start < span[1]]
        start, end = words[0] if words else (start, end)
    return src.text[start:end].strip()
