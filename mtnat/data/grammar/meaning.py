"""Meanings: the content of a sentence, from which both the English and the German text are built."""

from dataclasses import dataclass
from typing import Literal

from mtnat.data.grammar.lexicon import Adjective, Adverbial, Noun, Place, Tense, Verb

Person = Literal[0, 1, 2]
"""Index into the finite forms of a verb: 0 for I, 1 for he/she/it, 2 for every plural."""
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
    """A noun with its determiner and modifiers."""

    noun: Noun
    determiner: str = "the"
    """English determiner; empty for a bare noun and before a noun with a possessor."""
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
    """A location at a place, or a goal there."""

    place: Place
    phrase: NounPhrase


@dataclass(frozen=True, slots=True)
class Predicate:
    """A predicative adjective with its degree ("very"), if any."""

    adjective: Adjective
    degree: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """A verb with its arguments and adverbials."""

    subject: Nominal | None
    """None in an infinitive clause and in a relative clause whose subject is the relative pronoun."""
    verb: Verb | None = None
    """None means "be"."""
    tense: Tense = "present"
    object: Nominal | None = None
    recipient: Nominal | None = None
    recipient_last: bool = False
    """Whether English puts the recipient last: "gives a book to the woman"."""
    predicate: Predicate | None = None
    goal: Adverbial | Location | None = None
    modal: str = ""
    """Base form of the English modal verb: can, have to, want to."""
    is_negated: bool = False
    time: Adverbial | None = None
    frequency: Adverbial | None = None
    manner: Adverbial | None = None
    companion: Nominal | None = None
    place: Adverbial | Location | None = None
    front: Literal["", "time", "place"] = ""
    """The adverbial that English puts before the subject."""
    conjunction: str = ""
    """Conjunction before `content`: "that", or "to" for an infinitive clause."""
    content: "Clause | None" = None
    """The clause of what is said, known or tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One or two clauses. Two sentences compare equal exactly if their meaning and their English text are equal."""

    main: Clause
    order: ClauseOrder = "single"
    conjunction: str = ""
    other: Clause | None = None
    anaphor: Pronoun | None = None
    """The pronoun that repeats the subject in the second clause, if both clauses have the same subject."""
    is_held_out: bool = False
    """Whether the sentence has a combination of verb and object that never occurs in training."""


def person(subject: Nominal) -> Person:
    """Returns the index of the finite form that agrees with a subject."""
    if subject.is_plural:
        return 2
    return 0 if isinstance(subject, Pronoun) and subject.english == "I" else 1


def combinations(meaning: Sentence) -> set[tuple[str, str]]:
    """Returns each pair of verb and object noun of a sentence, relative clauses included, in English base forms."""
    found: set[tuple[str, str]] = set()
    pending: list[tuple[Clause, NounPhrase | None]] = [(clause, None) for clause in (meaning.main, meaning.other) if clause]
    while pending:
        clause, head = pending.pop()
        if clause.content:
            pending.append((clause.content, None))
        # In "the book that Anna read" the object of the relative clause is the noun that the clause modifies.
        thing = clause.object or (head if clause.subject else None)
        if clause.verb and isinstance(thing, NounPhrase):
            found.add((clause.verb.name, thing.noun.singular))
        parts = (part for part in (clause.subject, clause.object) if isinstance(part, NounPhrase))
        pending.extend((part.relative, part) for part in parts if part.relative)
    return found
