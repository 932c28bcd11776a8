"""Division of a parallel text into train, valid and test, without a sentence of valid or test in train."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mtnat.config import Record
from mtnat.corpora.assemble import RECORD_FILE
from mtnat.corpora.fetch import Listener, silent
from mtnat.corpora.pairs import text_key, whole_files
from mtnat.data.config import languages_of
from mtnat.data.corpus import SPLITS, TextPair, paired, read_lines
from mtnat.data.grammar import SplitName
from mtnat.errors import DataError

MOST_BY_DEFAULT = 1_000
"""Number of pairs of valid and of test by default, for a text that is long enough."""
LARGEST_SHARE = 10
"""By default, valid and test are at most one in this many pairs each."""
_PAIRS_AT_ONCE = 20_000
_PAIR = re.compile(r"([a-z]{2,3})-([a-z]{2,3})")
_TRAIN, _VALID, _TEST, _EMPTY, _SHARED = range(5)
"""Destinations of a pair: one of the three texts, or dropped because a side is empty or occurs in valid or test."""


class SplitOptions(Record):
    """Sizes and seed of a division."""

    valid: int | None = Field(None, ge=1)
    """Number of validation pairs; None for 1,000, or a tenth of a text of fewer than 10,000 pairs."""
    test: int | None = Field(None, ge=1)
    """Number of test pairs; None likewise."""
    seed: int = Field(1, ge=0)
    """Seed of the choice of validation and test pairs."""


@dataclass(frozen=True)
class Division:
    """A text that was divided."""

    folder: Path
    files: tuple[str, ...]
    read: int
    pairs: dict[SplitName, int]
    empty: int
    """Number of pairs that were dropped because a side is empty."""
    shared: int
    """Number of pairs that were dropped from train because one of their sentences occurs in valid or test."""


def split(
    source: Path,
    target: Path,
    folder: Path,
    options: SplitOptions,
    languages: tuple[str, str] | None = None,
    listener: Listener = silent,
) -> Division:
    """Divides a text into ``train``, ``valid`` and ``test`` in `folder`, which are written completely or not at all.

    The pairs of valid and test are drawn at random. Their sentences differ from each other, on both sides. Pairs of train that
    share a sentence with them are dropped. White space around a sentence does not count. The pairs keep their order. The text
    is read twice, and needs about 50 bytes of memory for each pair.

    Args:
        languages: source and target language; by default those in the names of the files.

    Raises:
        DataError: if the text cannot be read, is too short or repeats itself too much, has sides of unequal length, or names no
            languages, or if a file exists in `folder`.
    """
    languages = languages or languages_in_names(source, target)
    files = {name: tuple(f"{name}.{language}.gz" for language in languages) for name in SPLITS}
    names = [name for pair in files.values() for name in pair]
    for name in [*names, RECORD_FILE]:
        if (folder / name).exists():
            raise DataError(f"{folder / name}: already exists; remove it, or give another --output.")
    keys = _keys(source, target, listener)
    sizes = _sizes(keys, options)
    destination = _drawn(keys, sizes, options.seed)
    counts = np.bincount(destination, minlength=5)
    if not counts[_TRAIN]:
        raise DataError(f"{source}: every pair shares a sentence with valid or test; give smaller --valid and --test.")
    pairs: dict[SplitName, int] = {name: int(counts[place]) for place, name in enumerate(SPLITS)}
    record = {
        "languages": languages,
        "pairs": pairs,
        "split": {"source": source.name, "target": target.name, **options.model_dump()},
    }
    _write(source, target, [folder / name for name in names], folder / RECORD_FILE, destination, record)
    return Division(folder, tuple(names), len(keys), pairs, int(counts[_EMPTY]), int(counts[_SHARED]))


def languages_in_names(source: Path, target: Path) -> tuple[str, str]:
    """Returns the languages in file names such as ``text.en`` and ``text.de.gz``.

    Raises:
        DataError: if the names hold no languages, or one language only.
    """
    if found := languages_of((source.name, target.name)):
        return found
    raise DataError(f"{source.name}, {target.name}: do not name two languages; give --languages, such as en-de.")


def language_pair(text: str) -> tuple[str, str]:
    """Returns the languages of a pair such as ``en-de``.

    Raises:
        DataError: if the text is no pair of two languages.
    """
    match = _PAIR.fullmatch(text)
    if not match or match[1] == match[2]:
        raise DataError(f"--languages {text}: must be two codes of languages, source and target, such as en-de.")
    return match[1], match[2]


def _keys(source: Path, target: Path, listener: Listener) -> NDArray[np.uint64]:
    """Returns hashes of the sentences of each pair, [pairs, 2]; that of an empty sentence is 0."""
    keys = bytearray()
    for number, pair in enumerate(_pairs(source, target), 1):
        for line in pair:
            keys += text_key(line) if line else bytes(8)
        if not number % _PAIRS_AT_ONCE:
            listener("pairs", number, None)
    return np.frombuffer(bytes(keys), dtype=np.uint64).reshape(-1, 2)


def _pairs(source: Path, target: Path) -> Iterator[TextPair]:
    """Yields the pairs without the white space around their sentences."""
    for path in (source, target):
        if not path.exists():  # the message of read_lines would mention $MTNAT_DATA, which these paths do not use
            raise DataError(f"{path}: no such file; give a text file, plain or .gz, one sentence a line.")
    unequal = (
        f"{source}, {target}: must have equally many lines, but one ends before the other; give files that belong together."
    )
    for one, other in paired(read_lines(source), read_lines(target), unequal):
        yield one.strip(), other.strip()


def _sizes(keys: NDArray[np.uint64], options: SplitOptions) -> dict[int, int]:
    """Returns the numbers of validation and test pairs."""
    full = int(keys.all(axis=1).sum())
    default = min(MOST_BY_DEFAULT, full // LARGEST_SHARE)
    sizes = {_VALID: options.valid or default, _TEST: options.test or default}
    if not all(sizes.values()):
        raise DataError(f"the text: has {full} pairs with two sides, too few to divide; give at least {LARGEST_SHARE}.")
    if sum(sizes.values()) >= full:
        raise DataError(
            f"--valid, --test: take {sizes[_VALID]:,} and {sizes[_TEST]:,} pairs of {full:,}, which leaves none for train; "
            "give smaller numbers."
        )
    return sizes


def _drawn(keys: NDArray[np.uint64], sizes: dict[int, int], seed: int) -> NDArray[np.uint8]:
    """Returns the destination of each pair."""
    is_full = keys.all(axis=1)
    destination = np.where(is_full, _TRAIN, _EMPTY).astype(np.uint8)
    order = iter(np.random.default_rng(seed).permutation(np.flatnonzero(is_full)).tolist())
    taken: tuple[set[int], set[int]] = (set(), set())
    for place, size in sizes.items():
        wanted = size
        for number in order:
            pair = (int(keys[number, 0]), int(keys[number, 1]))
            if any(key in side for key, side in zip(pair, taken, strict=True)):
                continue
            for key, side in zip(pair, taken, strict=True):
                side.add(key)
            destination[number] = place
            wanted -= 1
            if not wanted:
                break
        if wanted:
            raise DataError("the text: has too few different sentences for valid and test; give smaller --valid and --test.")
    is_shared = np.logical_or(*(np.isin(keys[:, side], list(taken[side])) for side in (0, 1)))
    destination[is_shared & (destination == _TRAIN)] = _SHARED
    return destination


def _write(
    source: Path, target: Path, paths: list[Path], record_path: Path, destination: NDArray[np.uint8], record: dict[str, Any]
) -> None:
    """Writes the pairs of train, valid and test into pairs of `paths`, and the record."""
    with whole_files([*paths, record_path]) as files:
        for place, pair in zip(destination.tolist(), _pairs(source, target), strict=True):
            if place in (_TRAIN, _VALID, _TEST):
                for side, line in enumerate(pair):
                    files[2 * place + side].write(line.encode() + b"\n")
        files[-1].write(json.dumps(record, indent=1).encode())
