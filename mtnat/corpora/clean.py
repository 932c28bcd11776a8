"""Which pairs are worth training on, and how their text is written."""

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

RULES = ("broken", "empty", "long", "ratio", "equal", "duplicate")
"""Why a pair is dropped, in the order in which the rules are tried."""
_JOINERS = "\u200c\u200d"
"""Invisible, but a part of Persian and Indic words and of emoji."""
_BROKEN = re.compile("[\ufffd\ud800-\udfff]")
_PAIRS_AT_ONCE = 20_000


class CleanOptions(Record):
    """How strict the rules are."""

    max_words: int = Field(250, ge=1)
    """Most words on a side, as in fairseq's recipes."""
    max_ratio: float = Field(2.0, ge=1)
    """Most words of the longer side for each of the shorter one.

    The usual 1.5 counts pieces of words; of words it would drop 3 to 5 % of the careful translations in Multi30k,
    Tatoeba and newstest2014, where 2 drops 0.1 to 0.3 %. Moses' 9 drops next to nothing.
    """
    keep_duplicates: bool = False
    """Whether a pair may come twice."""


@dataclass(frozen=True)
class Cleaning:
    """What became of the pairs."""

    read: int
    kept: int
    dropped: dict[str, int]
    """By rule; a pair counts for the first one that it breaks."""
    rewritten: int
    """Kept pairs of which characters were changed."""


def clean(
    source: Path, target: Path, prefix: Path, options: CleanOptions, listener: Listener = silent
) -> tuple[Cleaning, list[Path]]:
    """Streams the pairs that are worth keeping into two files named after `prefix`, and says what it dropped.

    The files end as their inputs do (``.en.gz``). Finding duplicates takes some 100 bytes of memory for each pair that is kept.

    Raises:
        DataError: the files cannot be read, have unequal numbers of lines, or would be written over.
    """
    paths = [prefix.with_name(prefix.name + _ending(path)) for path in (source, target)]
    if paths[0] == paths[1]:
        raise DataError(f"{source}, {target}: end alike, so both would become {paths[0]}; rename one, as in train.de.gz.")
    for path in paths:
        if path.exists():
            raise DataError(f"{path}: is already there; remove it, or give another --output.")
    sieve = _Sieve(options, listener)
    write_pairs(sieve.kept(source, target), *paths)
    return sieve.found(), paths


class _Sieve:
    """The rules, and what they have dropped so far."""

    def __init__(self, options: CleanOptions, listener: Listener) -> None:
        self._options, self._listener = options, listener
        self._counts: Counter[str] = Counter()
        self._seen: set[bytes] = set()

    def kept(self, source: Path, target: Path) -> Iterator[TextPair]:
        """The pairs that no rule drops, as they are to be written."""
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

    def found(self) -> Cleaning:
        """The counts."""
        dropped = {rule: self._counts[rule] for rule in RULES}
        kept = self._counts["kept"]
        return Cleaning(kept + sum(dropped.values()), kept, dropped, self._counts["rewritten"])

    def _broken_rule(self, pair: TextPair) -> str:
        """The first rule that a pair breaks."""
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
    """A line in Unicode's composed form (NFC), without characters that are not seen, its white space single spaces."""
    line = unicodedata.normalize("NFC", line)
    if not line.isprintable():  # printable is all but invisible characters and white space other than the space
        line = "".join(character for character in line if character.isspace() or not _is_unseen(character))
    return " ".join(line.split())


def is_broken(line: str) -> bool:
    """Whether bytes that were not UTF-8, or U+FFFD in their stead, stand where letters were."""
    return _BROKEN.search(line) is not None


def _ending(path: Path) -> str:
    """``.en.gz`` of ``corpus.train.en.gz``: the last suffix, and .gz."""
    stem = path.name.removesuffix(".gz")
    return f"{Path(stem).suffix}{'.gz' if path.suffix == '.gz' else ''}"


def _is_unseen(character: str) -> bool:
    """Control characters, format characters such as the soft hyphen, and characters of private use."""
    return character not in _JOINERS and unicodedata.category(character) in ("Cc", "Cf", "Co")
