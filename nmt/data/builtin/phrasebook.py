"""The pairs of the built-in corpus, split for training, validation and test."""

import random
from collections.abc import Iterator
from functools import cache

from nmt.data.builtin.grammar import Grammar
from nmt.data.builtin.lexicon import ELIDED, is_vowel
from nmt.data.builtin.linked_words import Phrase

_SEED = 20260101
_SIZE = {"train": 24_000, "valid": 1_000, "test": 1_000}


def render(phrase: Phrase) -> tuple[str, str, str]:
    """Return English text, French text with elision, and links in Pharaoh notation (``i-j`` sure, ``ipj`` possible)."""
    position = {id(word): at for at, word in enumerate(phrase.en)}
    english = [word.text for word in phrase.en]
    english = ["an" if word == "a" and english[at + 1][0] in "aeiou" else word for at, word in enumerate(english)]
    french, links = "", []
    for at, word in enumerate(phrase.fr):
        following = phrase.fr[at + 1].text if at + 1 < len(phrase.fr) else " "
        elides = word.text in ELIDED and is_vowel(following)
        french += ELIDED[word.text] if elides else word.text + " "
        sure = {position[id(source)] for source in word.sure}
        possible = {position[id(source)] for source in word.possible} - sure
        links += [f"{source}-{at}" for source in sorted(sure)] + [f"{source}p{at}" for source in sorted(possible)]
    return " ".join(english).replace(" ?", "?"), french.strip(), " ".join(links)


def _i_love_you() -> tuple[str, str, str]:
    return "I love you", "je t'aime", "0-0 2-1 1-2"


@cache
def _splits() -> dict[str, list[tuple[str, str, str]]]:
    """Return the pairs of all splits, by the name of the split.

    They are the same in every process, no sentence is in two splits, and the test split begins with *I love you*.
    """
    grammar = Grammar(random.Random(_SEED))
    example = _i_love_you()
    sentences = {example[0]: example}
    while len(sentences) < sum(_SIZE.values()):
        sentence = render(grammar.sentence())
        sentences.setdefault(sentence[0], sentence)
    drawn = list(sentences.values())
    valid, test = _SIZE["valid"], _SIZE["test"]
    return {"test": drawn[:test], "valid": drawn[test : test + valid], "train": drawn[test + valid :]}


def phrasebook(split: str) -> Iterator[tuple[str, str, str]]:
    """Yield the sentence pairs of a split with their gold links.

    Args:
        split: `train`, `valid` or `test`.
    """
    yield from _splits()[split]
