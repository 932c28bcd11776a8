"""What is in a parallel corpus, and what is wrong with it."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mtnat.corpora.fetch import Listener, silent
from mtnat.corpora.pairs import read_raw_pairs, text_key
from mtnat.errors import DataError

# N pairs

RATIOS = (1.5, 2.0, 3.0, 9.0)
"""Words of the longer side for each of the shorter one, beyond which pairs are counted."""
FREQUENT = 10
"""How many of the most frequent odd characters are named."""
_UNSEEN = {"Cc": "control characters", "Cf": "format characters", "Co": "private use", "Cs": "bytes that are not UTF-8"}
_NAMED = {
    "\ufffd": "replacement character U+FFFD",
    "\ufeff": "byte order mark U+FEFF",
    "\x85": "line break U+0085",
    "\u2028": "line break U+2028",
    "\u2029": "line break U+2029",
}
_PAIRS_AT_ONCE = 20_000


@dataclass(frozen=True)
class SideStatistics:
    """One side of a corpus."""

    lines: int
    empty: int
    """Lines without anything but white space."""
    words: int
    """Separated by white space."""
    characters: int
    mean_words: float
    """Of a line, as all lengths below."""
    median_words: int
    percentile95_words: int
    longest_words: int
    longest_characters: int
    repeated: int
    """Lines that are not the first of their kind."""
    faults: dict[str, int]
    """Characters that do not belong into text, by what they are."""
    scripts: dict[str, int]
    """Letters by script, the most frequent first, as Unicode names them."""
    signs: dict[str, int]
    """The most frequent characters that are neither letters, digits, punctuation nor white space."""


@dataclass(frozen=True)
class Statistics:
    """Both sides, and how they fit together."""

    source: SideStatistics
    target: SideStatistics
    pairs: int
    """Lines that have a partner: those of the shorter side."""
    unpaired: int
    """Lines of the longer side that have none."""
    one_empty: int
    """Pairs of which exactly one side is empty."""
    equal: int
    """Pairs whose sides are the same text."""
    repeated: int
    """Pairs that are not the first of their kind."""
    ambiguous_sources: int
    """Different sources that come with several different targets."""
    words_ratio: float
    """Target words for each source word, over all."""
    beyond_ratio: dict[str, int]
    """Pairs whose longer side has more than so many words for each of the shorter one."""


def describe(source: Path, target: Path, listener: Listener = silent) -> Statistics:
    """Reads a corpus once, at some 24 bytes of memory for each pair.

    Raises:
        DataError: a file is missing, unreadable or without any line.
    """
    sides = (_Side(), _Side())
    keys = bytearray()
    pairs = one_empty = equal = 0
    beyond = Counter[float]()
    for number, (source_line, target_line) in enumerate(read_raw_pairs(source, target), 1):
        words = [side.add(line) for side, line in zip(sides, (source_line, target_line), strict=True) if line is not None]
        if source_line is None or target_line is None:
            continue
        pairs += 1
        keys += text_key(source_line, target_line)
        shorter, longer = sorted(words)
        one_empty += shorter == 0 < longer
        equal += source_line == target_line and longer > 0
        if shorter:
            beyond.update(ratio for ratio in RATIOS if longer > ratio * shorter)
        if not number % _PAIRS_AT_ONCE:
            listener("pairs", number, None)
    for side, path in zip(sides, (source, target), strict=True):
        if not side.words:
            raise DataError(f"{path}: is empty; give a file with one sentence a line.")
    first, second = (side.found() for side in sides)
    keys_N = np.frombuffer(keys, np.uint64)
    return Statistics(
        source=first,
        target=second,
        pairs=pairs,
        unpaired=abs(first.lines - second.lines),
        one_empty=one_empty,
        equal=equal,
        repeated=_repeated(keys_N),
        ambiguous_sources=_ambiguous(np.frombuffer(sides[0].keys, np.uint64)[:pairs], keys_N),
        words_ratio=second.words / max(first.words, 1),
        beyond_ratio={f"{ratio:g}": beyond[ratio] for ratio in RATIOS},
    )


class _Side:
    """What is counted of one side, line by line."""

    def __init__(self) -> None:
        self.words = Counter[int]()
        self.characters = Counter[str]()
        self.keys = bytearray()
        self.longest_characters = 0

    def add(self, line: str) -> int:
        """Counts a line, and returns how many words it has."""
        words = len(line.split())
        self.words[words] += 1
        self.characters.update(line)
        self.keys += text_key(line)
        self.longest_characters = max(self.longest_characters, len(line))
        return words

    def found(self) -> SideStatistics:
        """The figures."""
        lines = self.words.total()
        words = sum(length * count for length, count in self.words.items())
        return SideStatistics(
            lines=lines,
            empty=self.words[0],
            words=words,
            characters=self.characters.total(),
            mean_words=words / lines,
            median_words=_quantile(self.words, 0.5),
            percentile95_words=_quantile(self.words, 0.95),
            longest_words=max(self.words),
            longest_characters=self.longest_characters,
            repeated=_repeated(np.frombuffer(self.keys, np.uint64)),
            faults=_by_kind(self.characters, _fault),
            scripts=_by_kind(self.characters, _script),
            signs=dict(list(_by_kind(self.characters, _sign).items())[:FREQUENT]),
        )


def _quantile(counts: Mapping[int, int], share: float) -> int:
    """The smallest length that at least `share` of the lines do not exceed."""
    lengths = sorted(counts)
    ends = np.cumsum([counts[length] for length in lengths])
    return lengths[int(np.searchsorted(ends, share * ends[-1]))]


def _repeated(keys_N: npt.NDArray[np.uint64]) -> int:
    return len(keys_N) - len(np.unique(keys_N))


def _ambiguous(source_keys_N: npt.NDArray[np.uint64], pair_keys_N: npt.NDArray[np.uint64]) -> int:
    """How many sources are in several different pairs."""
    _, first_places = np.unique(pair_keys_N, return_index=True)
    _, targets = np.unique(source_keys_N[first_places], return_counts=True)
    return int(np.count_nonzero(targets > 1))


def _by_kind(characters: Mapping[str, int], kind_of: Callable[[str], str]) -> dict[str, int]:
    """Characters counted by kind, the most frequent first, without those of none."""
    kinds = Counter[str]()
    for character, count in characters.items():
        if kind := kind_of(character):
            kinds[kind] += count
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


def _fault(character: str) -> str:
    return _NAMED.get(character) or _UNSEEN.get(unicodedata.category(character), "")


def _script(character: str) -> str:
    """The first word of a letter's name, which is its script: LATIN, CYRILLIC, CJK; or else nothing."""
    if not character.isalpha():
        return ""
    letter = unicodedata.normalize("NFKC", character)[0]  # of º or ﬁ, whose names do not say it
    return unicodedata.name(letter, "").partition(" ")[0]


def _sign(character: str) -> str:
    """``€ U+20AC EURO SIGN``, for a symbol or a combining mark."""
    if unicodedata.category(character)[0] not in "SM":
        return ""
    shown = character if unicodedata.category(character)[0] == "S" else f"\u25cc{character}"
    return f"{shown} U+{ord(character):04X} {unicodedata.name(character, '')}".strip()
