"""The lexicon: the words of words.py with all their forms. Each word is one object and compares by identity."""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, Literal, TypeVar
from zlib import crc32

from mtnat.data.grammar import words

Item = TypeVar("Item")
Gender = Literal["m", "f", "n"]
Case = Literal["nom", "acc", "dat", "gen"]
Tense = Literal["past", "present"]
INSEPARABLE = ("be", "ver", "er", "ent", "zer")
IRREGULAR_THIRD = {"go": "goes"}


@dataclass(frozen=True, slots=True, eq=False)
class GermanNoun:
    """One German word for an English noun."""

    gender: Gender
    singular: Mapping[Case, str]
    plural: Mapping[Case, str]


@dataclass(frozen=True, slots=True, eq=False)
class Noun:
    """An English noun and its German synonyms, the preferred one first."""

    singular: str
    plural: str
    kind: str
    is_mass: bool
    german: tuple[GermanNoun, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Adjective:
    """An adjective; German as (predicative form, stem for endings)."""

    english: str
    german: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class GermanVerb:
    """One German word for an English verb. Finite forms are those of I, of he/she/it, and of every plural."""

    prefix: str
    infinitive: str
    """Infinitive without the separable prefix."""
    present: tuple[str, str, str]
    preterite: tuple[str, str, str]
    participle: str
    """Past participle with the prefix."""
    with_sein: bool
    """Whether the perfect takes "sein" rather than "haben"."""
    has_perfect: bool
    is_reflexive: bool
    preposition: str
    case: Case


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """An English verb in one frame, and its German synonyms. The frame states which arguments the verb takes."""

    english: str
    """Base form without the particle."""
    third: str
    past: str
    particle: str
    frame: str
    german: tuple[GermanVerb, ...]

    @property
    def name(self) -> str:
        """Base form with the particle, as in "look for"."""
        return f"{self.english} {self.particle}".strip()


@dataclass(frozen=True, slots=True, eq=False)
class Adverbial:
    """An adverbial with a fixed translation."""

    label: str
    """Label of the English constituent."""
    english: str
    german: tuple[str, ...]
    tense: str
    """The tense of the clauses it may stand in, or "both"."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A noun for a location or a goal, with the prepositions it takes."""

    noun: Noun
    english: str
    """English preposition of a location ("in the park"); a goal always takes "to"."""
    rest: str
    """German preposition of a location, with the dative."""
    directions: tuple[tuple[str, Case], ...]
    """German prepositions of a goal, each with its case; the preferred one first."""


class Deck(Generic[Item]):
    """Draws items at random by their weights, by default after Zipf's law: earlier items are more frequent.

    The exponent is 2.3, larger than in real text (about 1), so that a small model sees common words often enough to learn
    them within a minute, while rare words stay rare.
    """

    def __init__(self, items: Iterable[Item], weights: Sequence[float] | None = None) -> None:
        self.items = tuple(items)
        self._bounds = list(accumulate(weights or ((rank + 1.5) ** -2.3 for rank in range(len(self.items)))))

    def __bool__(self) -> bool:
        return bool(self.items)

    def draw(self, random: Callable[[], float]) -> Item:
        """Draws an item; `random` is uniform on [0, 1)."""
        return self.items[bisect_right(self._bounds, random() * self._bounds[-1])]


def held_out(verb: str, noun: str) -> bool:
    """Returns whether a verb ("look for") never has a given object ("key") in training.

    A fixed sixteenth of all combinations, chosen by hash, is held out.
    """
    return crc32(f"{verb} {noun}".encode()) % 16 == 0


def _lines(table: str) -> list[list[str]]:
    return [[field.strip() for field in line.split(":")] for line in table.strip().splitlines()]


def _synonyms(field: str) -> list[str]:
    return [synonym.strip() for synonym in field.split("|")]


def _with_s(word: str) -> str:
    """Returns the regular English plural of a noun or third person of a verb."""
    if word.endswith(("s", "sh", "ch", "x", "z")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def _with_ed(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ied"
    return verb + "ed"


def _german_noun(text: str) -> GermanNoun:
    article, singular, plural = re.fullmatch(r"(\w+) (\w+\*?), (.+)", text).groups()  # type: ignore[union-attr]
    gender: Gender = {"der": "m", "die": "f", "das": "n"}[article]  # type: ignore[assignment]
    dative_plural = plural if plural.endswith(("n", "s")) else plural + "n"
    oblique, genitive = singular, _genitive(singular, gender)
    if singular.endswith("*"):  # weak declension: every case but the nominative equals the plural
        singular, oblique, genitive = singular[:-1], plural, plural
    return GermanNoun(
        gender,
        {"nom": singular, "acc": oblique, "dat": oblique, "gen": genitive},
        {"nom": plural, "acc": plural, "dat": dative_plural, "gen": plural},
    )


def _genitive(noun: str, gender: Gender) -> str:
    """Returns the genitive singular. The rule is correct for nouns of people, the only ones used in the genitive."""
    if gender == "f":
        return noun
    syllables = len(re.findall("[aeiouäöüy]+", noun.lower()))
    return noun + ("es" if (syllables == 1 and noun[-1] not in "aeiou") or noun.endswith(("s", "ß", "z")) else "s")


def _nouns() -> dict[str, Noun]:
    nouns = {}
    for kind, table in words.NOUNS.items():
        for english, german in _lines(table):
            singular, _, plural = english.partition("/")
            synonyms = tuple(_german_noun(synonym) for synonym in _synonyms(german))
            nouns[singular] = Noun(singular, plural or _with_s(singular), kind, synonyms[0].plural["nom"] == "-", synonyms)
    return nouns


def _german_verb(text: str, case: str) -> GermanVerb:
    has_perfect, with_sein = not text.startswith("~"), "(sein)" in text
    parts = text.removeprefix("~").replace("(sein)", "").split()
    reflexive = parts[0] == "sich"
    parts = parts[reflexive:]
    preposition = ""
    if ":" in parts[-1]:
        preposition, case = parts.pop().split(":")
    prefix, _, infinitive = parts[0].rpartition("+")
    third, past, participle = parts[1:] if len(parts) == 4 else _weak(infinitive)
    return GermanVerb(
        prefix=prefix,
        infinitive=infinitive,
        present=(_first_person(infinitive, third), third, infinitive),
        preterite=(past, past, past + ("n" if past.endswith("e") else "en")),
        participle=prefix + participle,
        with_sein=with_sein,
        has_perfect=has_perfect,
        is_reflexive=reflexive,
        preposition=preposition,
        case=case,  # type: ignore[arg-type]
    )


def _weak(infinitive: str) -> tuple[str, str, str]:
    """Returns the third person, the preterite and the participle (without prefix) of a regular verb."""
    stem = re.sub("e?n$", "", infinitive)
    link = "e" if re.search("([td]|ch[mn]|[^aeiouäöülrhmn][mn])$", stem) else ""
    ge = "" if infinitive.startswith(INSEPARABLE) or infinitive.endswith("ieren") else "ge"
    return f"{stem}{link}t", f"{stem}{link}te", f"{ge}{stem}{link}t"


def _first_person(infinitive: str, third: str) -> str:
    if not third.endswith("t"):  # mag, weiß: first and third person are equal, as in modal verbs
        return third
    return re.sub("(?<=[^aeiouäöü])el$", "l", re.sub("e?n$", "", infinitive)) + "e"  # lächeln → lächle, but spielen → spiele


def _verb(english: str, frame: str, german: str) -> Verb:
    phrase, _, past = english.partition("/")
    base, _, particle = phrase.partition(" ")
    synonyms = tuple(_german_verb(synonym, "dat" if frame == "dative" else "acc") for synonym in _synonyms(german))
    return Verb(base, IRREGULAR_THIRD.get(base, _with_s(base)), past or _with_ed(base), particle, frame, synonyms)


def _adverbials(table: str) -> Deck[Adverbial]:
    return Deck(Adverbial(label, english, tuple(_synonyms(german)), tense) for label, english, german, tense in _lines(table))


NOUNS: Mapping[str, Noun] = _nouns()
"""All nouns, by English singular."""


def named(spec: str) -> tuple[Noun, ...]:
    """Returns the nouns that `spec` lists as groups, kinds or single nouns; frequent nouns of each kind come first."""
    for group, kinds in words.GROUPS.items():
        spec = re.sub(rf"\b{group}\b", kinds, spec)
    ranked: dict[Noun, int] = {}
    for name in spec.split():
        members = [noun for noun in NOUNS.values() if noun.kind == name] or [NOUNS[name]]
        ranked.update((noun, rank) for rank, noun in enumerate(members))
    return tuple(sorted(ranked, key=lambda noun: ranked[noun]))


@dataclass(frozen=True, slots=True)
class Usage:
    """A verb with its possible subjects and objects."""

    verb: Verb
    rank: int
    """Rank by frequency within the frame, from 0."""
    subjects: frozenset[Noun]
    seen: Deck[Noun]
    """Objects that occur in training."""
    unseen: Deck[Noun]
    """Objects that are held out from training."""


def _usage(frame: str, rank: int, fields: list[str]) -> Usage:
    english, nouns, german = fields[0], fields[1], ":".join(fields[2:])
    subjects, _, objects = nouns.partition(">")
    verb = _verb(english, frame, german)
    candidates = named(objects)
    return Usage(
        verb=verb,
        rank=rank,
        subjects=frozenset(named(subjects)),
        seen=Deck(noun for noun in candidates if not held_out(verb.name, noun.singular)),
        unseen=Deck(noun for noun in candidates if held_out(verb.name, noun.singular)),
    )


USAGES = tuple(_usage(frame, rank, line) for frame, table in words.VERBS.items() for rank, line in enumerate(_lines(table)))
"""All verbs with their arguments."""


def _adjectives() -> dict[Noun, Deck[Adjective]]:
    lists: dict[Noun, list[Adjective]] = {}
    for english, german, kinds in _lines(words.ADJECTIVES):
        forms = (synonym.partition("/") for synonym in _synonyms(german))
        adjective = Adjective(english, tuple((form, stem or form) for form, _, stem in forms))
        for noun in named(kinds):
            lists.setdefault(noun, []).append(adjective)
    return {noun: Deck(adjectives) for noun, adjectives in lists.items()}


ADJECTIVES: Mapping[Noun, Deck[Adjective]] = _adjectives()
"""The adjectives of each noun."""


def _places() -> Iterable[Place]:
    for noun, english, rest, *directions in _lines(words.PLACES):
        pairs = (direction.split(":") for direction in _synonyms(":".join(directions)))
        yield Place(NOUNS[noun], english, rest, tuple((preposition, case) for preposition, case in pairs))  # type: ignore[misc]


PLACES = Deck(_places())
TIMES = _adverbials(words.TIMES)
FREQUENCIES = _adverbials(words.FREQUENCIES)
MANNERS = _adverbials(words.MANNERS)
SPOTS = _adverbials(words.SPOTS)
GOALS = _adverbials(words.GOALS)
