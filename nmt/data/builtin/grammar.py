"""The built-in corpus: an English-French grammar with gold word links, for a first run without any file.

Clauses are put together from a small lexicon so that French does what English does not: object pronouns before the
verb (I do not see them / je ne les vois pas), adjectives behind the noun (the black cat / le chat noir), possessors
behind what they own (Paul's house / la maison de Paul), agreement, elision. Every French word knows the English words
it stands for, so the links come with the sentences. Each English sentence has one translation: *you* is always *tu*.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

from nmt.data.builtin.lexicon import (
    ADJECTIVES_BEFORE,
    ADJECTIVES_BEHIND,
    ADVERBS,
    ANIMALS,
    AVOIR,
    DITRANSITIVE,
    ELIDED,
    ETRE,
    FUTURE_ENDINGS,
    INTRANSITIVE,
    MODALS,
    NAMES,
    NUMBERS,
    PEOPLE,
    PLACES,
    POSSESSIVES,
    PREPOSITIONS,
    PRONOUNS,
    SAME_PERSON,
    THINGS,
    TIMES,
    TRANSITIVE,
    Adjective,
    Noun,
    Verb,
    is_vowel,
)

_SEED = 20260101


_SIZE = {"train": 24_000, "valid": 1_000, "test": 1_000}


class English:
    """An English word; links refer to it by identity."""

    def __init__(self, text: str):
        self.text = text


@dataclass(frozen=True)
class French:
    """A French word and the English words it surely, and possibly, stands for."""

    text: str
    sure: tuple[English, ...]
    possible: tuple[English, ...] = ()


@dataclass(frozen=True)
class Phrase:
    """English and French words of one phrase; for noun phrases also what a verb agrees with."""

    en: list[English]
    fr: list[French]
    person: int = 2  # column of the conjugation: je, tu, il/elle, nous, ils/elles
    feminine: bool = False

    @property
    def third_singular(self) -> bool:
        """Whether an English verb takes its -s."""
        return self.person == 2


class Grammar:
    """Draws sentences at random; the same generator state draws the same sentence."""

    def __init__(self, rng: random.Random):
        self.rng = rng

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

    # Noun phrases

    def pronoun(self) -> Phrase:
        """Return a subject pronoun."""
        pronoun = self.rng.choice(PRONOUNS)
        return _linked(pronoun.en, pronoun.fr, pronoun.person, pronoun.feminine)

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
        return _linked(name, name, 2, feminine)

    def noun_phrase(self, nouns: list[Noun], indefinite: bool = True, owner: bool = True) -> Phrase:
        """Determiner, adjectives and noun.

        Args:
            nouns: the table to draw the noun from.
            indefinite: whether *a* and numbers may determine it.
            owner: whether a possessor may (Paul's cat).
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
            return _linked("the", "les" if many else "la" if feminine else "le")
        if kind == "a":
            return _linked("a", "une" if feminine else "un")
        if kind == "number":
            return _linked(*self.rng.choice(NUMBERS))
        if kind == "this":
            return _linked(
                "these" if many else "this", "ces" if many else "cette" if feminine else "cet" if vowel else "ce"
            )
        whose = self.rng.choice(POSSESSIVES)
        return _linked(
            whose.en, whose.plural if many else whose.feminine if feminine and not vowel else whose.masculine
        )

    def _owned(self, english: list[English], words: list[French], person: int, feminine: bool) -> Phrase:
        """Paul's black cat / le chat noir de Paul: the owner goes behind, and the article comes from nowhere."""
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
        return _joined(_linked(whose.en, whose.feminine if feminine else whose.masculine), _linked(noun, fr))

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
        return _joined(
            _linked(*preposition), self.noun_phrase(nouns, indefinite=preposition[0] != "without", owner=False)
        )

    # Clauses

    def pronoun_clause(self) -> Phrase:
        """Subject and object pronoun: I do not see them / je ne les vois pas."""
        subject = self.subject()
        clitic = self._object_pronoun(subject, direct=True)
        tense = self.rng.choice(["present"] * 4 + ["future"] + ["modal"] * 2)
        return self._clause(subject, self.rng.choice(TRANSITIVE), tense, clitics=[clitic], tail=self._time(0.2))

    def object_clause(self) -> Phrase:
        """Subject, verb and a noun phrase."""
        subject = self.subject()
        noun_phrase = self.noun_phrase(PEOPLE + ANIMALS + THINGS)
        tense = self.rng.choice(["present"] * 3 + ["past"] * 2 + ["future"] + ["modal"])
        return self._clause(subject, self.rng.choice(TRANSITIVE), tense, objects=[noun_phrase], tail=self._time(0.2))

    def giving_clause(self) -> Phrase:
        """Two objects, nouns or pronouns: I give it to him / je le lui donne."""
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
        """Subject and verb, often with a place."""
        verb = self.rng.choice(INTRANSITIVE)
        tense = self.rng.choice(["present", "past", "future", "modal"])
        tail = self.position() if self.rng.random() < 0.6 else self._time(0.4)
        return self._clause(self.subject(), verb, tense, tail=tail)

    def copula_clause(self) -> Phrase:
        """Subject, *be* and an adjective or a place."""
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
        """There are two cats in the garden / il y a deux chats dans le jardin."""
        noun_phrase = self.noun_phrase(PEOPLE + ANIMALS + THINGS, owner=False)
        there, verb = English("there"), English("is" if noun_phrase.person == 2 else "are")
        start = [French("il", (there,), (verb,)), French("y", (there,), (verb,)), French("a", (verb,), (there,))]
        position = self.position()
        return Phrase([there, verb, *noun_phrase.en, *position.en], [*start, *noun_phrase.fr, *position.fr])

    def wh_question(self) -> Phrase:
        """Why do you love me ? / pourquoi est-ce que tu m'aimes ?"""
        kind = self.rng.choice(["why", "when", "who", "where"])
        mark = English("?")
        if kind in ("why", "when"):
            subject, verb = self.subject(), self.rng.choice(TRANSITIVE)
            clitic = self._object_pronoun(subject, direct=True)
            asked = self._clause(subject, verb, "present", clitics=[clitic], question=True, negate=False)
            word = _linked(kind, {"why": "pourquoi", "when": "quand"}[kind])
            return _joined(word, asked)
        if kind == "where":
            noun_phrase = self.noun_phrase(PEOPLE + ANIMALS + THINGS, indefinite=False)
            where, verb_word = English("where"), English("is" if noun_phrase.person == 2 else "are")
            be = French("est" if noun_phrase.person == 2 else "sont", (verb_word,))
            return Phrase(
                [where, verb_word, *noun_phrase.en, mark],
                [French("où", (where,)), be, *noun_phrase.fr, French("?", (mark,))],
            )
        who = _linked("who", "qui")
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
        """Two clauses: I see the cat but he does not see me / je vois le chat mais il ne me voit pas."""
        joint = self.rng.choice([("and", ["et"]), ("but", ["mais"]), ("because", ["parce", "que"])])
        word = English(joint[0])
        conjunction = Phrase([word], [French(text, (word,)) for text in joint[1]])
        first, second = (self.rng.choice([self._plain_pronoun_clause, self._plain_object_clause]) for _ in range(2))
        return _joined(first(), conjunction, second())

    def _plain_pronoun_clause(self) -> Phrase:
        subject = self.subject()
        clitic = self._object_pronoun(subject, direct=True)
        return self._clause(subject, self.rng.choice(TRANSITIVE), "present", clitics=[clitic], question=False)

    def _plain_object_clause(self) -> Phrase:
        noun_phrase = self.noun_phrase(PEOPLE + ANIMALS + THINGS)
        verb, tense = self.rng.choice(TRANSITIVE), self.rng.choice(["present", "past", "future"])
        return self._clause(self.subject(), verb, tense, objects=[noun_phrase], question=False)

    def _object_pronoun(self, subject: Phrase, direct: bool) -> Phrase:
        """Return a pronoun object that is another person than the subject, as its French clitic."""
        fitting = [pronoun for pronoun in PRONOUNS if pronoun.person not in SAME_PERSON[subject.person]]
        pronoun = self.rng.choice(fitting)
        return _linked(pronoun.en_object, pronoun.direct if direct else pronoun.indirect)

    def _time(self, chance: float) -> Phrase:
        return _linked(*self.rng.choice(TIMES)) if self.rng.random() < chance else Phrase([], [])

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
        """Put a clause together: what English says with word order and auxiliaries, French says around the verb.

        Args:
            subject: gives person and number.
            verb: the verb.
            tense: `present`, `past`, `future` or `modal`.
            clitics: object pronouns in French order; their English words stand behind the verb.
            objects: noun phrases behind the verb, in both languages.
            tail: what ends the clause.
            question: ask or tell; drawn if None.
            negate: deny or not; drawn if None.
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
        often = _linked(*adverb) if adverb else Phrase([], [])
        group = _verb_group(subject, verb, tense, negation, question, self.rng)
        if negation is not None:
            objects = [_without_article(item) for item in objects]
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


@dataclass(frozen=True)
class _VerbGroup:
    """English words before and behind the subject, and the French finite verb with what follows it."""

    before_subject: list[English]
    behind_subject: list[English]
    finite: list[French]
    auxiliaries: list[English]


def _verb_group(
    subject: Phrase, verb: Verb, tense: str, negation: English | None, question: bool, rng: random.Random
) -> _VerbGroup:
    person = subject.person
    never = negation is not None and negation.text == "never"
    simple = (negation is None or never) and not question
    form = {"present": verb.third if subject.third_singular else verb.base, "past": verb.past}.get(tense, verb.base)
    head, *particles = (English(word) for word in (form if simple else verb.base).split("-"))
    words, possible = [head, *particles], tuple(particles)
    if tense == "modal":
        return _modal_group(subject, verb, negation, words, rng)
    auxiliary = English(
        "will" if tense == "future" else "did" if tense == "past" else "does" if subject.third_singular else "do"
    )
    with_auxiliary = tense == "future" or not simple
    helpers = (auxiliary,) if with_auxiliary else ()
    if tense == "present":
        finite = [French(verb.present[person], (head,), possible + helpers)]
    elif tense == "future":
        finite = [French(verb.future + FUTURE_ENDINGS[person], (head,), possible + helpers)]
    else:
        finite = [
            French(AVOIR[person], helpers or (head,), (*possible, head)),
            French(verb.participle, (head,), possible + helpers),
        ]
    if question:
        return _VerbGroup([auxiliary], words, finite, [])
    if negation is None:
        return _VerbGroup([], [*helpers, *words], finite, [])
    behind = [negation, *words] if not helpers else [auxiliary, negation, *words]
    return _VerbGroup([], behind, finite, list(helpers))


def _modal_group(
    subject: Phrase, verb: Verb, negation: English | None, words: list[English], rng: random.Random
) -> _VerbGroup:
    """I want to see you / je veux te voir; I cannot see you / je ne peux pas te voir."""
    drawn = rng.choice(MODALS)
    wants = drawn.base == "want-to"
    does = English("does" if subject.third_singular else "do")
    denied = negation is not None and negation.text == "not"
    text = drawn.base if denied or not subject.third_singular else drawn.third
    modal, *to = (English(word) for word in text.split("-"))
    infinitive = French(verb.infinitive, (words[0],), tuple(words[1:] + to))
    finite = [French(drawn.present[subject.person], (modal,), (does,) if wants and denied else ()), infinitive]
    if negation is None:
        return _VerbGroup([], [modal, *to, *words], finite, [])
    if not denied:
        return _VerbGroup([], [negation, modal, *to, *words] if wants else [modal, negation, *words], finite, [])
    return _VerbGroup(
        [],
        [does, negation, modal, *to, *words] if wants else [modal, negation, *words],
        finite,
        [does] if wants else [],
    )


def _without_article(phrase: Phrase) -> Phrase:
    """Under negation, un and une become de: je ne vois pas de chat, je ne vois jamais de chat."""
    if phrase.fr and phrase.fr[0].text in ("un", "une"):
        return Phrase(phrase.en, [French("de", phrase.fr[0].sure), *phrase.fr[1:]], phrase.person, phrase.feminine)
    return phrase


def _linked(en: str, fr: str, person: int = 2, feminine: bool = False) -> Phrase:
    """Return one English word and the French word it is."""
    word = English(en)
    return Phrase([word], [French(fr, (word,))], person, feminine)


def _joined(*phrases: Phrase) -> Phrase:
    return Phrase(
        [word for phrase in phrases for word in phrase.en], [word for phrase in phrases for word in phrase.fr]
    )


def render(phrase: Phrase) -> tuple[str, str, str]:
    """English text, French text with elision, and links in Pharaoh notation (``i-j`` sure, ``ipj`` possible)."""
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
    """The pairs of a split with their gold links.

    Args:
        split: `train`, `valid` or `test`.
    """
    yield from _splits()[split]
