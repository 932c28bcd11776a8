"""The ten probing tasks of Conneau et al. 2018 from the embedded grammar, which knows the structure of its sentences.

The sentences are English. They are drawn as the training text of the embedded corpus is, but with another seed.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from mtnat.analysis.probing.builders import bigram_shift, sentence_length, word_content
from mtnat.analysis.probing.tasks import SENTENCES, ProbingTask, without_repeats
from mtnat.analysis.probing.trees import OTHER, TOP_SEQUENCES, depth_classes
from mtnat.data.grammar import Structure, describe, sentences
from mtnat.data.grammar.lexicon import USAGES, Noun
from mtnat.data.grammar.meaning import NounPhrase, Sentence
from mtnat.data.grammar.words import NAMES

DRAWN_AT_MOST = 30
"""Largest number of sentences that are drawn for each sentence of a task. One in 25 suits the task coordination inversion."""
_SEEDS_FROM = 1 << 32
"""Added to the seed, so that the stream is not that of a training text."""


_TRIES = 20
"""Number of nouns of which the first that is odd replaces an object."""


class _Drawn(NamedTuple):
    meaning: Sentence
    text: str
    structure: Structure


def grammar_tasks(most: int = SENTENCES, seed: int = 1) -> list[ProbingTask]:
    """Makes the ten tasks, in the order of the paper's tables.

    Args:
        most: number of different sentences that the tasks are made of. Object number needs sentences with an object and has
            fewer; so has word content. Odd man out and coordination inversion draw more sentences, and have as many.
    """
    drawn: list[_Drawn] = []
    coordinated: dict[str, _Drawn] = {}
    with_object: dict[str, _Drawn] = {}
    seen: set[str] = set()
    for meaning in sentences("train", DRAWN_AT_MOST * most, _SEEDS_FROM + seed):
        if len(drawn) == len(coordinated) == len(with_object) == most:
            break
        may_invert = _is_order_evident(meaning) and len(coordinated) < most
        may_replace = _plain_object(meaning) is not None and len(with_object) < most
        if len(drawn) == most and not may_invert and not may_replace:
            continue
        each = _Drawn(meaning, *describe(meaning))
        if may_invert:
            coordinated.setdefault(each.text, each)
        if may_replace:
            with_object.setdefault(each.text, each)
        if len(drawn) < most and each.text not in seen:
            drawn.append(each)
            seen.add(each.text)
    texts = [each.text for each in drawn]
    content = word_content(texts, seed, most)
    tops = Counter(each.structure.top_constituents for each in drawn)
    frequent = {labels for labels, _ in tops.most_common(TOP_SEQUENCES)}
    labels: dict[str, Sequence[str | None]] = {
        "tree_depth": depth_classes([each.structure.depth for each in drawn]),
        "top_constituents": [_or_other(each.structure.top_constituents, frequent) for each in drawn],
        "tense": [each.structure.tense for each in drawn],
        "subject_number": [each.structure.subject_number for each in drawn],
        "object_number": [each.structure.object_number for each in drawn],
    }
    tasks = {
        name: without_repeats(name, ((text, label) for text, label in zip(texts, found, strict=True) if label))
        for name, found in labels.items()
    }
    return [
        sentence_length(texts),
        *([content] if content else []),
        tasks["tree_depth"],
        tasks["top_constituents"],
        bigram_shift(texts, seed),
        tasks["tense"],
        tasks["subject_number"],
        tasks["object_number"],
        without_repeats("odd_man_out", _odd_men_out(list(with_object.values()), seed)),
        without_repeats("coordination_inversion", _inversions(list(coordinated.values()), seed)),
    ]


def _or_other(label: str, frequent: set[str]) -> str:
    return label if label in frequent else OTHER


def _is_order_evident(meaning: Sentence) -> bool:
    """Returns whether the second clause is coordinated and begins with a pronoun for the subject of the first.

    Only then does the order of the clauses show in the sentence: exchanged, the pronoun stands before what it refers to.
    """
    return meaning.order == "coordinated" and meaning.anaphor is not None and meaning.anaphor != meaning.main.subject


def _inversions(drawn: Sequence[_Drawn], seed: int) -> Iterator[tuple[str, str]]:
    """Yields sentences; in half of them both clauses are exchanged."""
    draw = random.Random(f"coordination inversion {seed}")
    for each in drawn:
        is_inverted = draw.random() < 0.5
        yield (inverted(each.text, each.meaning.conjunction), "inverted") if is_inverted else (each.text, "original")


def inverted(text: str, conjunction: str) -> str:
    """Exchanges the clauses of a sentence: "Anna slept, and she dreamt." becomes "She dreamt, and Anna slept."."""
    first, second = text.removesuffix(".").split(f", {conjunction} ")
    names = {"I", *(name for names in NAMES.values() for name in names.split())}
    beginning = first.replace("'", " ").replace(",", " ").split()[0]
    last = first if beginning in names else first[0].lower() + first[1:]
    return f"{second[0].upper()}{second[1:]}, {conjunction} {last}."


def _odd_men_out(drawn: Sequence[_Drawn], seed: int) -> Iterator[tuple[str, str]]:
    """Yields sentences; in half of them the noun of the object is one that the grammar never puts there.

    The new noun is the object of another sentence, so that the nouns of both halves are similarly frequent. Conneau et al.
    replace nouns and verbs so that the pairs of adjacent words stay similarly frequent.
    """
    draw = random.Random(f"odd man out {seed}")
    taken: defaultdict[str, set[Noun]] = defaultdict(set)
    for usage in USAGES:
        taken[usage.verb.name].update(usage.seen.items, usage.unseen.items)
    known = {each.text for each in drawn}
    suitable = [(each, thing) for each in drawn if (thing := _plain_object(each.meaning))]
    pool: defaultdict[tuple[bool, bool], list[Noun]] = defaultdict(list)
    for _, thing in suitable:
        pool[thing.is_plural, thing.noun.is_mass].append(thing.noun)
    for each, thing in suitable:
        if draw.random() < 0.5:
            yield each.text, "original"
            continue
        main = each.meaning.main
        assert main.verb is not None
        nouns = pool[thing.is_plural, thing.noun.is_mass]
        others = draw.sample(nouns, min(len(nouns), _TRIES))
        odd = next((noun for noun in others if noun not in taken[main.verb.name]), None)
        if odd is None:
            continue
        text, _ = describe(replace(each.meaning, main=replace(main, object=replace(thing, noun=odd))))
        if text not in known:
            yield text, "odd"


def _plain_object(meaning: Sentence) -> NounPhrase | None:
    """Returns the object of the main clause if it is a noun whose neighbours do not depend on its meaning."""
    thing = meaning.main.object
    if not isinstance(thing, NounPhrase) or thing.adjective or thing.relative or thing.place:
        return None
    return thing
