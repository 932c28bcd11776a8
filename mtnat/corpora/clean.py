"""Cleaning of a parallel corpus: rules that drop pairs unfit for training, and normalisation of their text."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from mtnat.config import Record
from mtnat.corpora.fetch import Listener, silent
from mtnat.corpora.pairs import read_raw_pairs, text_key, write_pairs
from mtnat.data.corpus import TextPair
from mtnat.errors import DataError
from mtnat.files import is_compressed

RULES = ("broken", "empty", "long", "ratio", "equal", "duplicate")
"""The rules that drop pairs, in the order in which they are applied."""
_JOINERS = "\u200c\u200d"
"""Invisible characters that are kept, since Persian and Indic words and emoji contain them."""
_BROKEN = re.compile("[\ufffd\ud800-\udfff]")
_PAIRS_AT_ONCE = 20_000


class CleanOptions(Record):
    """Thresholds of the rules."""

    max_words: int = Field(250, ge=1)
    """Maximum number of words on a side, as in fairseq's recipes."""
    max_ratio: float = Field(2.0, ge=1)
    """Maximum ratio of the number of words, longer side to shorter side.

    The usual 1.5 is meant for subword units. Applied to words, it would drop 3 to 5 % of the careful translations in
    Multi30k, Tatoeba and newstest2014; a ratio of 2 drops 0.1 to 0.3 % of them, and Moses' 9 almost none.
    """
    keep_duplicates: bool = False
    """Whether to keep repetitions of a pair."""


@dataclass(frozen=True)
class Cleaning:
    """Counts of a cleaning."""

    read: int
    kept: int
    dropped: dict[str, int]
    """Number of dropped pairs by rule. A pair counts for the first rule that it breaks."""
    rewritten: int
    """Number of kept pairs whose text was changed."""


def clean(
    source: Path, target: Path, prefix: Path, options: CleanOptions, listener: Listener = silent
) -> tuple[Cleaning, list[Path]]:
    """Writes the pairs that no rule drops into two files named after `prefix`, and returns the counts and the files.

    The files have the suffixes of their inputs (``.en.gz``). The pairs are streamed; the search for duplicates needs about
    100 bytes of memory for each pair that is kept.

    Raises:
        DataError: if the inputs cannot be read or have unequal numbers of lines, or an output exists.
    """
    paths = [prefix.with_name(prefix.name + _ending(path)) for path in (source, target)]
    if paths[0] == paths[1]:
        raise DataError(
            f"{source}, {target}: have the same suffix, so both would become {paths[0]}; rename one, as in train.de.gz."
        )
    for path in paths:
        if path.exists():
            raise DataError(f"{path}: already exists; remove it, or give another --output.")
    pair_filter = _PairFilter(options, listener)
    write_pairs(pair_filter.kept(source, target), *paths)
    return pair_filter.counts(), paths


class _PairFilter:
    """The rules, and the counts of the pairs that they have dropped so far."""

    def __init__(self, options: CleanOptions, listener: Listener) -> None:
        self._options, self._listener = options, listener
        self._counts: Counter[str] = Counter()
        self._seen: set[bytes] = set()

    def kept(self, source: Path, target: Path) -> Iterator[TextPair]:
        """Yields the pairs that no rule drops, with normalised text."""
        for number, raw in enumerate(read_raw_pairs(source, target), 1):
            if raw[0] is None or raw[1] is None:
                longer, shorter = (source, target) if raw[1] is None else (target, source)
                raise DataError(
                    f"{longer}: has more lines than {shorter}, which has {number - 1:,}; give files that belong together."
                )
            pair = (tidy(raw[0]), tidy(raw[1]))
            rule = self._broken_rule(pair)
            if rule:
                self._counts[rule] += 1
            else:
                self._counts["kept"] += 1
                self._counts["rewritten"] += pair != raw
                yield pair
            if not number % _PAIRS_AT_ONCE:
                self._listener("pairs", number, None)

    def counts(self) -> Cleaning:
        """Returns the counts so far."""
        dropped = {rule: self._counts[rule] for rule in RULES}
        kept = self._counts["kept"]
        return Cleaning(kept + sum(dropped.values()), kept, dropped, self._counts["rewritten"])

    def _broken_rule(self, pair: TextPair) -> str:
        """Returns the first rule that a pair breaks, or an empty string."""
        source, target = pair
        if is_broken(source) or is_broken(target):
            return "broken"
        if not source or not target:
            return "empty"
        shorter, longer = sorted((source.count(" ") + 1, target.count(" ") + 1))
        if longer > self._options.max_words:
            return "long"
        if longer > self._options.max_ratio * shorter:
            return "ratio"
        if source == target:
            return "equal"
        if not self._options.keep_duplicates:
            key = text_key(source, target)
            if key in self._seen:
                return "duplicate"
            self._seen.add(key)
        return ""


def tidy(line: str) -> str:
    """Normalises a line to NFC, removes invisible characters, and reduces each run of white space to one space."""
    line = unicodedata.normalize("NFC", line)
    if not line.isprintable():  # false if the line holds invisible characters or white space other than the space
        line = "".join(character for character in line if character.isspace() or not _is_unseen(character))
    return " ".join(line.split())


def is_broken(line: str) -> bool:
    """Returns whether a line holds bytes that are not UTF-8 (as lone surrogates) or the replacement character U+FFFD."""
    return _BROKEN.search(line) is not None


def _ending(path: Path) -> str:
    """Returns the last suffix of a path and ``.gz``, if any: ``.en.gz`` for ``corpus.train.en.gz``."""
    stem = path.stem if is_compressed(path) else path.name
    return f"{Path(stem).suffix}{'.gz' if is_compressed(path) else ''}"


def _is_unseen(character: str) -> bool:
    """Returns whether a character is a control, format (such as the soft hyphen) or private-use character."""
    return character not in _JOINERS and unicodedata.category(character) in ("Cc", "Cf", "Co")
