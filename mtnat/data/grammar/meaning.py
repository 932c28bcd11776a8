"""What a sentence says, before it is English or German."""

from dataclasses import dataclass
from typing import Literal

from mtnat.data.grammar.lexicon import Adjective, Adverbial, Noun, Place, Tense, Verb

Person = Literal[0, 1, 2]
"""Index into a verb's finite forms: I, he/she/it, every plural."""
ClauseOrder = Literal["single", "main_first", "subordinate_first", "coordinated"]
INDEFINITE = ("a", "")
QUANTIFIERS = ("every", "many", "some", "two", "three", "all")


@dataclass(frozen=True, slots=True)
class Pronoun:
    """A personal pronoun, named by its English nominative."""

    english: Literal["I", "he", "she", "it", "we", "they"]

    @property
    def is_plural(self) -> bool:
        return self.english in ("we", "they")


@dataclass(frozen=True, slots=True)
class Name:
    """A person's name."""

    text: str
    is_female: bool
    is_plural = False


@dataclass(frozen=True, slots=True)
class Both:
    """Two people joined by "and"."""

    first: Name
    second: Name
    is_plural = True


@dataclass(frozen=True, slots=True)
class NounPhrase:
    """A noun with what belongs to it."""

    noun: Noun
    determiner: str = "the"
    """English; empty for a bare noun or where a possessor stands in its place."""
    is_plural: bool = False
    adjective: Adjective | None = None
    possessor: "Name | NounPhrase | None" = None
    place: "Location | None" = None
    relative: "Clause | None" = None

    @property
    def is_definite(self) -> bool:
        return bool(self.possessor) or self.determiner not in (*INDEFINITE, *QUANTIFIERS)


Nominal = Pronoun | Name | Both | NounPhrase


@dataclass(frozen=True, slots=True)
class Location:
    """At a place, or to it."""

    place: Place
    phrase: NounPhrase


@dataclass(frozen=True, slots=True)
class Predicate:
    """An adjective said of the subject, with its degree ("very") or none."""

    adjective: Adjective
    degree: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """A verb with its arguments and adverbials."""

    subject: Nominal | None
    """None in a relative clause about its subject, and in an infinitive."""
    verb: Verb | None = None
    """None for "be"."""
    tense: Tense = "present"
    object: Nominal | None = None
    recipient: Nominal | None = None
    recipient_last: bool = False
    """English says "gives a book to the woman"."""
    predicate: Predicate | None = None
    goal: Adverbial | Location | None = None
    modal: str = ""
    """English base form: can, have to, want to."""
    is_negated: bool = False
    time: Adverbial | None = None
    frequency: Adverbial | None = None
    manner: Adverbial | None = None
    companion: Nominal | None = None
    place: Adverbial | Location | None = None
    front: Literal["", "time", "place"] = ""
    """What English puts before the subject."""
    conjunction: str = ""
    """Before `content`: that, whether; "to" for an infinitive."""
    content: "Clause | None" = None
    """What is said, known, tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One or two clauses. Compares equal to another sentence exactly if both mean, and in English say, the same."""

    main: Clause
    order: ClauseOrder = "single"
    conjunction: str = ""
    other: Clause | None = None
    anaphor: Pronoun | None = None
    """Stands for the subject, common to both clauses, in the clause that comes second."""
    is_held_out: bool = False
    """Holds a verb with an object that training never pairs."""


def person(subject: Nominal) -> Person:
    """Which finite form a subject asks for."""
    if subject.is_plural:
        return 2
    return 0 if isinstance(subject, Pronoun) and subject.english == "I" else 1


def combinations(meaning: Sentence) -> set[tuple[str, str]]:
    """Every verb of a sentence with the noun that is its object, in English base forms; relative clauses count too."""
    found: set[tuple[str, str]] = set()
    pending: list[tuple[Clause, NounPhrase | None]] = [(clause, None) for clause in (meaning.main, meaning.other) if clause]
    while pending:
        clause, head = pending.pop()
        if clause.content:
            pending.append((clause.content, None))
        thing = clause.object or (head if clause.subject else None)  # "the book that Anna read"
        if clause.verb and isinstance(thing, NounPhrase):
            found.add((clause.verb.name, thing.noun.singular))
        parts = (part for part in (clause.subject, clause.object) if isinstance(part, NounPhrase))
        pending.extend((part.relative, part) for part in parts if part.relative)
    return found
