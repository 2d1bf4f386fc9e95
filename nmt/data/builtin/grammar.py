"""The built-in corpus: an English-French grammar with gold word links, for a first run without any file.

Clauses are built from a small lexicon so that French differs from English. Object pronouns stand before the verb (I do
not see them / je ne les vois pas), adjectives after the noun (the black cat / le chat noir), and possessors after what
they own (Paul's house / la maison de Paul). French also has agreement and elision. Every French word refers to the
English words that it translates, so each sentence comes with its links. Each English sentence has one translation:
*you* is always *tu*.
"""

from collections.abc import Callable

from nmt.data.builtin.lexicon import (
    ADJECTIVES_BEHIND,
    ADVERBS,
    ANIMALS,
    DITRANSITIVE,
    ETRE,
    INTRANSITIVE,
    PEOPLE,
    PLACES,
    PRONOUNS,
    SAME_PERSON,
    THINGS,
    TIMES,
    TRANSITIVE,
    Verb,
)
from nmt.data.builtin.linked_words import English, French, Phrase, joined, linked, without_article
from nmt.data.builtin.noun_phrases import NounPhrases
from nmt.data.builtin.verbs import verb_group


class Grammar(NounPhrases):
    """Generates random sentences; the same state of the random generator gives the same sentence."""

    def sentence(self) -> Phrase:
        """Return a sentence of any kind."""
        kinds: list[tuple[Callable[[], Phrase], int]] = [
            (self.pronoun_clause, 25),
            (self.object_clause, 22),
            (self.giving_clause, 16),
            (self.intransitive_clause, 8),
            (self.copula_clause, 9),
            (self.there_is, 4),
            (self.wh_question, 6),
            (self.compound, 10),
        ]
        return self.rng.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]()

    def pronoun_clause(self) -> Phrase:
        """Return a clause with an object pronoun: I do not see them / je ne les vois pas."""
        subject = self.subject()
        clitic = self._object_pronoun(subject, direct=True)
        tense = self.rng.choice(["present"] * 4 + ["future"] + ["modal"] * 2)
        return self._clause(subject, self.rng.choice(TRANSITIVE), tense, clitics=[clitic], tail=self._time(0.2))

    def object_clause(self) -> Phrase:
        """Return a clause of subject, verb and a noun phrase as the object."""
        subject = self.subject()
        noun_phrase = self.noun_phrase(PEOPLE + ANIMALS + THINGS)
        tense = self.rng.choice(["present"] * 3 + ["past"] * 2 + ["future"] + ["modal"])
        return self._clause(subject, self.rng.choice(TRANSITIVE), tense, objects=[noun_phrase], tail=self._time(0.2))

    def giving_clause(self) -> Phrase:
        """Return a clause with two objects, nouns or pronouns: I give it to him / je le lui donne."""
        subject = self.subject()
        verb = self.rng.choice(DITRANSITIVE)
        receiver = self._object_pronoun(subject, direct=False)
        to = English("to")
        receiver_word = receiver.en[0]
        if self.rng.random() < 0.5:  # I give the book to him / je lui donne le livre
            gift = self.noun_phrase(THINGS)
            clitic = Phrase([], [French(receiver.fr[0].text, (receiver_word,), (to,))])
            tense = self.rng.choice(["present"] * 2 + ["past", "future", "modal"])
            return self._clause(subject, verb, tense, clitics=[clitic], objects=[gift, Phrase([to, receiver_word], [])])
        pronoun, clitic_text = self.rng.choice([("it", "le"), ("them", "les")])
        thing = English(pronoun)
        clitics = [French(clitic_text, (thing,)), French(receiver.fr[0].text, (receiver_word,), (to,))]
        if receiver.fr[0].text not in ("lui", "leur"):
            clitics.reverse()  # il me le donne, but il le lui donne
        tense = self.rng.choice(["present"] * 2 + ["future", "modal"])
        return self._clause(
            subject, verb, tense, clitics=[Phrase([], clitics)], objects=[Phrase([thing, to, receiver_word], [])]
        )

    def intransitive_clause(self) -> Phrase:
        """Return a clause of subject and verb, often with a place or a time."""
        verb = self.rng.choice(INTRANSITIVE)
        tense = self.rng.choice(["present", "past", "future", "modal"])
        tail = self.position() if self.rng.random() < 0.6 else self._time(0.4)
        return self._clause(self.subject(), verb, tense, tail=tail)

    def copula_clause(self) -> Phrase:
        """Return a clause of subject, *be*, and an adjective or a place."""
        subject = self.subject() if self.rng.random() < 0.6 else self.noun_phrase(THINGS + PLACES)
        word = English("am" if subject.person == 0 else "is" if subject.third_singular else "are")
        finite = French(ETRE[subject.person], (word,))
        if self.rng.random() < 0.7:
            drawn = self.rng.choice(ADJECTIVES_BEHIND)
            adjective = English(drawn.en)
            many = subject.person >= 3
            rest = Phrase([adjective], [French(drawn.agree(subject.feminine, many, False), (adjective,))])
        else:
            rest = self.position()
        kind = self.rng.random()
        if kind < 0.2:
            mark = English("?")
            ask = [French("est-ce", (), (word, mark)), French("que", (), (word, mark))]
            return Phrase(
                [word, *subject.en, *rest.en, mark], [*ask, *subject.fr, finite, *rest.fr, French("?", (mark,))]
            )
        if kind < 0.5:
            negation = English("not")
            around = [French("ne", (negation,)), finite, French("pas", (negation,))]
            return Phrase([*subject.en, word, negation, *rest.en], [*subject.fr, *around, *rest.fr])
        return Phrase([*subject.en, word, *rest.en], [*subject.fr, finite, *rest.fr])

    def there_is(self) -> Phrase:
        """Return a clause such as: there are two cats in the garden / il y a deux chats dans le jardin."""
        noun_phrase = self.noun_phrase(PEOPLE + ANIMALS + THINGS, owner=False)
        there, verb = English("there"), English("is" if noun_phrase.person == 2 else "are")
        start = [French("il", (there,), (verb,)), French("y", (there,), (verb,)), French("a", (verb,), (there,))]
        position = self.position()
        return Phrase([there, verb, *noun_phrase.en, *position.en], [*start, *noun_phrase.fr, *position.fr])

    def wh_question(self) -> Phrase:
        """Return a question such as: why do you love me ? / pourquoi est-ce que tu m'aimes ?"""
        kind = self.rng.choice(["why", "when", "who", "where"])
        mark = English("?")
        if kind in ("why", "when"):
            subject, verb = self.subject(), self.rng.choice(TRANSITIVE)
            clitic = self._object_pronoun(subject, direct=True)
            asked = self._clause(subject, verb, "present", clitics=[clitic], question=True, negate=False)
            word = linked(kind, {"why": "pourquoi", "when": "quand"}[kind])
            return joined(word, asked)
        if kind == "where":
            noun_phrase = self.noun_phrase(PEOPLE + ANIMALS + THINGS, indefinite=False)
            where, verb_word = English("where"), English("is" if noun_phrase.person == 2 else "are")
            be = French("est" if noun_phrase.person == 2 else "sont", (verb_word,))
            return Phrase(
                [where, verb_word, *noun_phrase.en, mark],
                [French("où", (where,)), be, *noun_phrase.fr, French("?", (mark,))],
            )
        who = linked("who", "qui")
        told = self._clause(
            who,
            self.rng.choice(TRANSITIVE),
            "present",
            objects=[self.noun_phrase(PEOPLE + THINGS)],
            question=False,
            negate=False,
        )
        return Phrase([*told.en, mark], [*told.fr, French("?", (mark,))])

    def compound(self) -> Phrase:
        """Return two joined clauses: I see the cat but he does not see me / je vois le chat mais il ne me voit pas."""
        joint = self.rng.choice([("and", ["et"]), ("but", ["mais"]), ("because", ["parce", "que"])])
        word = English(joint[0])
        conjunction = Phrase([word], [French(text, (word,)) for text in joint[1]])
        first, second = (self.rng.choice([self._plain_pronoun_clause, self._plain_object_clause]) for _ in range(2))
        return joined(first(), conjunction, second())

    def _plain_pronoun_clause(self) -> Phrase:
        subject = self.subject()
        clitic = self._object_pronoun(subject, direct=True)
        return self._clause(subject, self.rng.choice(TRANSITIVE), "present", clitics=[clitic], question=False)

    def _plain_object_clause(self) -> Phrase:
        noun_phrase = self.noun_phrase(PEOPLE + ANIMALS + THINGS)
        verb, tense = self.rng.choice(TRANSITIVE), self.rng.choice(["present", "past", "future"])
        return self._clause(self.subject(), verb, tense, objects=[noun_phrase], question=False)

    def _object_pronoun(self, subject: Phrase, direct: bool) -> Phrase:
        """Return an object pronoun, with its French clitic, for another person than the subject."""
        fitting = [pronoun for pronoun in PRONOUNS if pronoun.person not in SAME_PERSON[subject.person]]
        pronoun = self.rng.choice(fitting)
        return linked(pronoun.en_object, pronoun.direct if direct else pronoun.indirect)

    def _time(self, chance: float) -> Phrase:
        return linked(*self.rng.choice(TIMES)) if self.rng.random() < chance else Phrase([], [])

    def _clause(
        self,
        subject: Phrase,
        verb: Verb,
        tense: str,
        *,
        clitics: list[Phrase] | None = None,
        objects: list[Phrase] | None = None,
        tail: Phrase | None = None,
        question: bool | None = None,
        negate: bool | None = None,
    ) -> Phrase:
        """Build a clause; where English uses word order and auxiliaries, French places words around the verb.

        Args:
            subject: the subject, which determines person and number.
            verb: the verb.
            tense: `present`, `past`, `future` or `modal`.
            clitics: object pronouns in French order; their English words stand after the verb.
            objects: noun phrases after the verb, in both languages.
            tail: a phrase that ends the clause.
            question: whether the clause is a question; random if None.
            negate: whether the clause is negated; random if None.
        """
        clitics, objects, tail = clitics or [], objects or [], tail or Phrase([], [])
        if question is None:
            question = tense != "modal" and self.rng.random() < 0.15
        if negate is None:
            negate = not question and self.rng.random() < 0.3
        negation = English(self.rng.choice(["not", "not", "never"])) if negate else None
        adverb = (
            self.rng.choice(ADVERBS)
            if not negate and not question and tense in ("present", "past") and self.rng.random() < 0.2
            else None
        )
        often = linked(*adverb) if adverb else Phrase([], [])
        group = verb_group(subject, verb, tense, negation, question, self.rng)
        if negation is not None:
            objects = [without_article(item) for item in objects]
        clitic_words = [word for clitic in clitics for word in clitic.fr]
        ne = [French("ne", (negation,), tuple(group.auxiliaries[:1]))] if negation else []
        pas = [French("jamais" if negation.text == "never" else "pas", (negation,))] if negation else []
        if tense == "modal":
            french = [*ne, group.finite[0], *pas, *clitic_words, *group.finite[1:]]
        else:
            french = [*ne, *clitic_words, group.finite[0], *pas, *often.fr, *group.finite[1:]]
        english = [*group.before_subject, *subject.en, *often.en, *group.behind_subject]
        for phrase in [*clitics, *objects, tail]:
            english += phrase.en
        french = [*subject.fr, *french, *(word for phrase in [*objects, tail] for word in phrase.fr)]
        if question:
            mark, ask = English("?"), tuple(group.before_subject)
            asking = [French("est-ce", ask, (mark,)), French("que", ask, (mark,))]
            return Phrase([*english, mark], [*asking, *french, French("?", (mark,))])
        return Phrase(english, french)
