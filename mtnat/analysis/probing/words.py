"""Whether sentences are in the source language of a model: how many of their words its training text has on either side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from mtnat.data import DataConfig
from mtnat.data.corpus import open_raw_corpus
from mtnat.data.dataset import default_cache
from mtnat.data.grammar import SplitName
from mtnat.errors import DataError

LINES = 10_000
"""Number of pairs of the corpus that are read."""
SENTENCES_READ = 1_000
"""Number of sentences whose words are looked up."""
LEAST_KNOWN = 0.3
"""A smaller share of known words calls for a warning. English novels have 0.4 in the embedded corpus, German text 0.08."""


@dataclass(frozen=True)
class KnownWords:
    """Shares of the running words of sentences, from 0 to 1, that occur in the text of a model's corpus."""

    source: float
    """In the source text."""
    target: float
    """In the target text."""

    def warning(self) -> str | None:
        """Returns what is wrong with the sentences, or None if they suit the model."""
        shares = (
            f"{self.source:.0%} of their words occur in the source text of its corpus, {self.target:.0%} in the target text"
        )
        if self.target > self.source:
            return f"the sentences seem to be in its target language: {shares}"
        if self.source < LEAST_KNOWN:
            return f"the sentences seem to be in another language than its source language: {shares}"
        return None


def known_words(data: DataConfig, sentences: Sequence[str]) -> KnownWords | None:
    """Looks up words of sentences in the first pairs of a model's own corpus.

    Two languages share few words, so that the sides differ clearly. Pieces would not do: a vocabulary that both languages
    share splits both of them well.

    Returns:
        None if the corpus cannot be read here, or there are no words.
    """
    # The train split of the embedded corpus would be generated as a whole; its 500 valid sentences have nearly all words.
    split: SplitName = "valid" if data.corpus else "train"
    sides: tuple[set[str], set[str]] = set(), set()
    try:
        for pair in islice(open_raw_corpus(data, default_cache()).pairs(split), LINES):
            for side, line in zip(sides, pair, strict=True):
                side.update(_words([line]))
    except DataError:
        return None
    step = max(1, len(sentences) // SENTENCES_READ)
    words = _words(sentences[::step])
    if not words or not all(sides):
        return None
    source, target = (sum(word in side for word in words) / len(words) for side in sides)
    return KnownWords(source, target)


def _words(lines: Iterable[str]) -> list[str]:
    """Returns the words without punctuation at their ends, in lower case; the same for text with separated punctuation."""
    return [
        word for line in lines for each in line.lower().split() if (word := each.strip(".,;:!?\"'()[]„“”‚‘’«»…-")).isalpha()
    ]
