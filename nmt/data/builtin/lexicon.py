"""The words of the built-in corpus: English and French side by side, with the forms that French needs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Verb:
    """The forms of a verb. English forms may have two words (look-at); `present` is for je, tu, il, nous and ils."""

    base: str
    third: str
    past: str
    infinitive: str
    present: tuple[str, ...]
    participle: str
    future: str


@dataclass(frozen=True)
class Noun:
    """Singular and plural in both languages, and the French gender."""

    singular: str
    plural: str
    fr_singular: str
    feminine: bool
    fr_plural: str


@dataclass(frozen=True)
class Adjective:
    """An English adjective and the five forms of the French one."""

    en: str
    masculine: str
    before_vowel: str
    feminine_form: str
    masculine_plural: str
    feminine_plural: str

    def agree(self, feminine: bool, many: bool, vowel: bool) -> str:
        """Return the form that agrees with a French noun; `vowel` is True if a vowel sound follows immediately."""
        if many:
            return self.feminine_plural if feminine else self.masculine_plural
        return self.feminine_form if feminine else self.before_vowel if vowel else self.masculine


@dataclass(frozen=True)
class Pronoun:
    """A personal pronoun: as subject and object in English; as subject, direct and indirect clitic in French."""

    en: str
    en_object: str
    fr: str
    direct: str
    indirect: str
    person: int  # column of the conjugation: je, tu, il/elle, nous, ils/elles
    feminine: bool


@dataclass(frozen=True)
class Possessive:
    """A possessive determiner."""

    en: str
    masculine: str
    feminine: str
    plural: str


@dataclass(frozen=True)
class Modal:
    """A modal verb, which is followed by an infinitive; the English form may have two words (want-to)."""

    base: str
    third: str
    present: tuple[str, ...]


def _rows(text: str) -> list[tuple[list[str], list[str]]]:
    return [(en.split(), fr.split()) for en, _, fr in (line.partition("|") for line in text.strip().splitlines())]


def _verbs(text: str) -> list[Verb]:
    return [Verb(en[0], en[1], en[2], fr[0], tuple(fr[1:6]), fr[6], fr[7]) for en, fr in _rows(text)]


def _nouns(text: str) -> list[Noun]:
    return [Noun(en[0], en[1], fr[0], fr[1] == "f", fr[2]) for en, fr in _rows(text)]


def _adjectives(text: str) -> list[Adjective]:
    return [Adjective(*en, *fr) for en, fr in _rows(text)]


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(en, fr) for en, fr in (entry.split() for entry in text.split("|"))]


# base, third person, past | infinitive; je, tu, il, nous, ils; past participle; future stem
TRANSITIVE = _verbs("""
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
""")


INTRANSITIVE = _verbs("""
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
""")


DITRANSITIVE = _verbs("""
give gives gave|donner donne donnes donne donnons donnent donné donner
show shows showed|montrer montre montres montre montrons montrent montré montrer
lend lends lent|prêter prête prêtes prête prêtons prêtent prêté prêter
send sends sent|envoyer envoie envoies envoie envoyons envoient envoyé enverr
bring brings brought|apporter apporte apportes apporte apportons apportent apporté apporter
sell sells sold|vendre vends vends vend vendons vendent vendu vendr
""")


MODALS = [
    Modal("can", "can", ("peux", "peux", "peut", "pouvons", "peuvent")),
    Modal("must", "must", ("dois", "dois", "doit", "devons", "doivent")),
    Modal("want-to", "wants-to", ("veux", "veux", "veut", "voulons", "veulent")),
]


ETRE = ("suis", "es", "est", "sommes", "sont")


AVOIR = ("ai", "as", "a", "avons", "ont")


FUTURE_ENDINGS = ("ai", "as", "a", "ons", "ont")


# singular, plural | singular, gender, plural
PEOPLE = _nouns("""
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
""")


ANIMALS = _nouns("""
cat cats|chat m chats
dog dogs|chien m chiens
bird birds|oiseau m oiseaux
horse horses|cheval m chevaux
cow cows|vache f vaches
mouse mice|souris f souris
""")


THINGS = _nouns("""
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
""")


PLACES = _nouns("""
garden gardens|jardin m jardins
kitchen kitchens|cuisine f cuisines
school schools|école f écoles
city cities|ville f villes
forest forests|forêt f forêts
room rooms|chambre f chambres
park parks|parc m parcs
hotel hotels|hôtel m hôtels
""")


# masculine, before a vowel, feminine, and both plurals
ADJECTIVES_BEFORE = _adjectives("""
big|grand grand grande grands grandes
small|petit petit petite petits petites
beautiful|beau bel belle beaux belles
old|vieux vieil vieille vieux vieilles
new|nouveau nouvel nouvelle nouveaux nouvelles
young|jeune jeune jeune jeunes jeunes
good|bon bon bonne bons bonnes
""")


ADJECTIVES_BEHIND = _adjectives("""
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
""")


PRONOUNS = [
    Pronoun("I", "me", "je", "me", "me", 0, False),
    Pronoun("you", "you", "tu", "te", "te", 1, False),
    Pronoun("he", "him", "il", "le", "lui", 2, False),
    Pronoun("she", "her", "elle", "la", "lui", 2, True),
    Pronoun("we", "us", "nous", "nous", "nous", 3, False),
    Pronoun("they", "them", "ils", "les", "leur", 4, False),
]


# For each person of the subject, the persons of an object that would be the subject itself or part of it.
SAME_PERSON: dict[int, tuple[int, ...]] = {0: (0, 3), 1: (1,), 2: (), 3: (0, 3), 4: ()}


POSSESSIVES = [
    Possessive("my", "mon", "ma", "mes"),
    Possessive("your", "ton", "ta", "tes"),
    Possessive("his", "son", "sa", "ses"),
    Possessive("her", "son", "sa", "ses"),
    Possessive("our", "notre", "notre", "nos"),
    Possessive("their", "leur", "leur", "leurs"),
]


NAMES = [
    ("Paul", False),
    ("Marie", True),
    ("Anne", True),
    ("Pierre", False),
    ("Julie", True),
    ("Lucas", False),
]  # each with True if it is a woman's name


NUMBERS = _pairs(
    "two deux|three trois|four quatre|five cinq|six six|seven sept|nine neuf|ten dix|twelve douze|twenty vingt"
)


PREPOSITIONS = _pairs("in dans|on sur|under sous|behind derrière|with avec|without sans|for pour")


ADVERBS = _pairs("often souvent|always toujours|already déjà|still encore")


TIMES = _pairs("today aujourd'hui|here ici|outside dehors")


ELIDED = {"je": "j'", "me": "m'", "te": "t'", "le": "l'", "la": "l'", "ne": "n'", "que": "qu'", "de": "d'"}


def is_vowel(text: str) -> bool:
    """Return whether a French word begins with a vowel sound; every h of this lexicon is mute."""
    return text[0].lower() in "aeiouhéèêâîôœ"
