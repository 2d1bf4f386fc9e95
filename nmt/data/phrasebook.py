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

_SEED = 20260101
_SIZE = {"train": 24_000, "valid": 1_000, "test": 1_000}
_NUMBERS = "two deux|three trois|four quatre|five cinq|six six|seven sept|nine neuf|ten dix|twelve douze|twenty vingt"

# base, third person, past | infinitive; je, tu, il, nous, ils; past participle; future stem
_TRANSITIVE = """
love loves loved|aimer aime aimes aime aimons aiment aimé aimer
see sees saw|voir vois vois voit voyons voient vu verr
hear hears heard|entendre entends entends entend entendons entendent entendu entendr
know knows knew|connaître connais connais connaît connaissons connaissent connu connaîtr
help helps helped|aider aide aides aide aidons aident aidé aider
follow follows followed|suivre suis suis suit suivons suivent suivi suivr
understand understands understood|comprendre comprends comprends comprend comprenons comprennent compris comprendr
invite invites invited|inviter invite invites invite invitons invitent invité inviter
admire admires admired|admirer admire admires admire admirons admirent admiré admirer
thank thanks thanked|remercier remercie remercies remercie remercions remercient remercié remercier
hate hates hated|détester déteste détestes déteste détestons détestent détesté détester
find finds found|trouver trouve trouves trouve trouvons trouvent trouvé trouver
forget forgets forgot|oublier oublie oublies oublie oublions oublient oublié oublier
draw draws drew|dessiner dessine dessines dessine dessinons dessinent dessiné dessiner
look-at looks-at looked-at|regarder regarde regardes regarde regardons regardent regardé regarder
look-for looks-for looked-for|chercher cherche cherches cherche cherchons cherchent cherché chercher
wait-for waits-for waited-for|attendre attends attends attend attendons attendent attendu attendr
listen-to listens-to listened-to|écouter écoute écoutes écoute écoutons écoutent écouté écouter
"""
_INTRANSITIVE = """
work works worked|travailler travaille travailles travaille travaillons travaillent travaillé travailler
sleep sleeps slept|dormir dors dors dort dormons dorment dormi dormir
sing sings sang|chanter chante chantes chante chantons chantent chanté chanter
dance dances danced|danser danse danses danse dansons dansent dansé danser
eat eats ate|manger mange manges mange mangeons mangent mangé manger
run runs ran|courir cours cours court courons courent couru courr
play plays played|jouer joue joues joue jouons jouent joué jouer
laugh laughs laughed|rire ris ris rit rions rient ri rir
cry cries cried|pleurer pleure pleures pleure pleurons pleurent pleuré pleurer
travel travels traveled|voyager voyage voyages voyage voyageons voyagent voyagé voyager
"""
_DITRANSITIVE = """
give gives gave|donner donne donnes donne donnons donnent donné donner
show shows showed|montrer montre montres montre montrons montrent montré montrer
lend lends lent|prêter prête prêtes prête prêtons prêtent prêté prêter
send sends sent|envoyer envoie envoies envoie envoyons envoient envoyé enverr
bring brings brought|apporter apporte apportes apporte apportons apportent apporté apporter
sell sells sold|vendre vends vends vend vendons vendent vendu vendr
"""
_MODALS = """
can can|peux peux peut pouvons peuvent
must must|dois dois doit devons doivent
want-to wants-to|veux veux veut voulons veulent
"""
_BE = "be is|être suis es est sommes sont"

# singular, plural | singular, gender, plural
_PEOPLE = """
man men|homme m hommes
woman women|femme f femmes
teacher teachers|professeur m professeurs
doctor doctors|médecin m médecins
neighbor neighbors|voisin m voisins
child children|enfant m enfants
girl girls|fille f filles
boy boys|garçon m garçons
queen queens|reine f reines
king kings|roi m rois
singer singers|chanteuse f chanteuses
friend friends|ami m amis
brother brothers|frère m frères
sister sisters|sœur f sœurs
"""
_ANIMALS = """
cat cats|chat m chats
dog dogs|chien m chiens
bird birds|oiseau m oiseaux
horse horses|cheval m chevaux
cow cows|vache f vaches
mouse mice|souris f souris
"""
_THINGS = """
house houses|maison f maisons
car cars|voiture f voitures
book books|livre m livres
tree trees|arbre m arbres
flower flowers|fleur f fleurs
letter letters|lettre f lettres
apple apples|pomme f pommes
island islands|île f îles
picture pictures|image f images
key keys|clé f clés
boat boats|bateau m bateaux
coat coats|manteau m manteaux
church churches|église f églises
song songs|chanson f chansons
"""
_PLACES = """
garden gardens|jardin m jardins
kitchen kitchens|cuisine f cuisines
school schools|école f écoles
city cities|ville f villes
forest forests|forêt f forêts
room rooms|chambre f chambres
park parks|parc m parcs
hotel hotels|hôtel m hôtels
"""
# masculine, before a vowel, feminine, and both plurals
_ADJECTIVES_BEFORE = """
big|grand grand grande grands grandes
small|petit petit petite petits petites
beautiful|beau bel belle beaux belles
old|vieux vieil vieille vieux vieilles
new|nouveau nouvel nouvelle nouveaux nouvelles
young|jeune jeune jeune jeunes jeunes
good|bon bon bonne bons bonnes
"""
_ADJECTIVES_BEHIND = """
black|noir noir noire noirs noires
white|blanc blanc blanche blancs blanches
red|rouge rouge rouge rouges rouges
green|vert vert verte verts vertes
blue|bleu bleu bleue bleus bleues
tired|fatigué fatigué fatiguée fatigués fatiguées
happy|heureux heureux heureuse heureux heureuses
intelligent|intelligent intelligent intelligente intelligents intelligentes
strange|étrange étrange étrange étranges étranges
famous|célèbre célèbre célèbre célèbres célèbres
"""
_POSSESSIVES = "my mon ma mes|your ton ta tes|his son sa ses|her son sa ses|our notre notre nos|their leur leur leurs"
_PREPOSITIONS = "in dans|on sur|under sous|behind derrière|with avec|without sans|for pour"
_ADVERBS = "often souvent|always toujours|already déjà|still encore"
_TIMES = "today aujourd'hui|here ici|outside dehors"
_NAMES = "Paul m|Marie f|Anne f|Pierre m|Julie f|Lucas m"
_ELIDED = {"je": "j'", "me": "m'", "te": "t'", "le": "l'", "la": "l'", "ne": "n'", "que": "qu'", "de": "d'"}
_FUTURE_ENDINGS = ("ai", "as", "a", "ons", "ont")
_AVOIR = ("ai", "as", "a", "avons", "ont")


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


@dataclass(frozen=True)
class Verb:
    """Forms of a verb in both languages; an English form may be of two words (look at)."""

    base: str
    third: str
    past: str
    infinitive: str
    present: tuple[str, ...]
    participle: str
    future: str


def _table(text: str) -> list[tuple[list[str], list[str]]]:
    return [(en.split(), fr.split()) for en, _, fr in (line.partition("|") for line in text.strip().splitlines())]


def _entries(text: str) -> list[list[str]]:
    return [entry.split() for entry in text.split("|")]


def _verbs(text: str) -> list[Verb]:
    return [Verb(*en, fr[0], tuple(fr[1:6]), fr[6], fr[7]) for en, fr in _table(text)]


_VERBS = {kind: _verbs(text) for kind, text in (("transitive", _TRANSITIVE), ("intransitive", _INTRANSITIVE), ("ditransitive", _DITRANSITIVE))}
# English subject, English object | French subject, direct clitic, indirect clitic, person, feminine
_PRONOUNS = {
    "I": ("me", "je", "me", "me", 0, False),
    "you": ("you", "tu", "te", "te", 1, False),
    "he": ("him", "il", "le", "lui", 2, False),
    "she": ("her", "elle", "la", "lui", 2, True),
    "we": ("us", "nous", "nous", "nous", 3, False),
    "they": ("them", "ils", "les", "leur", 4, False),
}
_SAME_PERSON = {0: (0, 3), 1: (1,), 2: (), 3: (0, 3), 4: ()}


def _is_vowel(text: str) -> bool:
    """Whether a French word begins with a vowel sound; every h of this lexicon is mute."""
    return text[0].lower() in "aeiouhéèêâîôœ"


class Grammar:
    """Draws sentences at random; the same generator state draws the same sentence."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def sentence(self) -> Phrase:
        """A sentence of any kind."""
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
        """A subject pronoun."""
        subject = self.rng.choice(list(_PRONOUNS))
        _, fr, _, _, person, feminine = _PRONOUNS[subject]
        return _linked(subject, fr, person, feminine)

    def subject(self) -> Phrase:
        """A pronoun, a name or a noun phrase of a person or an animal."""
        kind = self.rng.random()
        if kind < 0.5:
            return self.pronoun()
        if kind < 0.65:
            return self.name()
        return self.noun_phrase(_PEOPLE + _ANIMALS)

    def name(self) -> Phrase:
        """A person's name, the same in both languages."""
        name, gender = self.rng.choice(_entries(_NAMES))
        return _linked(name, name, 2, gender == "f")

    def noun_phrase(self, nouns: str, indefinite: bool = True, owner: bool = True) -> Phrase:
        """Determiner, adjectives and noun.

        Args:
            nouns: the table to draw the noun from.
            indefinite: whether *a* and numbers may determine it.
            owner: whether a possessor may (Paul's cat).
        """
        (singular, plural), (fr_singular, gender, fr_plural) = self.rng.choice(_table(nouns.replace("\n\n", "\n")))
        kinds = ["the"] * 5 + ["possessive"] * 3 + ["this"] * 2 + ["owner"] * 2 * owner + ["a"] * 4 * indefinite + ["number"] * 2 * indefinite
        kind = self.rng.choice(kinds)
        many = kind == "number" or (kind != "a" and self.rng.random() < 0.3)
        feminine = gender == "f"
        noun = English(plural if many else singular)
        fr_noun = French(fr_plural if many else fr_singular, (noun,))
        before, behind = self._adjectives()
        adjectives = [English(forms[0]) for forms in (before, behind) if forms]
        words = [fr_noun]
        if before:
            text = _agree(before[1], feminine, many, _is_vowel(fr_noun.text))
            words.insert(0, French(text, (adjectives[0],)))
        if behind:
            words.append(French(_agree(behind[1], feminine, many, False), (adjectives[-1],)))
        english = [*adjectives, noun]
        person = 4 if many else 2
        if kind == "owner":
            return self._owned(english, words, person, feminine)
        determiner = self._determiner(kind, feminine, many, _is_vowel(words[0].text))
        return Phrase(determiner.en + english, determiner.fr + words, person, feminine)

    def _adjectives(self) -> tuple[tuple[str, list[str]] | None, tuple[str, list[str]] | None]:
        chance = self.rng.random()
        before = self.rng.choice(_table(_ADJECTIVES_BEFORE)) if chance < 0.3 else None
        behind = self.rng.choice(_table(_ADJECTIVES_BEHIND)) if 0.2 < chance < 0.5 else None
        return (before[0][0], before[1]) if before else None, (behind[0][0], behind[1]) if behind else None

    def _determiner(self, kind: str, feminine: bool, many: bool, vowel: bool) -> Phrase:
        if kind == "the":
            return _linked("the", "les" if many else "la" if feminine else "le")
        if kind == "a":
            return _linked("a", "une" if feminine else "un")
        if kind == "number":
            return _linked(*self.rng.choice(_entries(_NUMBERS)))
        if kind == "this":
            return _linked("these" if many else "this", "ces" if many else "cette" if feminine else "cet" if vowel else "ce")
        word, masculine, feminine_form, plural = self.rng.choice(_entries(_POSSESSIVES))
        return _linked(word, plural if many else feminine_form if feminine and not vowel else masculine)

    def _owned(self, english: list[English], words: list[French], person: int, feminine: bool) -> Phrase:
        """Paul's black cat / le chat noir de Paul: the owner goes behind, and the article comes from nowhere."""
        owner = self.name() if self.rng.random() < 0.6 else self._relative()
        last = owner.en[-1]
        article = French("les" if person == 4 else "la" if feminine else "le", (), (last,))
        de = French("de", (last,))
        last.text += "'s"
        return Phrase(owner.en + english, [article, *words, de, *owner.fr], person, feminine)

    def _relative(self) -> Phrase:
        word, masculine, feminine_form, _ = self.rng.choice(_entries(_POSSESSIVES))
        noun, fr, feminine = self.rng.choice([("brother", "frère", False), ("sister", "sœur", True), ("neighbor", "voisin", False)])
        return _joined(_linked(word, feminine_form if feminine else masculine), _linked(noun, fr))

    def place(self) -> Phrase:
        """A preposition with a noun phrase: in the garden / dans le jardin."""
        preposition = self.rng.choice(_entries(_PREPOSITIONS))
        nouns = _PEOPLE if preposition[0] in ("with", "without", "for") else _PLACES if preposition[0] in ("in", "behind") else _THINGS
        return _joined(_linked(*preposition), self.noun_phrase(nouns, indefinite=preposition[0] != "without", owner=False))

    # Clauses

    def pronoun_clause(self) -> Phrase:
        """Subject and object pronoun: I do not see them / je ne les vois pas."""
        subject = self.subject()
        clitic = self._object_pronoun(subject, direct=True)
        tense = self.rng.choice(["present"] * 4 + ["future"] + ["modal"] * 2)
        return self._clause(subject, self.rng.choice(_VERBS["transitive"]), tense, clitics=[clitic], tail=self._time(0.2))

    def object_clause(self) -> Phrase:
        """Subject, verb and a noun phrase."""
        subject = self.subject()
        noun_phrase = self.noun_phrase(_PEOPLE + _ANIMALS + _THINGS)
        tense = self.rng.choice(["present"] * 3 + ["past"] * 2 + ["future"] + ["modal"])
        return self._clause(subject, self.rng.choice(_VERBS["transitive"]), tense, objects=[noun_phrase], tail=self._time(0.2))

    def giving_clause(self) -> Phrase:
        """Two objects, nouns or pronouns: I give it to him / je le lui donne."""
        subject = self.subject()
        verb = self.rng.choice(_VERBS["ditransitive"])
        receiver = self._object_pronoun(subject, direct=False)
        to = English("to")
        receiver_word = receiver.en[0]
        if self.rng.random() < 0.5:  # I give the book to him / je lui donne le livre
            gift = self.noun_phrase(_THINGS)
            clitic = Phrase([], [French(receiver.fr[0].text, (receiver_word,), (to,))])
            tense = self.rng.choice(["present"] * 2 + ["past", "future", "modal"])
            return self._clause(subject, verb, tense, clitics=[clitic], objects=[gift, Phrase([to, receiver_word], [])])
        pronoun, clitic_text = self.rng.choice([("it", "le"), ("them", "les")])
        thing = English(pronoun)
        clitics = [French(clitic_text, (thing,)), French(receiver.fr[0].text, (receiver_word,), (to,))]
        if receiver.fr[0].text not in ("lui", "leur"):
            clitics.reverse()  # il me le donne, but il le lui donne
        tense = self.rng.choice(["present"] * 2 + ["future", "modal"])
        return self._clause(subject, verb, tense, clitics=[Phrase([], clitics)], objects=[Phrase([thing, to, receiver_word], [])])

    def intransitive_clause(self) -> Phrase:
        """Subject and verb, often with a place."""
        verb = self.rng.choice(_VERBS["intransitive"])
        tense = self.rng.choice(["present", "past", "future", "modal"])
        tail = self.place() if self.rng.random() < 0.6 else self._time(0.4)
        return self._clause(self.subject(), verb, tense, tail=tail)

    def copula_clause(self) -> Phrase:
        """Subject, *be* and an adjective or a place."""
        subject = self.subject() if self.rng.random() < 0.6 else self.noun_phrase(_THINGS + _PLACES)
        word = English("am" if subject.person == 0 else "is" if subject.third_singular else "are")
        finite = French(_entries(_BE)[1][1 + subject.person], (word,))
        if self.rng.random() < 0.7:
            text, forms = self.rng.choice(_table(_ADJECTIVES_BEHIND))
            adjective = English(text[0])
            many = subject.person >= 3
            rest = Phrase([adjective], [French(_agree(forms, subject.feminine, many, False), (adjective,))])
        else:
            rest = self.place()
        kind = self.rng.random()
        if kind < 0.2:
            mark = English("?")
            ask = [French("est-ce", (), (word, mark)), French("que", (), (word, mark))]
            return Phrase([word, *subject.en, *rest.en, mark], [*ask, *subject.fr, finite, *rest.fr, French("?", (mark,))])
        if kind < 0.5:
            negation = English("not")
            around = [French("ne", (negation,)), finite, French("pas", (negation,))]
            return Phrase([*subject.en, word, negation, *rest.en], [*subject.fr, *around, *rest.fr])
        return Phrase([*subject.en, word, *rest.en], [*subject.fr, finite, *rest.fr])

    def there_is(self) -> Phrase:
        """There are two cats in the garden / il y a deux chats dans le jardin."""
        noun_phrase = self.noun_phrase(_PEOPLE + _ANIMALS + _THINGS, owner=False)
        there, verb = English("there"), English("is" if noun_phrase.person == 2 else "are")
        start = [French("il", (there,), (verb,)), French("y", (there,), (verb,)), French("a", (verb,), (there,))]
        place = self.place()
        return Phrase([there, verb, *noun_phrase.en, *place.en], [*start, *noun_phrase.fr, *place.fr])

    def wh_question(self) -> Phrase:
        """Why do you love me ? / pourquoi est-ce que tu m'aimes ?"""
        kind = self.rng.choice(["why", "when", "who", "where"])
        mark = English("?")
        if kind in ("why", "when"):
            subject, verb = self.subject(), self.rng.choice(_VERBS["transitive"])
            clitic = self._object_pronoun(subject, direct=True)
            asked = self._clause(subject, verb, "present", clitics=[clitic], question=True, negate=False)
            word = _linked(kind, {"why": "pourquoi", "when": "quand"}[kind])
            return _joined(word, asked)
        if kind == "where":
            noun_phrase = self.noun_phrase(_PEOPLE + _ANIMALS + _THINGS, indefinite=False)
            where, verb_word = English("where"), English("is" if noun_phrase.person == 2 else "are")
            be = French("est" if noun_phrase.person == 2 else "sont", (verb_word,))
            return Phrase([where, verb_word, *noun_phrase.en, mark], [French("où", (where,)), be, *noun_phrase.fr, French("?", (mark,))])
        who = _linked("who", "qui")
        told = self._clause(who, self.rng.choice(_VERBS["transitive"]), "present", objects=[self.noun_phrase(_PEOPLE + _THINGS)], question=False, negate=False)
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
        return self._clause(subject, self.rng.choice(_VERBS["transitive"]), "present", clitics=[clitic], question=False)

    def _plain_object_clause(self) -> Phrase:
        noun_phrase = self.noun_phrase(_PEOPLE + _ANIMALS + _THINGS)
        verb, tense = self.rng.choice(_VERBS["transitive"]), self.rng.choice(["present", "past", "future"])
        return self._clause(self.subject(), verb, tense, objects=[noun_phrase], question=False)

    def _object_pronoun(self, subject: Phrase, direct: bool) -> Phrase:
        """A pronoun object that is another person than the subject, as its French clitic."""
        fitting = [entry for entry in _PRONOUNS.values() if entry[4] not in _SAME_PERSON[subject.person]]
        en, _, clitic, indirect, _, _ = self.rng.choice(fitting)
        return _linked(en, clitic if direct else indirect)

    def _time(self, chance: float) -> Phrase:
        return _linked(*self.rng.choice(_entries(_TIMES))) if self.rng.random() < chance else Phrase([], [])

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
        adverb = self.rng.choice(_entries(_ADVERBS)) if not negate and not question and tense in ("present", "past") and self.rng.random() < 0.2 else None
        often = _linked(*adverb) if adverb else Phrase([], [])
        group = _verb_group(subject, verb, tense, negation, question, self.rng)
        if negation is not None and negation.text == "not":
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
            return Phrase([*english, mark], [French("est-ce", ask), French("que", ask), *french, French("?", (mark,))])
        return Phrase(english, french)


@dataclass(frozen=True)
class _VerbGroup:
    """English words before and behind the subject, and the French finite verb with what follows it."""

    before_subject: list[English]
    behind_subject: list[English]
    finite: list[French]
    auxiliaries: list[English]


def _verb_group(subject: Phrase, verb: Verb, tense: str, negation: English | None, question: bool, rng: random.Random) -> _VerbGroup:
    person = subject.person
    never = negation is not None and negation.text == "never"
    simple = (negation is None or never) and not question
    form = {"present": verb.third if subject.third_singular else verb.base, "past": verb.past}.get(tense, verb.base)
    head, *particles = (English(word) for word in (form if simple else verb.base).split("-"))
    words, possible = [head, *particles], tuple(particles)
    if tense == "modal":
        return _modal_group(subject, verb, negation, words, rng)
    auxiliary = English("will" if tense == "future" else "did" if tense == "past" else "does" if subject.third_singular else "do")
    with_auxiliary = tense == "future" or not simple
    helpers = (auxiliary,) if with_auxiliary else ()
    if tense == "present":
        finite = [French(verb.present[person], (head,), possible + helpers)]
    elif tense == "future":
        finite = [French(verb.future + _FUTURE_ENDINGS[person], (head,), possible + helpers)]
    else:
        finite = [French(_AVOIR[person], helpers or (head,), possible + (head,)), French(verb.participle, (head,), possible + helpers)]
    if question:
        return _VerbGroup([auxiliary], words, finite, [])
    if negation is None:
        return _VerbGroup([], [*helpers, *words], finite, [])
    behind = [negation, *words] if not helpers else [auxiliary, negation, *words]
    return _VerbGroup([], behind, finite, list(helpers))


def _modal_group(subject: Phrase, verb: Verb, negation: English | None, words: list[English], rng: random.Random) -> _VerbGroup:
    """I want to see you / je veux te voir; I cannot see you / je ne peux pas te voir."""
    (base, third), forms = rng.choice(_table(_MODALS))
    wants = base == "want-to"
    does = English("does" if subject.third_singular else "do")
    denied = negation is not None and negation.text == "not"
    text = base if denied or not subject.third_singular else third
    modal, *to = (English(word) for word in text.split("-"))
    infinitive = French(verb.infinitive, (words[0],), tuple(words[1:] + to))
    finite = [French(forms[subject.person], (modal,), (does,) if wants and denied else ()), infinitive]
    if negation is None:
        return _VerbGroup([], [modal, *to, *words], finite, [])
    if not denied:
        return _VerbGroup([], [negation, modal, *to, *words] if wants else [modal, negation, *words], finite, [])
    return _VerbGroup([], [does, negation, modal, *to, *words] if wants else [modal, negation, *words], finite, [does] if wants else [])


def _without_article(phrase: Phrase) -> Phrase:
    """Under negation, un and une become de: je ne vois pas de chat."""
    if phrase.fr and phrase.fr[0].text in ("un", "une"):
        return Phrase(phrase.en, [French("de", phrase.fr[0].sure), *phrase.fr[1:]], phrase.person, phrase.feminine)
    return phrase


def _agree(forms: list[str], feminine: bool, many: bool, vowel: bool) -> str:
    masculine, before_vowel, feminine_form, masculine_plural, feminine_plural = forms
    if many:
        return feminine_plural if feminine else masculine_plural
    return feminine_form if feminine else before_vowel if vowel else masculine


def _linked(en: str, fr: str, person: int = 2, feminine: bool = False) -> Phrase:
    """One English word and the French word it is."""
    word = English(en)
    return Phrase([word], [French(fr, (word,))], person, feminine)


def _joined(*phrases: Phrase) -> Phrase:
    return Phrase([word for phrase in phrases for word in phrase.en], [word for phrase in phrases for word in phrase.fr])


def render(phrase: Phrase) -> tuple[str, str, str]:
    """English text, French text with elision, and links in Pharaoh notation (``i-j`` sure, ``ipj`` possible, from 0)."""
    place = {id(word): at for at, word in enumerate(phrase.en)}
    english = [word.text for word in phrase.en]
    english = ["an" if word == "a" and english[at + 1][0] in "aeiou" else word for at, word in enumerate(english)]
    french, links = "", []
    for at, word in enumerate(phrase.fr):
        following = phrase.fr[at + 1].text if at + 1 < len(phrase.fr) else " "
        elides = word.text in _ELIDED and _is_vowel(following)
        french += _ELIDED[word.text] if elides else word.text + " "
        sure = {place[id(source)] for source in word.sure}
        possible = {place[id(source)] for source in word.possible} - sure
        links += [f"{source}-{at}" for source in sorted(sure)] + [f"{source}p{at}" for source in sorted(possible)]
    return " ".join(english).replace(" ?", "?"), french.strip(), " ".join(links)


def _i_love_you() -> tuple[str, str, str]:
    return "I love you", "je t'aime", "0-0 2-1 1-2"


@cache
def _splits() -> dict[str, list[tuple[str, str, str]]]:
    """All splits: the same in every process, without overlap, *I love you* first in test."""
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
