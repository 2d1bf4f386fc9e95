import hashlib
import itertools
import random
import re

from nmt.alignment.links import parse_pharaoh
from nmt.alignment.words import split_words
from nmt.data.builtin import BUILTIN_VERSION
from nmt.data.builtin.grammar import Grammar
from nmt.data.builtin.phrasebook import phrasebook, render

SPLITS = {split: list(phrasebook(split)) for split in ("train", "valid", "test")}
ALL = [pair for pairs in SPLITS.values() for pair in pairs]
FRENCH = {src: tgt for src, tgt, _ in ALL}


def test_sizes_and_no_overlap() -> None:
    assert len(SPLITS["train"]) >= 20_000
    assert len({src for src, _, _ in ALL}) == len(ALL)


def test_the_version_goes_with_the_text() -> None:
    digest = hashlib.sha256(repr(SPLITS).encode()).hexdigest()
    assert (BUILTIN_VERSION, digest[:16]) == (1, "a71b0819b2ba4b57"), "raise BUILTIN_VERSION; write the new digest"


def test_i_love_you_is_in_test_only() -> None:
    assert ("I love you", "je t'aime", "0-0 2-1 1-2") in SPLITS["test"]
    assert "I love you" not in {src for src, _, _ in SPLITS["train"] + SPLITS["valid"]}


def test_links_name_words_and_every_french_word_has_one() -> None:
    for src, tgt, links in ALL:
        gold = parse_pharaoh(links)
        assert max(i for i, _ in gold.possible) < len(split_words(src)), src
        assert {j for _, j in gold.possible} == set(range(len(split_words(tgt)))), (src, tgt)


def test_the_matrices_are_not_diagonal() -> None:
    crossing = 0
    for _, _, links in SPLITS["test"]:
        sure = sorted(parse_pharaoh(links).sure, key=lambda link: link[1])
        crossing += any(a[0] > b[0] for a, b in itertools.pairwise(sure))
    assert crossing / len(SPLITS["test"]) > 0.5


def test_elision_is_made_wherever_it_must_be_and_nowhere_else() -> None:
    vowel = "aeiouhéèêâîôœ"
    for _, tgt, _ in ALL:
        assert not re.search(rf"\b(je|me|te|le|la|ne|que|de) [{vowel}]", tgt), tgt
        assert not re.search(rf"\b[jmtlnd]'[^{vowel}A]|\bqu'[^{vowel}A]", tgt), tgt


def test_rules_of_french_that_english_does_not_have() -> None:
    grammar = Grammar(random.Random(1))
    drawn = {src: tgt for src, tgt, _ in (render(grammar.sentence()) for _ in range(20_000))}
    known = FRENCH | drawn

    def holds(english: str, french: str) -> None:
        found = [(src, tgt) for src, tgt in known.items() if re.fullmatch(english, src)]
        assert found, english
        for src, tgt in found:
            assert re.fullmatch(french, tgt), (src, tgt)

    holds(r"I do not \w+ them", r"je ne les \w+ pas|je n'\w+ pas")
    holds(r"he gives it to me", r"il me le donne")
    holds(r"(he|she) gives it to him", r"(il|elle) le lui donne")
    holds(r"the black cat .*", r"le chat noir .*")
    holds(r"a big house .*", r"une grande maison.*")
    holds(r"his apple .*", r"sa pomme .*")
    holds(r"my island .*", r"mon île .*")
    holds(r"Paul's cat .*", r"le chat de Paul .*")
    holds(r"do you .*\?", r"est-ce que tu .* \?")
    holds(r"she never .*", r"elle n(e |').*jamais.*")
    holds(r"this tree .*", r"cet arbre .*")


def test_one_translation_for_each_sentence() -> None:
    grammar = Grammar(random.Random(2))
    known = {src: (tgt, links) for src, tgt, links in ALL}
    for _ in range(20_000):
        src, tgt, links = render(grammar.sentence())
        assert known.setdefault(src, (tgt, links)) == (tgt, links), src
