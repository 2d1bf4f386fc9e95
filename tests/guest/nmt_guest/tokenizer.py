"""A tokenizer of whole words."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from nmt.data.tokenizer import UNK, Encoded, Tokenizer

_SPECIALS = ["< pad >", "< unk >", "< bos >", "< eos >"]


class WhitespaceTokenizer(Tokenizer):
    """One vocabulary of words for both sides."""

    def __init__(self, words: list[str]):
        """Take the words; their ids follow the four special ones."""
        self.pieces = [*_SPECIALS, *words]
        self.ids = {word: number for number, word in enumerate(self.pieces)}
        self.joint, self.src_size, self.tgt_size = True, len(self.pieces), len(self.pieces)

    @classmethod
    def trained(cls, pairs: Iterable[tuple[str, str]], min_count: int) -> "WhitespaceTokenizer":
        """Count the words of both sides."""
        counts = Counter(word for pair in pairs for text in pair for word in text.split())
        return cls(sorted(word for word, count in counts.items() if count >= min_count))

    @classmethod
    def loaded(cls, folder: Path) -> "WhitespaceTokenizer":
        """Read what `save` wrote."""
        return cls(json.loads((folder / "words.json").read_text(encoding="utf-8")))

    def save(self, folder: Path) -> None:
        """Write the words."""
        (folder / "words.json").write_text(json.dumps(self.pieces[len(_SPECIALS) :]), encoding="utf-8")

    @property
    def fingerprint(self) -> str:
        """The digest of the words."""
        return hashlib.sha256(json.dumps(self.pieces).encode()).hexdigest()

    def encode_src(self, text: str) -> Encoded:
        """Return the words of a text with their characters."""
        spans = [match.span() for match in re.finditer(r"\S+", text)]
        ids = [self.ids.get(text[start:end], UNK) for start, end in spans]
        return Encoded(text, ids, [self.pieces[number] for number in ids], spans)

    def encode_tgt(self, text: str) -> Encoded:
        """Return the words of a text with their characters."""
        return self.encode_src(text)

    def decode_src(self, ids: Sequence[int]) -> Encoded:
        """Return the words of some ids with spaces between them."""
        pieces = [self.pieces[number] if number > UNK else "⁇" for number in ids]
        text = " ".join(pieces)
        spans = [match.span() for match in re.finditer(r"\S+", text)]
        return Encoded(text, list(ids), pieces, spans)

    def decode_tgt(self, ids: Sequence[int]) -> Encoded:
        """Return the words of some ids with spaces between them."""
        return self.decode_src(ids)
