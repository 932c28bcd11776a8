"""The embedded corpus: labelled sentence pairs from the grammar, in three splits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Literal
from zlib import crc32

from mtnat.data.grammar import english, german
from mtnat.data.grammar.lexicon import Tense
from mtnat.data.grammar.meaning import ClauseOrder, Sentence
from mtnat.data.grammar.sampling import Sampler

SplitName = Literal["train", "valid", "test"]
Number = Literal["singular", "plural"]
SPLIT_SIZES: Mapping[SplitName, int] = {"valid": 500, "test": 500}
HELD_OUT_EVERY = 5
"""In valid and test, every fifth sentence has a combination of verb and object that never occurs in training."""
WORDS = range(3, 19)
"""Permitted number of words of an English sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Labels of an English sentence. All but `depth` describe its main clause, or its first one if it has two main clauses."""

    depth: int
    """Number of levels of constituents, from the sentence down to a phrase that holds only words."""
    top_constituents: str
    """Labels of the constituents directly below the sentence, in the style of the Penn Treebank, e.g. "PP NP VP"."""
    tense: Tense
    subject_number: Number
    object_number: Number | None
    """None without a direct or prepositional object."""
    clause_order: ClauseOrder
    """Relative clauses do not count. A "coordinated" sentence contains ", and " or ", but " once, between its clauses."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence, one of its translations, and its labels."""

    english: str
    german: str
    structure: Structure
    is_held_out: bool = False
    """Whether the sentence has a combination of verb and object that never occurs in training."""


def generate(split: SplitName, size: int, seed: int) -> Iterator[Pair]:
    """Yields the first `size` pairs of an endless stream, so a longer corpus begins with the pairs of a shorter one.

    No English sentence occurs in two splits, whatever the seeds. Sentences of valid and test never repeat. Train is drawn
    with replacement: of 20,000 sentences, less than 1 % repeat an earlier one. Equal arguments give equal pairs on every
    machine.
    """
    draw = Random(f"german {split} {seed}").random

    def choose(count: int, first: float) -> int:
        # Option 0 has probability `first`. The others divide the rest of the unit interval into equal parts; `min` guards
        # against a quotient that rounds up to 1.
        chance = draw()
        return 0 if chance < first else min(count - 1, 1 + int((chance - first) / (1 - first) * (count - 1)))

    for meaning, text, structure in islice(_stream(split, seed), size):
        yield Pair(text, german.sentence(meaning, choose), structure, meaning.is_held_out)


def sentences(split: SplitName, size: int, seed: int) -> Iterator[Sentence]:
    """Yields the meaning of each pair of `generate`, which `german_variants` takes."""
    return (meaning for meaning, _, _ in islice(_stream(split, seed), size))


def german_variants(meaning: Sentence) -> dict[str, float]:
    """Returns every German sentence that `generate` may pair with a meaning, with its probability."""
    return german.variants(meaning)


def split_of(english_sentence: str) -> SplitName:
    """Returns the only split that may hold an English sentence. Its hash decides: a tenth each is valid and test."""
    names: dict[int, SplitName] = {0: "valid", 1: "test"}
    return names.get(crc32(english_sentence.encode()) % 10, "train")


def describe(meaning: Sentence) -> tuple[str, Structure]:
    """Returns the English sentence of a meaning, and its labels."""
    phrase, top = english.sentence(meaning)
    main = meaning.main
    assert main.subject is not None
    return phrase.text, Structure(
        depth=phrase.depth,
        top_constituents=" ".join(top),
        tense=main.tense,
        subject_number=_number(main.subject.is_plural),
        object_number=_number(main.object.is_plural) if main.object else None,
        clause_order=meaning.order,
    )


def _number(is_plural: bool) -> Number:
    return "plural" if is_plural else "singular"


def _stream(split: SplitName, seed: int) -> Iterator[tuple[Sentence, str, Structure]]:
    sampler = Sampler(Random(f"english {split} {seed}").random)
    count = 0
    seen: set[str] = set()  # stays empty for train, where it could grow without bound
    while True:
        is_held_out = split != "train" and count % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        meaning = sampler.sentence(held_out=is_held_out)
        text, structure = describe(meaning)
        if split_of(text) == split and text.count(" ") + 1 in WORDS and text not in seen:
            count += 1
            if split != "train":
                seen.add(text)
            yield meaning, text, structure
