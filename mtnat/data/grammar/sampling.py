"""Random meanings of sentences. The probabilities keep sentences short and make word frequencies Zipfian.

A sentence is drawn top down: first its shape (one clause, or two and how they are joined), then for each clause the subject,
a verb that fits it, the arguments of the verb, and the adverbials. Every draw reads one number of the same random source, so
the order of the draws is part of the corpus: reordering them changes every generated sentence.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

from mtnat.data.grammar import chances
from mtnat.data.grammar.lexicon import (
    ADJECTIVES,
    FREQUENCIES,
    GOALS,
    MANNERS,
    NOUNS,
    PLACES,
    SPOTS,
    TIMES,
    Adverbial,
    Deck,
    Noun,
    Tense,
    Usage,
)
from mtnat.data.grammar.meaning import (
    QUANTIFIERS,
    Both,
    Clause,
    Location,
    Name,
    Nominal,
    NounPhrase,
    Predicate,
    Pronoun,
    Sentence,
    person,
)
from mtnat.data.grammar.words import PEOPLE

Front = Literal["", "time", "place"]
Referent = tuple[Nominal, Noun]
"""A noun phrase, and the noun that determines its verbs and adjectives (for a name or a pronoun: man or woman)."""


class _Arguments(NamedTuple):
    object: Nominal | None = None
    recipient: Nominal | None = None
    recipient_last: bool = False
    goal: Location | Adverbial | None = None


class _Adverbials(NamedTuple):
    time: Adverbial | None
    frequency: Adverbial | None
    manner: Adverbial | None
    companion: Nominal | None
    place: Location | Adverbial | None
    front: Front


def anaphor(subject: Nominal) -> Pronoun | None:
    """Returns the pronoun that refers to a subject; None for a child, which may be he or she."""
    if isinstance(subject, Pronoun):
        return subject
    if subject.is_plural:
        return Pronoun("they")
    if isinstance(subject, NounPhrase):
        if subject.noun.kind == "child":
            return None
        return Pronoun({"man": "he", "woman": "she"}.get(subject.noun.kind, "it"))  # type: ignore[arg-type]
    return Pronoun("she" if isinstance(subject, Name) and subject.is_female else "he")


class Sampler:
    """Draws random sentences.

    Args:
        random: returns a number uniform on [0, 1).
    """

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random
        self._wants_held_out = False
        """Whether the next object is to be one that is held out from training with its verb."""

    def sentence(self, *, held_out: bool) -> Sentence:
        """Draws a sentence.

        Args:
            held_out: whether it has a combination of verb and object that never occurs in training.
        """
        # Rejection sampling: `_object` clears the flag when it has drawn a held-out object. A sentence without a verb that
        # has such objects leaves it set, and is drawn again.
        while True:
            self._wants_held_out = held_out
            drawn = self._sentence(chances.SHAPES.draw(self._random))
            if not self._wants_held_out:
                return replace(drawn, is_held_out=True) if held_out else drawn

    def _chance(self, probability: float) -> bool:
        return self._random() < probability

    # Sentences

    def _sentence(self, shape: chances.Shape) -> Sentence:
        tense: Tense = "past" if self._chance(0.5) else "present"
        if shape == "content":
            return Sentence(main=self._report(tense))
        who = self._subject(is_rich=shape == "plain", tense=tense)
        if shape == "infinitive":
            return Sentence(main=self._attempt(tense))
        main = self._clause(who, tense, adverbials=2 if shape == "plain" else 1)
        if shape == "plain":
            return Sentence(main=main)
        # Both clauses have the same subject, repeated as a pronoun, or two different subjects.
        pronoun = anaphor(who[0]) if self._chance(0.55) else None
        other = self._clause(who if pronoun else self._subject(tense=tense, other_than=who[0]), tense, adverbials=1)
        if shape == "coordinated":
            link = "and" if self._chance(0.6) else "but"
            return Sentence(main=main, order="coordinated", conjunction=link, other=other, anaphor=pronoun)
        conjunction = chances.CONJUNCTIONS.draw(self._random)
        if conjunction == "if" and tense == "past":  # would have to be counterfactual, which the grammar lacks
            conjunction = "because"
        other = replace(other, front="")  # a subordinate clause begins with its conjunction
        if self._chance(0.6):
            return Sentence(main=main, order="main_first", conjunction=conjunction, other=other, anaphor=pronoun)
        main = replace(main, front="")
        return Sentence(main=main, order="subordinate_first", conjunction=conjunction, other=other, anaphor=pronoun)

    def _report(self, tense: Tense) -> Clause:
        """Draws a clause with a that-clause: somebody knows, says or hopes that …"""
        subject, noun = self._person()
        inner: Tense = "past" if tense == "past" or self._chance(0.4) else "present"
        return Clause(
            subject=subject,
            verb=chances.usages(noun, ("content",)).draw(self._random).verb,
            tense=tense,
            is_negated=self._chance(0.08) and _may_negate(subject),
            conjunction="that",
            content=replace(self._clause(self._subject(tense=inner, other_than=subject), inner, adverbials=1), front=""),
        )

    def _attempt(self, tense: Tense) -> Clause:
        """Draws a clause with an infinitive clause: somebody tries, begins or decides to …"""
        subject, noun = self._person()
        inner = self._clause((subject, noun), "present", adverbials=1, frames=chances.PURPOSE)
        return Clause(
            subject=subject,
            verb=chances.usages(noun, ("infinitive",)).draw(self._random).verb,
            tense=tense,
            conjunction="to",
            content=replace(inner, subject=None, modal="", is_negated=False, frequency=None, time=None, front=""),
        )

    # Clauses

    def _clause(
        self, who: Referent, tense: Tense, *, adverbials: int, frames: tuple[str, ...] = tuple(chances.FRAMES)
    ) -> Clause:
        subject, noun = who
        usage = self._usage(who, tense, frames)
        if usage is None or (noun in ADJECTIVES and frames == tuple(chances.FRAMES) and self._chance(0.1)):
            return self._state(who, tense)
        arguments = self._arguments(usage, who, tense)
        # A clause with a relative clause gets neither negation nor adverbials, so that sentences stay short.
        is_heavy = _is_heavy(subject) or _is_heavy(arguments.object)
        modal, is_negated = "", False
        if noun.kind in PEOPLE and usage.verb.frame != "stative" and self._chance(0.1):
            modal = chances.MODALS.draw(self._random)
        elif not is_heavy and _may_negate(subject, arguments.object) and self._chance(0.1):
            is_negated = True
        can_be_often = not modal and not is_negated
        extra = self._adverbials(
            usage, who, tense, 0 if is_heavy else adverbials, is_plain=not is_negated, can_be_often=can_be_often
        )
        return Clause(
            subject=subject,
            verb=usage.verb,
            tense=tense,
            object=arguments.object,
            recipient=arguments.recipient,
            recipient_last=arguments.recipient_last,
            goal=arguments.goal,
            modal=modal,
            is_negated=is_negated,
            time=extra.time,
            frequency=extra.frequency,
            manner=extra.manner,
            companion=extra.companion,
            place=extra.place,
            front=extra.front,
        )

    def _state(self, who: Referent, tense: Tense) -> Clause:
        """Draws a clause with "be" and an adjective: somebody or something is tired, old or red."""
        subject, noun = who
        is_negated = _may_negate(subject, None) and self._chance(0.1)
        time = self._fitting(TIMES, tense) if self._chance(0.1) else None
        return Clause(
            subject=subject,
            verb=None,
            tense=tense,
            predicate=Predicate(ADJECTIVES[noun].draw(self._random), chances.DEGREES.draw(self._random)),
            is_negated=is_negated,
            time=time,
            frequency=FREQUENCIES.draw(self._random) if not is_negated and not time and self._chance(0.12) else None,
            front="time" if time and self._chance(0.3) else "",
        )

    def _usage(self, who: Referent, tense: Tense, frames: tuple[str, ...]) -> Usage | None:
        """Draws a verb that fits the subject and shows its tense in English; None if no verb fits the subject."""
        subject, noun = who
        deck = chances.usages(noun, frames)
        while deck:  # an empty deck is false
            usage = deck.draw(self._random)
            if not _is_ambiguous(usage, subject, tense):
                return usage
        return None

    def _arguments(self, usage: Usage, who: Referent, tense: Tense) -> _Arguments:
        subject = who[0]
        frame = usage.verb.frame
        if frame == "motion":
            return _Arguments(goal=self._goal(usage))
        if frame not in chances.TAKING_OBJECTS:
            return _Arguments()
        thing = self._object(usage, subject, tense)
        if frame != "ditransitive":
            return _Arguments(object=thing)
        recipient = self._other_person(subject, allow_pronoun=True)
        return _Arguments(thing, recipient, not isinstance(recipient, Pronoun) and self._chance(0.35))

    def _goal(self, usage: Usage) -> Location | Adverbial:
        if self._chance(0.2):
            return GOALS.draw(self._random)
        while True:
            location = self._location()
            if location.place.noun.kind != "room" or usage.verb.english not in chances.BY_VEHICLE:
                return location

    def _object(self, usage: Usage, subject: Nominal, tense: Tense) -> Nominal:
        if self._wants_held_out and usage.unseen:
            self._wants_held_out = False
            noun = usage.unseen.draw(self._random)
        else:
            noun = self._other_noun(usage.seen, subject)
            if noun.kind in PEOPLE and not usage.verb.particle.startswith(chances.PARTICLES) and self._chance(0.3):
                return self._somebody(subject, allow_pronoun=True)
        is_rich = usage.verb.frame in chances.TRANSITIVE and self._chance(0.06)
        return self._noun_phrase(noun, owner=subject, tense=tense if is_rich else None)

    def _adverbials(
        self, usage: Usage, who: Referent, tense: Tense, most: int, *, is_plain: bool, can_be_often: bool
    ) -> _Adverbials:
        """Draws at most `most` adverbials.

        Args:
            is_plain: the clause is not negated; otherwise only time is possible.
            can_be_often: the clause may have an adverbial of frequency: it has neither negation nor modal verb.
        """
        frame, is_person = usage.verb.frame, who[1].kind in PEOPLE
        chance, left = self._chance, most
        time = frequency = manner = companion = place = None
        if left and chance(0.33):
            time, left = self._fitting(TIMES, tense), left - 1
        elif left and can_be_often and chance(0.13):
            frequency, left = FREQUENCIES.draw(self._random), left - 1
        if left and is_plain and frame in chances.PLACED and chance(0.36):
            place, left = self._place(), left - 1
        if left and is_plain and is_person and frame in chances.ACTIVE and chance(0.16):
            manner, left = MANNERS.draw(self._random), left - 1
        elif left and is_plain and is_person and frame in chances.ACCOMPANIED and chance(0.08):
            companion = self._other_person(who[0], allow_pronoun=False)
        front: Front = ""
        if time and chance(0.3):
            front = "time"
        elif place and chance(0.12):
            front = "place"
        return _Adverbials(time, frequency, manner, companion, place, front)

    def _fitting(self, deck: Deck[Adverbial], tense: Tense) -> Adverbial:
        while True:
            adverbial = deck.draw(self._random)
            if adverbial.tense in (tense, "both"):
                return adverbial

    def _place(self) -> Location | Adverbial:
        return self._location() if self._chance(0.7) else SPOTS.draw(self._random)

    def _location(self) -> Location:
        place = PLACES.draw(self._random)
        adjective = ADJECTIVES[place.noun].draw(self._random) if self._chance(0.12) else None
        return Location(place, NounPhrase(place.noun, chances.SPOT.draw(self._random), adjective=adjective))

    # Noun phrases

    def _subject(self, *, tense: Tense, is_rich: bool = False, other_than: Nominal | None = None) -> Referent:
        """Draws a subject.

        Args:
            tense: tense of a relative clause.
            is_rich: allow a relative clause or a place.
            other_than: a name or pair of names not to draw again.
        """
        sort = chances.SUBJECTS.draw(self._random)
        while sort != "noun":
            who = self._human(sort)
            if isinstance(who[0], Pronoun) or who[0] != other_than:
                return who
        noun = chances.nouns(chances.KINDS.draw(self._random)).draw(self._random)
        is_rich = is_rich and self._chance(0.12)
        return self._noun_phrase(noun, owner=None, tense=tense if is_rich else None, place=is_rich and self._chance(0.4)), noun

    def _person(self) -> Referent:
        sort = chances.SUBJECTS.draw(self._random)
        if sort != "noun":
            return self._human(sort)
        noun = chances.nouns("person").draw(self._random)
        return self._noun_phrase(noun, owner=None), noun

    def _human(self, sort: str) -> Referent:
        """Draws people that have no noun: a pronoun, a name or two names."""
        man, woman = NOUNS["man"], NOUNS["woman"]
        if sort == "pronoun":
            pronoun = chances.PRONOUNS.draw(self._random)
            return pronoun, woman if pronoun.english == "she" else man
        name = chances.PERSONS.draw(self._random)
        if sort == "name":
            return name, woman if name.is_female else man
        return Both(name, self._another(name)), man

    def _another(self, *names: Nominal) -> Name:
        while True:
            name = chances.PERSONS.draw(self._random)
            if name not in names:
                return name

    def _somebody(self, subject: Nominal, *, allow_pronoun: bool) -> Nominal:
        """Draws a name or a pronoun other than the subject."""
        while allow_pronoun and self._chance(0.5):
            pronoun = chances.PRONOUNS.draw(self._random)
            if pronoun != subject:
                return pronoun
        return self._another(*((subject.first, subject.second) if isinstance(subject, Both) else (subject,)))

    def _other_person(self, subject: Nominal, *, allow_pronoun: bool) -> Nominal:
        """Draws a person other than the subject."""
        if self._chance(0.6):
            return self._somebody(subject, allow_pronoun=allow_pronoun)
        return self._noun_phrase(self._other_noun(chances.nouns("person"), subject), owner=subject)

    def _other_noun(self, deck: Deck[Noun], subject: Nominal) -> Noun:
        while True:
            noun = deck.draw(self._random)
            if not (isinstance(subject, NounPhrase) and subject.noun is noun):
                return noun

    def _noun_phrase(self, noun: Noun, *, owner: Nominal | None, tense: Tense | None = None, place: bool = False) -> NounPhrase:
        """Draws the determiner and the modifiers of a noun.

        Args:
            owner: the person that "his" or "her" refers to; None for the speaker ("my").
            tense: tense of the relative clause; None for no relative clause.
            place: add a place instead of a relative clause, if the noun is a person or an animal.
        """
        chance = self._chance
        is_plural = not noun.is_mass and chance(0.24)
        adjective = ADJECTIVES[noun].draw(self._random) if noun in ADJECTIVES and chance(0.26) else None
        if place and noun.kind in (*PEOPLE, "animal"):
            return NounPhrase(noun, "the", is_plural, adjective, place=self._location())
        if tense and not place:
            determiner = "the" if is_plural or noun.is_mass or chance(0.75) else "a"
            relative = self._relative(noun, tense, is_plural=is_plural)
            return NounPhrase(noun, determiner, is_plural, relative=relative)
        if noun.kind in chances.OWNED and noun.singular not in chances.UNOWNED and chance(0.18):
            if chance(0.25):
                return NounPhrase(noun, "", is_plural, adjective, possessor=self._possessor(owner))
            return NounPhrase(noun, _possessive(owner), is_plural, adjective)
        if noun.is_mass:
            return NounPhrase(noun, "" if chance(0.6) else "the", adjective=adjective)
        return NounPhrase(noun, (chances.PLURAL if is_plural else chances.SINGULAR).draw(self._random), is_plural, adjective)

    def _possessor(self, subject: Nominal | None) -> Name | NounPhrase:
        if self._chance(0.6):
            return self._another(*((subject,) if subject else ()))
        return NounPhrase(chances.nouns("man woman").draw(self._random), "the" if self._chance(0.7) else "my")

    def _relative(self, noun: Noun, tense: Tense, *, is_plural: bool) -> Clause:
        """Draws a relative clause in which the noun is the object ("that Anna read") or the subject ("who sleeps")."""
        governing = chances.governing(noun)
        if governing and (noun.kind not in PEOPLE or self._chance(0.3)) and self._chance(0.75):
            subject, _ = self._person()
            usage = governing.draw(self._random)
            while _is_ambiguous(usage, subject, tense):
                usage = governing.draw(self._random)
            return Clause(subject=subject, verb=usage.verb, tense=tense)
        stand_in: Nominal = NounPhrase(noun, is_plural=is_plural)
        usage_or_none = self._usage((stand_in, noun), tense, chances.INNER)
        if usage_or_none is None or (noun in ADJECTIVES and self._chance(0.2)):
            adjective = ADJECTIVES[noun].draw(self._random)
            return Clause(
                subject=None, verb=None, tense=tense, predicate=Predicate(adjective, chances.DEGREES.draw(self._random))
            )
        thing = self._arguments(usage_or_none, (stand_in, noun), tense).object
        thing = replace(thing, relative=None) if isinstance(thing, NounPhrase) else thing
        return Clause(subject=None, verb=usage_or_none.verb, tense=tense, object=thing)


def _possessive(owner: Nominal | None) -> str:
    pronoun = anaphor(owner) if owner else None
    return chances.POSSESSIVES.get(pronoun.english, "my") if pronoun else "my"


def _is_ambiguous(usage: Usage, subject: Nominal, tense: Tense) -> bool:
    """Returns whether the English verb does not show the tense, as in "they read"."""
    return tense == "past" and usage.verb.past == usage.verb.english and person(subject) != 1


def _is_heavy(part: Nominal | None) -> bool:
    return isinstance(part, NounPhrase) and part.relative is not None


def _may_negate(*parts: Nominal | None) -> bool:
    """Returns whether a negated clause has one reading only: "not" is ambiguous beside a quantifier ("all")."""
    return not any(isinstance(part, NounPhrase) and part.determiner in QUANTIFIERS for part in parts)
