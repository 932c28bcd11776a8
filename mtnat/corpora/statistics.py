"""Statistics of a parallel corpus: sizes, lengths, faulty characters, scripts and duplicates."""

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
"""Thresholds of the ratio of the number of words, longer side to shorter side; pairs above each are counted."""
FREQUENT = 10
"""Maximum number of different signs that are listed."""
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
    """Statistics of one side of a corpus."""

    lines: int
    empty: int
    """Lines that hold only white space or nothing."""
    words: int
    """Words, separated by white space."""
    characters: int
    mean_words: float
    """Mean number of words of a line. All lengths below are lengths of a line, too."""
    median_words: int
    percentile95_words: int
    longest_words: int
    longest_characters: int
    repeated: int
    """Lines that repeat an earlier line."""
    faults: dict[str, int]
    """Number of characters that do not belong in text, by kind."""
    scripts: dict[str, int]
    """Number of letters by script, named as in Unicode, the most frequent first."""
    signs: dict[str, int]
    """The most frequent characters that are neither letters, digits, punctuation nor white space, with their counts."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of both sides and of their pairs."""

    source: SideStatistics
    target: SideStatistics
    pairs: int
    """Number of pairs: the lines of the shorter side."""
    unpaired: int
    """Lines of the longer side without a line on the other side."""
    one_empty: int
    """Pairs in which exactly one side is empty."""
    equal: int
    """Pairs whose sides are equal and not empty."""
    repeated: int
    """Pairs that repeat an earlier pair."""
    ambiguous_sources: int
    """Different sources that have several different targets."""
    words_ratio: float
    """Target words divided by source words, over the whole corpus."""
    beyond_ratio: dict[str, int]
    """For each of `RATIOS`, the number of pairs whose longer side has more words than this ratio times those of the shorter."""


def describe(source: Path, target: Path, listener: Listener = silent) -> Statistics:
    """Reads a corpus once and returns its statistics. Memory grows by about 24 bytes a pair.

    Raises:
        DataError: if a file is missing, unreadable or empty.
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
    first, second = (side.statistics() for side in sides)
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
    """Counters of one side, updated line by line."""

    def __init__(self) -> None:
        self.words = Counter[int]()
        self.characters = Counter[str]()
        self.keys = bytearray()
        self.longest_characters = 0

    def add(self, line: str) -> int:
        """Counts a line and returns its number of words."""
        words = len(line.split())
        self.words[words] += 1
        self.characters.update(line)
        self.keys += text_key(line)
        self.longest_characters = max(self.longest_characters, len(line))
        return words

    def statistics(self) -> SideStatistics:
        """Returns the statistics of the lines so far."""
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
    """Returns the smallest length such that at least `share` of the lines are not longer."""
    lengths = sorted(counts)
    ends = np.cumsum([counts[length] for length in lengths])
    return lengths[int(np.searchsorted(ends, share * ends[-1]))]


def _repeated(keys_N: npt.NDArray[np.uint64]) -> int:
    return len(keys_N) - len(np.unique(keys_N))


def _ambiguous(source_keys_N: npt.NDArray[np.uint64], pair_keys_N: npt.NDArray[np.uint64]) -> int:
    """Returns the number of sources that have several different targets."""
    # Keep the first occurrence of each pair, so that a source occurs once for each different target.
    _, first_places = np.unique(pair_keys_N, return_index=True)
    _, targets = np.unique(source_keys_N[first_places], return_counts=True)
    return int(np.count_nonzero(targets > 1))


def _by_kind(characters: Mapping[str, int], kind_of: Callable[[str], str]) -> dict[str, int]:
    """Counts characters by kind, the most frequent kind first; characters without a kind are left out."""
    kinds = Counter[str]()
    for character, count in characters.items():
        if kind := kind_of(character):
            kinds[kind] += count
    return dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))


def _fault(character: str) -> str:
    return _NAMED.get(character) or _UNSEEN.get(unicodedata.category(character), "")


def _script(character: str) -> str:
    """Returns the script of a letter (LATIN, CYRILLIC, CJK), which is the first word of its Unicode name; else empty."""
    if not character.isalpha():
        return ""
    letter = unicodedata.normalize("NFKC", character)[0]  # the names of º and ﬁ do not begin with a script
    return unicodedata.name(letter, "").partition(" ")[0]


def _sign(character: str) -> str:
    """Returns the description of a symbol or a combining mark, such as ``€ U+20AC EURO SIGN``; else empty."""
    if unicodedata.category(character)[0] not in "SM":
        return ""
    shown = character if unicodedata.category(character)[0] == "S" else f"\u25cc{character}"
    return f"{shown} U+{ord(character):04X} {unicodedata.name(character, '')}".strip()
