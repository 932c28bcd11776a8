"""Weighted choices of the embedded corpus. Single probabilities stand where they are used, in sampling.py and german.py."""

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
"""Weight of each kind of verb in a clause. Verbs of "content" and "infinitive" occur only in the `SHAPES` of that name."""
TRANSITIVE = ("accusative", "stative")
INNER = ("intransitive", "accusative", "stative")
"""Frames of relative clauses."""
PURPOSE = ("intransitive", "accusative", "motion")
"""Frames of infinitive clauses."""
TAKING_OBJECTS = ("accusative", "stative", "dative", "ditransitive", "prepositional")
PLACED = ("intransitive", "accusative", "stative", "prepositional")
"""Frames that may have an adverbial of place."""
ACTIVE = ("intransitive", "accusative", "motion", "prepositional")
"""Frames that may have an adverbial of manner."""
ACCOMPANIED = ("intransitive", "accusative", "motion")
"""Frames that may have a companion ("with Anna")."""
BY_VEHICLE = ("drive", "travel")
"""Verbs of motion whose goal is never a room."""
OWNED = (*PEOPLE, "animal", "text", "vehicle", "device", "thing", "clothes", "room")
"""Kinds of nouns that may have a possessor."""
UNOWNED = ("man", "woman")
"""Exceptions to `OWNED`: with a possessor, these nouns would mean husband and wife."""
PARTICLES = ("up", "on", "off", "away")
"""Particles that follow an object pronoun ("pick him up"). These verbs get no pronoun, so that the word order stays fixed."""
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
    """Returns the nouns of `spec`, as `named` reads it, by frequency."""
    return Deck(named(spec))


@cache
def usages(subject: Noun, frames: tuple[str, ...]) -> Deck[Usage]:
    """Returns the verbs of a subject. Each frame has its weight of `FRAMES`; within a frame the weights are Zipfian."""
    fitting = [usage for usage in USAGES if usage.verb.frame in frames and subject in usage.subjects]
    return Deck(fitting, [FRAMES.get(usage.verb.frame, 1.0) * _share(usage) for usage in fitting])


@cache
def governing(thing: Noun) -> Deck[Usage]:
    """Returns the verbs that take people as subject and, in training, `thing` as accusative object."""
    fitting = [usage for usage in USAGES if usage.verb.frame in TRANSITIVE and NOUNS["man"] in usage.subjects]
    fitting = [usage for usage in fitting if thing in usage.seen.items and not usage.verb.particle]
    return Deck(fitting, [_share(usage) for usage in fitting])


@cache
def _share(usage: Usage) -> float:
    """Returns the Zipfian probability of a verb within its frame."""
    ranks = range(sum(other.verb.frame == usage.verb.frame for other in USAGES))
    return 1 / (usage.rank + 2) / sum(1 / (rank + 2) for rank in ranks)
