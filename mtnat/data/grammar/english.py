"""The English side. Each meaning has exactly one English sentence.

The sentence is built as a constituent tree, of which only text, label and depth are kept.
"""

from typing import NamedTuple

from mtnat.data.grammar.lexicon import Adverbial, Tense, Verb
from mtnat.data.grammar.meaning import (
    Both,
    Clause,
    Location,
    Name,
    Nominal,
    NounPhrase,
    Person,
    Predicate,
    Pronoun,
    Sentence,
    person,
)
from mtnat.data.grammar.words import PEOPLE

OBJECTIVE = {"I": "me", "he": "him", "she": "her", "it": "it", "we": "us", "they": "them"}
BE = {"present": ("am", "is", "are"), "past": ("was", "was", "were")}
MODALS = {
    "can": {"present": ("can", "can", "can"), "past": ("could", "could", "could")},
    "have to": {"present": ("have to", "has to", "have to"), "past": ("had to", "had to", "had to")},
    "want to": {"present": ("want to", "wants to", "want to"), "past": ("wanted to", "wanted to", "wanted to")},
}
DO = {"present": ("do not", "does not", "do not"), "past": ("did not", "did not", "did not")}


class Phrase(NamedTuple):
    """A constituent."""

    label: str
    """Label of the Penn Treebank."""
    text: str
    depth: int
    """Number of levels of constituents, this one included; a word is no level."""


def _phrase(label: str, *parts: "Phrase | str | None") -> Phrase:
    """Joins parts to one constituent; empty strings and None are skipped."""
    depth, texts = 0, []
    for part in parts:
        if isinstance(part, Phrase):
            texts.append(part.text)
            depth = max(depth, part.depth)
        elif part:
            texts.append(part)
    return Phrase(label, " ".join(texts), depth + 1)


def sentence(meaning: Sentence) -> tuple[Phrase, list[str]]:
    """Returns the whole sentence, and the labels of its top constituents."""
    main, other, order = meaning.main, meaning.other, meaning.order
    if other is None:
        parts = _constituents(main, main.subject)
    elif order == "coordinated":
        first = _clause(main, main.subject)
        second = _clause(other, meaning.anaphor or other.subject)
        parts = [first._replace(text=first.text + ","), Phrase("CC", meaning.conjunction, 0), second]
    elif order == "subordinate_first":
        clause = _phrase("SBAR", meaning.conjunction, _clause(other, other.subject))
        parts = [clause._replace(text=clause.text + ","), *_constituents(main, meaning.anaphor or main.subject)]
    else:
        clause = _phrase("SBAR", meaning.conjunction, _clause(other, meaning.anaphor or other.subject))
        parts = _constituents(main, main.subject, clause)
    whole = _phrase("S", *parts)
    return whole._replace(text=whole.text[0].upper() + whole.text[1:] + "."), [part.label for part in parts]


def _clause(clause: Clause, subject: Nominal | None) -> Phrase:
    return _phrase("S", *_constituents(clause, subject))


def _constituents(clause: Clause, subject: Nominal | None, last: Phrase | None = None) -> list[Phrase]:
    """Returns the parts of a finite clause; `last` is a clause at the end of the verb phrase."""
    parts = []
    if clause.front:
        fronted = _adverbial(clause.time if clause.front == "time" else clause.place)
        parts.append(fronted._replace(text=fronted.text + ","))
    assert subject is not None
    parts.append(nominal(subject))
    if clause.frequency and clause.verb:
        parts.append(_adverbial(clause.frequency))
    parts.append(_verb_phrase(clause, person(subject), last))
    return parts


def _verb_phrase(clause: Clause, form: Person, last: Phrase | None = None) -> Phrase:
    verb, thing = clause.verb, clause.object
    moved = clause.recipient if clause.recipient_last else None
    return _phrase(
        "VP",
        _finite(clause, form),
        _adverbial(clause.frequency) if clause.frequency and not verb else None,
        _predicate(clause.predicate) if clause.predicate else None,
        nominal(clause.recipient, objective=True) if clause.recipient and not moved else None,
        verb.particle if verb and verb.frame != "prepositional" else None,
        _object(verb, thing) if verb and thing else None,
        _phrase("PP", "to", nominal(moved, objective=True)) if moved else None,
        _goal(clause.goal) if clause.goal else None,
        _adverbial(clause.manner) if clause.manner else None,
        _phrase("PP", "with", nominal(clause.companion, objective=True)) if clause.companion else None,
        _adverbial(clause.place) if clause.place and clause.front != "place" else None,
        _adverbial(clause.time) if clause.time and clause.front != "time" else None,
        _content(clause) if clause.content else None,
        last,
    )


def _finite(clause: Clause, form: Person) -> str:
    verb, tense = clause.verb, clause.tense
    if clause.modal:
        return f"{MODALS[clause.modal][tense][form]} {verb.english if verb else 'be'}"
    if verb is None:
        return BE[tense][form] + (" not" if clause.is_negated else "")
    if clause.is_negated:
        return f"{DO[tense][form]} {verb.english}"
    return _conjugated(verb, tense, form)


def _conjugated(verb: Verb, tense: Tense, form: Person) -> str:
    if tense == "past":
        return verb.past
    return verb.third if form == 1 else verb.english


def _object(verb: Verb, thing: Nominal) -> Phrase:
    phrase = nominal(thing, objective=True)
    return _phrase("PP", verb.particle, phrase) if verb.frame == "prepositional" else phrase


def _predicate(predicate: Predicate) -> Phrase:
    return _phrase("ADJP", predicate.degree, predicate.adjective.english)


def _content(clause: Clause) -> Phrase:
    content = clause.content
    assert content is not None
    if clause.conjunction == "to":
        assert content.verb is not None
        inner = _verb_phrase(content, 2)  # the plural present is the base form
        return _phrase("S", _phrase("VP", "to", inner))
    return _phrase("SBAR", clause.conjunction, _clause(content, content.subject))


def nominal(what: Nominal, *, objective: bool = False) -> Phrase:
    """Returns the noun phrase of a noun, a name, two names or a pronoun."""
    if isinstance(what, Pronoun):
        return Phrase("NP", OBJECTIVE[what.english] if objective else what.english, 1)
    if isinstance(what, Name):
        return Phrase("NP", what.text, 1)
    if isinstance(what, Both):
        return _phrase("NP", nominal(what.first), "and", nominal(what.second))
    return _noun_phrase(what)


def _noun_phrase(what: NounPhrase) -> Phrase:
    noun = what.noun.plural if what.is_plural else what.noun.singular
    adjective = what.adjective.english if what.adjective else ""
    determiner = what.determiner
    if determiner == "a" and (adjective or noun)[0] in "aeiou":
        determiner = "an"
    elif determiner == "this" and what.is_plural:
        determiner = "these"
    core = _phrase("NP", _possessor(what.possessor) if what.possessor else determiner, adjective, noun)
    if what.place:
        core = _phrase("NP", core, _location(what.place, what.place.place.english))
    if what.relative:
        core = _phrase("NP", core, _relative(what))
    return core


def _possessor(owner: Name | NounPhrase) -> Phrase:
    phrase = nominal(owner)
    return phrase._replace(text=phrase.text + ("'" if phrase.text.endswith("s") else "'s"))


def _relative(head: NounPhrase) -> Phrase:
    clause = head.relative
    assert clause is not None
    is_person = head.noun.kind in PEOPLE
    if clause.subject is None:
        return _phrase("SBAR", "who" if is_person else "that", _phrase("S", _verb_phrase(clause, 2 if head.is_plural else 1)))
    return _phrase("SBAR", "whom" if is_person else "that", _clause(clause, clause.subject))


def _adverbial(what: Adverbial | Location | None) -> Phrase:
    assert what is not None
    return _location(what, what.place.english) if isinstance(what, Location) else _whole(what)


def _goal(what: Adverbial | Location) -> Phrase:
    return _location(what, "to") if isinstance(what, Location) else _whole(what)


def _location(what: Location, preposition: str) -> Phrase:
    return _phrase("PP", preposition, _noun_phrase(what.phrase))


def _whole(what: Adverbial) -> Phrase:
    return Phrase(what.label, what.english, 1 if what.label in ("ADVP", "NP") else 2)
