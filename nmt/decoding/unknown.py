"""Replacement of unknown target pieces by the source words that they attend to (Luong et al. 2015b, section 3)."""

from nmt.alignment.words import SPACE, word_spans
from nmt.arrays import Float32Array
from nmt.data.tokenizer import UNK, Encoded


def replace_unknown(tgt: Encoded, src: Encoded, weights: Float32Array) -> Encoded:
    """Return the target with new text for every unknown piece, and new offsets; its ids and pieces stay the same.

    An unknown piece attends to the source piece with the largest weight. If that source piece is unknown too, its
    characters are copied. If it is known, the word that it belongs to is copied. The word is copied only once if
    several unknown pieces in a row attend to it.

    Args:
        tgt: the translation as pieces.
        src: the source text as pieces.
        weights: ``[at least len(tgt.ids), len(src.ids)]``, one row for each target piece.
    """
    if UNK not in tgt.ids or not src.ids or weights.shape[1] == 0:
        return tgt
    text, offsets, copied_before = "", [], (0, 0)
    for position, (piece, (start, end)) in enumerate(zip(tgt.ids, tgt.offsets, strict=True)):
        new, copied = tgt.text[start:end], (0, 0)
        if piece == UNK:
            looked_at = int(weights[position].argmax())
            copied = _copied(src, looked_at)
            new = src.text[slice(*copied)].strip()
            if src.ids[looked_at] != UNK and copied == copied_before:
                new = ""
            if new and src.pieces[looked_at].startswith(SPACE) and text and not text.endswith(" "):
                new = " " + new
        offsets.append((len(text), len(text) + len(new)))
        text, copied_before = text + new, copied
    return Encoded(text, tgt.ids, tgt.pieces, offsets)


def _copied(src: Encoded, piece: int) -> tuple[int, int]:
    """Return the span to copy for a source piece: its own characters if it is unknown, else the word it belongs to."""
    start, end = src.offsets[piece]
    if src.ids[piece] != UNK:
        words = [span for span in word_spans(src.text) if span[0] < end and start < span[1]]
        start, end = words[0] if words else (start, end)
    return start, end
