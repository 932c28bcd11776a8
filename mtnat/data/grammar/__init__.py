"""The embedded English-German corpus: a grammar that draws meanings and expresses each of them in both languages."""

from mtnat.data.grammar.corpus import (
    HELD_OUT_EVERY,
    SPLIT_SIZES,
    Pair,
    SplitName,
    Structure,
    describe,
    generate,
    german_variants,
    sentences,
    split_of,
)
from mtnat.data.grammar.lexicon import held_out
from mtnat.data.grammar.meaning import combinations

__all__ = [
    "HELD_OUT_EVERY",
    "SPLIT_SIZES",
    "Pair",
    "SplitName",
    "Structure",
    "combinations",
    "describe",
    "generate",
    "german_variants",
    "held_out",
    "sentences",
    "split_of",
]
