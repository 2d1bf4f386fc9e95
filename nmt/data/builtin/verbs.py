"""Verbs of the built-in corpus, with auxiliaries and word order in English and inflection in French."""

import random
from dataclasses import dataclass

from nmt.data.builtin.lexicon import AVOIR, FUTURE_ENDINGS, MODALS, Verb
from nmt.data.builtin.linked_words import English, French, Phrase


@dataclass(frozen=True)
class VerbGroup:
    """A verb's English words before and after the subject, and the French finite verb with the words that follow it."""

    before_subject: list[English]
    behind_subject: list[English]
    finite: list[French]
    auxiliaries: list[English]


def verb_group(
    subject: Phrase, verb: Verb, tense: str, negation: English | None, question: bool, rng: random.Random
) -> VerbGroup:
    """Return a verb in both languages, in the person of its subject.

    Args:
        subject: the subject, which determines person and number.
        verb: the verb.
        tense: `present`, `past`, `future` or `modal`.
        negation: the English word of negation, not or never; None for no negation.
        question: whether an auxiliary goes before the subject.
        rng: the random generator that chooses the modal verb.
    """
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
        return VerbGroup([auxiliary], words, finite, [])
    if negation is None:
        return VerbGroup([], [*helpers, *words], finite, [])
    behind = [negation, *words] if not helpers else [auxiliary, negation, *words]
    return VerbGroup([], behind, finite, list(helpers))


def _modal_group(
    subject: Phrase, verb: Verb, negation: English | None, words: list[English], rng: random.Random
) -> VerbGroup:
    """Return a modal verb with an infinitive, as in: I want to see you / je veux te voir."""
    drawn = rng.choice(MODALS)
    wants = drawn.base == "want-to"
    does = English("does" if subject.third_singular else "do")
    denied = negation is not None and negation.text == "not"
    text = drawn.base if denied or not subject.third_singular else drawn.third
    modal, *to = (English(word) for word in text.split("-"))
    infinitive = French(verb.infinitive, (words[0],), tuple(words[1:] + to))
    finite = [French(drawn.present[subject.person], (modal,), (does,) if wants and denied else ()), infinitive]
    if negation is None:
        return VerbGroup([], [modal, *to, *words], finite, [])
    if not denied:
        return VerbGroup([], [negation, modal, *to, *words] if wants else [modal, negation, *words], finite, [])
    return VerbGroup(
        [],
        [does, negation, modal, *to, *words] if wants else [modal, negation, *words],
        finite,
        [does] if wants else [],
    )
