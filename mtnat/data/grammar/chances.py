"""How often the embedded corpus says what: every probability that is a list. The bare numbers stand where they are used."""

from functools import cache
from typing import Literal

from mtnat.data.grammar.lexicon import NOUNS, USAGES, Deck, Noun, Usage, named
from mtnat.data.grammar.meaning import Name, Pronoun
from mtnat.data.grammar.words import NAMES, PEOPLE

Shape = Literal["plain", "subordinate", "coordinated", "content", "infinitive"]

SHAPES: Deck[Shape] = Deck(("plain", "subordinate", "coordinated", "content", "infinitive"), (66, 12, 9, 8, 5))
FRAMES = {
    "intransitive": 19.0,
    "accusative": 38.0,
    "stative": 12.0,
    "dative": 6.0,
    "ditransitive": 7.0,
    "prepositional": 9.0,
    "motion": 9.0,
}
"""How often a clause has a verb of each kind; the verbs of "content" and "infinitive" have sentences of their own."""
TRANSITIVE = ("accusative", "stative")
INNER = ("intransitive", "accusative", "stative")
"""Frames within relative clauses."""
PURPOSE = ("intransitive", "accusative", "motion")
"""Frames of infinitives."""
TAKING_OBJECTS = ("accusative", "stative", "dative", "ditransitive", "prepositional")
PLACED = ("intransitive", "accusative", "stative", "prepositional")
"""Frames that may say where."""
ACTIVE = ("intransitive", "accusative", "motion", "prepositional")
"""Frames that may say how."""
ACCOMPANIED = ("intransitive", "accusative", "motion")
"""Frames that may say with whom."""
BY_VEHICLE = ("drive", "travel")
"""Verbs of motion that lead to no room."""
OWNED = (*PEOPLE, "animal", "text", "vehicle", "device", "thing", "clothes", "room")
"""Kinds of nouns that are somebody's."""
UNOWNED = ("man", "woman")
"""Nouns that mean husband and wife with a possessor."""
PARTICLES = ("up", "on", "off", "away")
"""What English parts from the verb by a pronoun; no pronoun is used there."""
SUBJECTS = Deck(("noun", "pronoun", "name", "both"), (62, 19, 16, 3))
KINDS = Deck(("person", "animal", "vehicle", "event", "goods", "place"), (76, 10, 4, 4, 4, 2))
PRONOUNS: Deck[Pronoun] = Deck(
    (Pronoun("he"), Pronoun("she"), Pronoun("they"), Pronoun("I"), Pronoun("we")), (28, 24, 18, 16, 14)
)
PERSONS = Deck(
    name
    for woman, man in zip(NAMES["woman"].split(), NAMES["man"].split(), strict=True)
    for name in (Name(woman, is_female=True), Name(man, is_female=False))
)
SINGULAR = Deck(("the", "a", "this", "every"), (62, 26, 8, 4))
PLURAL = Deck(("the", "", "two", "many", "this", "some", "three", "all"), (48, 14, 8, 9, 6, 7, 4, 4))
SPOT = Deck(("the", "a", "this"), (85, 10, 5))
MODALS = Deck(("can", "have to", "want to"), (40, 30, 30))
DEGREES = Deck(("", "very", "too", "quite"), (64, 20, 8, 8))
CONJUNCTIONS = Deck(("because", "when", "if", "although", "while", "before"), (34, 24, 12, 12, 10, 8))
POSSESSIVES = {"I": "my", "he": "his", "she": "her", "we": "our", "they": "their"}


@cache
def nouns(spec: str) -> Deck[Noun]:
    return Deck(named(spec))


@cache
def usages(subject: Noun, frames: tuple[str, ...]) -> Deck[Usage]:
    """Verbs for a subject: each frame with its weight, Zipfian within it."""
    fitting = [usage for usage in USAGES if usage.verb.frame in frames and subject in usage.subjects]
    return Deck(fitting, [FRAMES.get(usage.verb.frame, 1.0) * _share(usage) for usage in fitting])


@cache
def governing(thing: Noun) -> Deck[Usage]:
    """Verbs of people that take a noun as accusative object in training."""
    fitting = [usage for usage in USAGES if usage.verb.frame in TRANSITIVE and NOUNS["man"] in usage.subjects]
    fitting = [usage for usage in fitting if thing in usage.seen.items and not usage.verb.particle]
    return Deck(fitting, [_share(usage) for usage in fitting])


@cache
def _share(usage: Usage) -> float:
    ranks = range(sum(other.verb.frame == usage.verb.frame for other in USAGES))
    return 1 / (usage.rank + 2) / sum(1 / (rank + 2) for rank in ranks)
