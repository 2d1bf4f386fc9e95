"""English and French words of the built-in corpus with the links between them, and phrases of such words."""

from dataclasses import dataclass


class English:
    """An English word; links refer to it by identity."""

    def __init__(self, text: str):
        self.text = text


@dataclass(frozen=True)
class French:
    """A French word and the English words that it translates, by sure and by possible links."""

    text: str
    sure: tuple[English, ...]
    possible: tuple[English, ...] = ()


@dataclass(frozen=True)
class Phrase:
    """English and French words of one phrase and, for noun phrases, the person and gender that a verb agrees with."""

    en: list[English]
    fr: list[French]
    person: int = 2  # column of the conjugation: je, tu, il/elle, nous, ils/elles
    feminine: bool = False

    @property
    def third_singular(self) -> bool:
        """Whether an English verb takes its -s."""
        return self.person == 2


def without_article(phrase: Phrase) -> Phrase:
    """Return a phrase with un or une replaced by de, as negation requires: je ne vois pas de chat."""
    if phrase.fr and phrase.fr[0].text in ("un", "une"):
        return Phrase(phrase.en, [French("de", phrase.fr[0].sure), *phrase.fr[1:]], phrase.person, phrase.feminine)
    return phrase


def linked(en: str, fr: str, person: int = 2, feminine: bool = False) -> Phrase:
    """Return a phrase of one English word and its French translation."""
    word = English(en)
    return Phrase([word], [French(fr, (word,))], person, feminine)


def joined(*phrases: Phrase) -> Phrase:
    """Return one phrase with the words of all given phrases in order."""
    return Phrase(
        [word for phrase in phrases for word in phrase.en], [word for phrase in phrases for word in phrase.fr]
    )
