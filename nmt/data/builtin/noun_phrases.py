"""Noun phrases of the built-in corpus, with determiners, adjectives, possessors and prepositions."""

import random

from nmt.data.builtin.lexicon import (
    ADJECTIVES_BEFORE,
    ADJECTIVES_BEHIND,
    ANIMALS,
    NAMES,
    NUMBERS,
    PEOPLE,
    PLACES,
    POSSESSIVES,
    PREPOSITIONS,
    PRONOUNS,
    THINGS,
    Adjective,
    Noun,
    is_vowel,
)
from nmt.data.builtin.linked_words import English, French, Phrase, joined, linked


class NounPhrases:
    """Generates random subjects, objects and places; the same state of the random generator gives the same phrase."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def pronoun(self) -> Phrase:
        """Return a subject pronoun."""
        pronoun = self.rng.choice(PRONOUNS)
        return linked(pronoun.en, pronoun.fr, pronoun.person, pronoun.feminine)

    def subject(self) -> Phrase:
        """Return a pronoun, a name or a noun phrase of a person or an animal."""
        kind = self.rng.random()
        if kind < 0.5:
            return self.pronoun()
        if kind < 0.65:
            return self.name()
        return self.noun_phrase(PEOPLE + ANIMALS)

    def name(self) -> Phrase:
        """Return a person's name, the same in both languages."""
        name, feminine = self.rng.choice(NAMES)
        return linked(name, name, 2, feminine)

    def noun_phrase(self, nouns: list[Noun], indefinite: bool = True, owner: bool = True) -> Phrase:
        """Return a random noun phrase: determiner, adjectives and noun.

        Args:
            nouns: the table to draw the noun from.
            indefinite: whether the determiner may be *a* or a number.
            owner: whether the determiner may be a possessor (Paul's cat).
        """
        drawn = self.rng.choice(nouns)
        kinds = (
            ["the"] * 5
            + ["possessive"] * 3
            + ["this"] * 2
            + ["owner"] * 2 * owner
            + ["a"] * 4 * indefinite
            + ["number"] * 2 * indefinite
        )
        kind = self.rng.choice(kinds)
        many = kind == "number" or (kind != "a" and self.rng.random() < 0.3)
        noun = English(drawn.plural if many else drawn.singular)
        fr_noun = French(drawn.fr_plural if many else drawn.fr_singular, (noun,))
        before, behind = self._adjectives()
        adjectives = [English(adjective.en) for adjective in (before, behind) if adjective]
        words = [fr_noun]
        if before:
            text = before.agree(drawn.feminine, many, is_vowel(fr_noun.text))
            words.insert(0, French(text, (adjectives[0],)))
        if behind:
            words.append(French(behind.agree(drawn.feminine, many, False), (adjectives[-1],)))
        english = [*adjectives, noun]
        person = 4 if many else 2
        if kind == "owner":
            return self._owned(english, words, person, drawn.feminine)
        determiner = self._determiner(kind, drawn.feminine, many, is_vowel(words[0].text))
        return Phrase(determiner.en + english, determiner.fr + words, person, drawn.feminine)

    def _adjectives(self) -> tuple[Adjective | None, Adjective | None]:
        chance = self.rng.random()
        before = self.rng.choice(ADJECTIVES_BEFORE) if chance < 0.3 else None
        behind = self.rng.choice(ADJECTIVES_BEHIND) if 0.2 < chance < 0.5 else None
        return before, behind

    def _determiner(self, kind: str, feminine: bool, many: bool, vowel: bool) -> Phrase:
        if kind == "the":
            return linked("the", "les" if many else "la" if feminine else "le")
        if kind == "a":
            return linked("a", "une" if feminine else "un")
        if kind == "number":
            return linked(*self.rng.choice(NUMBERS))
        if kind == "this":
            return linked(
                "these" if many else "this", "ces" if many else "cette" if feminine else "cet" if vowel else "ce"
            )
        whose = self.rng.choice(POSSESSIVES)
        return linked(whose.en, whose.plural if many else whose.feminine if feminine and not vowel else whose.masculine)

    def _owned(self, english: list[English], words: list[French], person: int, feminine: bool) -> Phrase:
        """Return a noun phrase with a possessor: Paul's black cat / le chat noir de Paul.

        In French the owner comes last, and the article has only a possible link, to the owner.
        """
        owner = self.name() if self.rng.random() < 0.6 else self._relative()
        last = owner.en[-1]
        article = French("les" if person == 4 else "la" if feminine else "le", (), (last,))
        de = French("de", (last,))
        last.text += "'s"
        return Phrase(owner.en + english, [article, *words, de, *owner.fr], person, feminine)

    def _relative(self) -> Phrase:
        whose = self.rng.choice(POSSESSIVES)
        noun, fr, feminine = self.rng.choice(
            [("brother", "frère", False), ("sister", "sœur", True), ("neighbor", "voisin", False)]
        )
        return joined(linked(whose.en, whose.feminine if feminine else whose.masculine), linked(noun, fr))

    def position(self) -> Phrase:
        """Return a preposition with a noun phrase: in the garden / dans le jardin."""
        preposition = self.rng.choice(PREPOSITIONS)
        nouns = (
            PEOPLE
            if preposition[0] in ("with", "without", "for")
            else PLACES
            if preposition[0] in ("in", "behind")
            else THINGS
        )
        return joined(
            linked(*preposition), self.noun_phrase(nouns, indefinite=preposition[0] != "without", owner=False)
        )
