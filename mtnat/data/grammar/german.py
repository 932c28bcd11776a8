"""The German side. A meaning has several German sentences, because word order, tense and synonyms leave free choices.

A sentence is built by one pass over its meaning, which asks a chooser at each free choice. A random chooser gives a sample;
`_Walk`, which replays recorded choices, serves to enumerate all sentences with their probabilities.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeVar

from mtnat.data.grammar.inflection import (
    CONTRACTIONS,
    DETERMINERS,
    HABEN,
    IT,
    MODALS,
    PRONOUNS,
    REFLEXIVE,
    RELATIVE,
    SEIN,
    Agreement,
)
from mtnat.data.grammar.lexicon import Adverbial, Case, Gender, GermanVerb, Noun
from mtnat.data.grammar.meaning import (
    INDEFINITE,
    Both,
    Clause,
    Location,
    Name,
    Nominal,
    NounPhrase,
    Person,
    Pronoun,
    Sentence,
    person,
)
from mtnat.data.grammar.words import CONJUNCTIONS, DEGREES

Option = TypeVar("Option")
Choose = Callable[[int, float], int]
"""Chooses one of n options; the first has the given probability, the others share the rest equally."""
Order = Literal["second", "first", "final"]
"""Position of the finite verb: after one constituent, first (after a subordinate clause), or at the end of the clause."""

# Probability of the preferred option of each choice: low enough that most sentences have several good translations, high
# enough that a model can learn the usual one within a minute of training.
SYNONYM = 0.85
"""The first synonym; also the default of choices without a probability listed here."""
PRETERITE = 0.9
"""The preterite rather than the perfect."""
FRONT = 0.9
"""The constituent that stands first in English."""
MIDDLE = 0.9
"""The usual word order between the finite and the closing verbs."""
CLAUSES = 0.9
"""The clause that stands first in English."""

FRONTABLE = ("sometimes", "usually")
"""Adverbials of frequency that may stand before the verb."""


def variants(meaning: Sentence) -> dict[str, float]:
    """Returns every German sentence of a meaning, with its probability; the probabilities add up to 1."""
    # Depth-first search over the tree of choices. Each walk replays a prefix of choices, completes it with first options
    # only, and adds one branch for every other option that it passed. Different choices may give the same sentence.
    found: dict[str, float] = {}
    pending: list[list[int]] = [[]]
    while pending:
        walk = _Walk(pending.pop())
        text = sentence(meaning, walk)
        found[text] = found.get(text, 0.0) + walk.probability
        pending.extend(walk.branches)
    return found


class _Walk:
    """A chooser that replays a list of choices, then takes the first option each time.

    `branches` collects the lists of choices that lead to the options not taken after the replay.
    """

    def __init__(self, taken: list[int]) -> None:
        self._taken = taken
        self._step = 0
        self.probability = 1.0
        self.branches: list[list[int]] = []

    def __call__(self, count: int, first: float) -> int:
        if self._step == len(self._taken):
            self.branches.extend([*self._taken, other] for other in range(1, count))
            self._taken.append(0)
        choice = self._taken[self._step]
        self._step += 1
        self.probability *= (1 - first) / (count - 1) if choice else first
        return choice


def sentence(meaning: Sentence, choose: Choose) -> str:
    """Returns one German sentence for a meaning."""
    text = _Speaker(choose).sentence(meaning)
    text = text.replace(" ,", ",").replace(",,", ",").rstrip(",")
    return text[0].upper() + text[1:] + "."


class _Verbs(NamedTuple):
    finite: str
    rest: str
    """Separable prefix, participle or infinitive, at the end of a main clause."""
    is_prefix: bool = False

    @property
    def together(self) -> str:
        """The verbs as they stand at the end of a subordinate clause."""
        return self.rest + self.finite if self.is_prefix else f"{self.rest} {self.finite}".strip()


class _Speaker:
    """Builds one sentence. Subordinate clauses have " ," on both sides; `german.sentence` then removes superfluous commas."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._is_perfect: bool | None = None
        self._antecedent: Gender = "n"
        """Gender of the subject of the last clause, with which "it" agrees: er, sie or es."""

    def _pick(self, options: Sequence[Option], first: float = SYNONYM) -> Option:
        return options[0] if len(options) == 1 else options[self._choose(len(options), first)]

    # Sentences

    def sentence(self, meaning: Sentence) -> str:
        main, other, anaphor = meaning.main, meaning.other, meaning.anaphor
        if other is None:
            return self._clause(main, main.subject)
        if meaning.order == "coordinated":
            link = "und" if meaning.conjunction == "and" else ", aber"
            return f"{self._clause(main, main.subject)} {link} {self._clause(other, anaphor or other.subject)}"
        if self._pick((True, False), CLAUSES) == (meaning.order == "main_first"):
            first = self._clause(main, main.subject)
            conjunction = self._conjunction(meaning, before_main=False)
            order: Order = "second" if conjunction == "denn" else "final"
            return f"{first} , {conjunction} {self._clause(other, anaphor or other.subject, order)}"
        conjunction = self._conjunction(meaning, before_main=True)
        first = self._clause(other, other.subject, "final")
        return f"{conjunction} {first} , {self._clause(main, anaphor or main.subject, 'first')}"

    def _conjunction(self, meaning: Sentence, *, before_main: bool) -> str:
        english = meaning.conjunction
        if english == "when":
            return "als" if meaning.main.tense == "past" else "wenn"
        if english == "because" and not before_main:
            return self._pick((*CONJUNCTIONS[english], "denn"))
        return self._pick(CONJUNCTIONS[english])

    # Clauses

    def _clause(self, clause: Clause, subject: Nominal | None, order: Order = "second") -> str:
        assert subject is not None
        verb = self._pick(clause.verb.german) if clause.verb else None
        verbs = self._verbs(clause, verb, person(subject))
        subject_text, gender = self._subject(subject)
        light = self._light(clause, verb, subject)
        prefield = self._prefield(clause) if order == "second" else ""
        front = self._time(clause) if prefield == "time" else self._place(clause) if prefield == "place" else ""
        closing = verbs.together if order == "final" else verbs.rest
        rest = self._rest(clause, verb, closing, fronted=prefield)
        self._antecedent = gender
        if prefield == "subject":
            return _join(subject_text, verbs.finite, light, rest)
        subject_and_light = [subject_text, light]
        if light and not isinstance(subject, Pronoun):  # a light pronoun may stand before or after a noun
            subject_and_light = self._pick((subject_and_light, subject_and_light[::-1]), MIDDLE)
        return _join(front, "" if order == "final" else verbs.finite, *subject_and_light, rest)

    def _infinitive(self, clause: Clause, subject: Nominal | None) -> str:
        assert clause.verb is not None
        verb = self._pick(clause.verb.german)
        closing = f"{verb.prefix}zu{verb.infinitive}" if verb.prefix else f"zu {verb.infinitive}"
        return _join(self._light(clause, verb, subject), self._rest(clause, verb, closing))

    def _relative(self, clause: Clause, agreement: Agreement) -> str:
        verb = self._pick(clause.verb.german) if clause.verb else None
        if clause.subject is None:
            opening = [RELATIVE[agreement]["nom"], self._light(clause, verb, None)]
            form: Person = 2 if agreement == "p" else 1
        else:
            opening = [RELATIVE[agreement]["acc"], self._subject(clause.subject)[0]]
            form = person(clause.subject)
        return _join(",", *opening, self._rest(clause, verb, self._verbs(clause, verb, form).together), ",")

    def _verbs(self, clause: Clause, verb: GermanVerb | None, form: Person) -> _Verbs:
        tense = clause.tense
        if clause.modal:
            return _Verbs(MODALS[clause.modal][tense][form], verb.prefix + verb.infinitive if verb else "sein")
        if verb is None:
            return _Verbs(SEIN[tense][form], "")
        if tense == "present":
            return _Verbs(verb.present[form], verb.prefix, is_prefix=True)
        if verb.has_perfect and self._perfect():
            return _Verbs(SEIN["present"][form] if verb.with_sein else HABEN[form], verb.participle)
        return _Verbs(verb.preterite[form], verb.prefix, is_prefix=True)

    def _perfect(self) -> bool:
        """Returns whether the past tense is the perfect; chosen once for the whole sentence."""
        if self._is_perfect is None:
            self._is_perfect = self._pick((False, True), PRETERITE)
        return self._is_perfect

    def _prefield(self, clause: Clause) -> str:
        """Returns what stands before the finite verb: usually the constituent that is first in English."""
        options = ["subject"]
        if clause.time or (clause.frequency and clause.frequency.english in FRONTABLE):
            options.append("time")
        if clause.place:
            options.append("place")
        if clause.front:
            options.remove(clause.front)
            options.insert(0, clause.front)
        return self._pick(options, FRONT)

    def _light(self, clause: Clause, verb: GermanVerb | None, subject: Nominal | None) -> str:
        """Returns the pronoun that stands next to the finite verb or the subject: reflexive, object or recipient."""
        if verb and verb.is_reflexive:
            return REFLEXIVE.get(subject.english, "sich") if isinstance(subject, Pronoun) else "sich"
        if verb and isinstance(clause.object, Pronoun) and not verb.preposition:
            return self._nominal(clause.object, verb.case)
        return self._nominal(clause.recipient, "dat") if isinstance(clause.recipient, Pronoun) else ""

    def _rest(self, clause: Clause, verb: GermanVerb | None, closing: str, fronted: str = "") -> str:
        """Returns what follows the subject and the light pronoun: middle field, closing verbs and the clauses after them."""
        things, relative = self._objects(clause, verb)
        if relative and closing and self._pick((True, False)):
            closing, relative = f"{closing} {relative}", ""
        things = _join(things, relative)
        time = "" if fronted == "time" else self._time(clause)
        place = "" if fronted == "place" else self._place(clause)
        manner = _join(self._word(clause.manner), self._with(clause))
        orders = [(time, manner, things, place)]
        if things and _is_definite(clause):
            orders = [(time, things, manner, place)]
            if time and not relative:
                orders.append((things, time, manner, place))
            if manner:
                orders.append((time, manner, things, place))
        elif things and place:
            orders.append((time, manner, place, things))
        return _join(*self._pick(orders, MIDDLE), self._complements(clause, verb), closing, self._content(clause))

    def _objects(self, clause: Clause, verb: GermanVerb | None) -> tuple[str, str]:
        """Returns the noun objects without preposition, and the relative clause of the last one."""
        recipient = (
            "" if clause.recipient is None or isinstance(clause.recipient, Pronoun) else self._nominal(clause.recipient, "dat")
        )
        thing = clause.object
        if verb is None or verb.preposition or thing is None or isinstance(thing, Pronoun):
            return recipient, ""
        if not isinstance(thing, NounPhrase):
            return _join(recipient, self._nominal(thing, verb.case)), ""
        text, agreement = self._head(thing, verb.case, "no" if clause.is_negated and thing.determiner in INDEFINITE else None)
        return _join(recipient, text), self._relative(thing.relative, agreement) if thing.relative else ""

    def _complements(self, clause: Clause, verb: GermanVerb | None) -> str:
        """Returns what directly precedes the closing verbs: "nicht", prepositional object, goal and predicate."""
        negation = "nicht" if clause.is_negated and not _has_kein(clause, verb) else ""
        with_preposition = ""
        if verb and verb.preposition and clause.object:
            with_preposition = self._after(verb.preposition, clause.object, verb.case)
        predicate = ""
        if clause.predicate:
            degree = self._pick(DEGREES[clause.predicate.degree]) if clause.predicate.degree else ""
            predicate = _join(degree, self._pick(clause.predicate.adjective.german)[0])
        return _join(negation, with_preposition, self._goal(clause), predicate)

    def _content(self, clause: Clause) -> str:
        """Returns the clause of what is said, known or tried."""
        if clause.content is None:
            return ""
        if clause.conjunction == "to":
            return f", {self._infinitive(clause.content, clause.subject)}"
        return f", dass {self._clause(clause.content, clause.content.subject, 'final')}"

    # Adverbials

    def _word(self, adverbial: Adverbial | None) -> str:
        return self._pick(adverbial.german) if adverbial else ""

    def _time(self, clause: Clause) -> str:
        return self._word(clause.time or clause.frequency)

    def _with(self, clause: Clause) -> str:
        return self._after("mit", clause.companion, "dat") if clause.companion else ""

    def _place(self, clause: Clause) -> str:
        place = clause.place
        return self._after(place.place.rest, place.phrase, "dat") if isinstance(place, Location) else self._word(place)

    def _goal(self, clause: Clause) -> str:
        goal = clause.goal
        if not isinstance(goal, Location):
            return self._word(goal)
        preposition, case = self._pick(goal.place.directions)
        return self._after(preposition, goal.phrase, case)

    def _after(self, preposition: str, what: Nominal, case: Case) -> str:
        """Returns a noun phrase after a preposition, contracted with the article where German does so: im, zum."""
        article, _, rest = self._nominal(what, case).partition(" ")
        contracted = CONTRACTIONS.get(f"{preposition} {article}")
        return f"{contracted} {rest}" if contracted else _join(preposition, article, rest)

    # Noun phrases

    def _subject(self, subject: Nominal) -> tuple[str, Gender]:
        """Returns a subject, and the gender of the noun chosen for it."""
        if isinstance(subject, Pronoun):
            return (IT[self._antecedent] if subject.english == "it" else PRONOUNS[subject.english]["nom"]), self._antecedent
        if not isinstance(subject, NounPhrase):
            return self._nominal(subject, "nom"), "n"
        text, agreement = self._head(subject, "nom")
        relative = self._relative(subject.relative, agreement) if subject.relative else ""
        return _join(text, relative), "n" if agreement == "p" else agreement

    def _nominal(self, what: Nominal, case: Case) -> str:
        if isinstance(what, Pronoun):
            return PRONOUNS[what.english][case]
        if isinstance(what, Name):
            return what.text
        if isinstance(what, Both):
            return f"{what.first.text} und {what.second.text}"
        text, agreement = self._head(what, case)
        return _join(text, self._relative(what.relative, agreement)) if what.relative else text

    def _head(self, what: NounPhrase, case: Case, determiner: str | None = None) -> tuple[str, Agreement]:
        """Returns a noun phrase without its relative clause, and the gender or number of the relative pronoun."""
        noun, agreement = self._noun(what.noun, case, is_plural=what.is_plural)
        key = what.determiner if determiner is None else determiner
        owner = what.possessor
        article, behind = "", ""
        if owner:
            key = "the"
            is_genitive = self._pick((True, False))
            if isinstance(owner, Name) and is_genitive:
                key, article = "", f"{owner.text}s"
            else:
                behind = self._nominal(owner, "gen") if is_genitive else self._after("von", owner, "dat")
        forms, endings = DETERMINERS[key]
        adjective = self._pick(what.adjective.german)[1] + endings[agreement][case] if what.adjective else ""
        where = self._after(what.place.place.rest, what.place.phrase, "dat") if what.place else ""
        return _join(article or forms[agreement][case], adjective, noun, behind, where), agreement

    def _noun(self, noun: Noun, case: Case, *, is_plural: bool) -> tuple[str, Agreement]:
        german = self._pick(noun.german)
        return (german.plural[case], "p") if is_plural else (german.singular[case], german.gender)


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _is_definite(clause: Clause) -> bool:
    return all(not isinstance(thing, NounPhrase) or thing.is_definite for thing in (clause.recipient, clause.object))


def _has_kein(clause: Clause, verb: GermanVerb | None) -> bool:
    """Returns whether a negated clause says "kein" before its object instead of "nicht"."""
    thing = clause.object
    return (
        isinstance(thing, NounPhrase)
        and not (verb and verb.preposition)
        and not thing.possessor
        and thing.determiner in INDEFINITE
    )
