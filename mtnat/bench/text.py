"""Text for measurements: random tokens, or the text of a corpus, repeated as often as necessary."""

import os
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from mtnat.data.store import EncodedPair
from mtnat.tokens import SPECIAL

_PAIRS_AT_ONCE = 1_024
_SECONDS_OLD = 60


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Distribution of the lengths of random sentences. Target lengths are log-normal; the source is about as long."""

    mean: float
    """Mean number of pieces of a target."""
    deviation: float
    """Standard deviation of the logarithm of the target length."""
    ratio_deviation: float
    """Standard deviation of the logarithm of the ratio of source length to target length."""
    longest: int = 127
    """Maximum number of pieces of a side."""


MULTI30K = Lengths(mean=14.5, deviation=0.35, ratio_deviation=0.18)
"""Multi30k en-de with a joint BPE of 8,000 pieces, measured."""
WMT = Lengths(mean=28, deviation=0.6, ratio_deviation=0.2)
"""WMT14 en-de with a joint BPE of 32,000 pieces, approximately."""


def random_pairs(lengths: Lengths, pairs: int, vocabulary_size: int, seed: int) -> Iterator[EncodedPair]:
    """Yields pairs of uniformly drawn piece ids, without EOS; equal arguments give equal pairs."""
    random = np.random.default_rng(seed)
    # The mean of a log-normal distribution is exp(μ + σ²/2).
    mean_log = np.log(lengths.mean) - lengths.deviation**2 / 2
    for first in range(0, pairs, _PAIRS_AT_ONCE):
        size = min(_PAIRS_AT_ONCE, pairs - first)
        target_N = np.exp(random.normal(mean_log, lengths.deviation, size))
        source_N = target_N * np.exp(random.normal(0, lengths.ratio_deviation, size))
        lengths_N2 = np.stack([source_N, target_N], 1).round().astype(np.int64).clip(1, lengths.longest)
        tokens = random.integers(len(SPECIAL), vocabulary_size, lengths_N2.sum())
        sides = iter(np.split(tokens, lengths_N2.flatten().cumsum()[:-1]))
        yield from ((source.tolist(), target.tolist()) for source, target in zip(sides, sides, strict=True))


def write_text(pairs: Iterable[tuple[str, str]], files: tuple[Path, Path]) -> int:
    """Writes both sides, a sentence a line, and returns the number of pairs."""
    count = 0
    with (
        files[0].open("w", encoding="utf-8", newline="\n") as source,
        files[1].open("w", encoding="utf-8", newline="\n") as target,
    ):
        for source_line, target_line in pairs:
            source.write(f"{source_line}\n")
            target.write(f"{target_line}\n")
            count += 1
    for file in files:
        _age(file)
    return count


def repeat_text(file: Path, lines: int, wanted: int) -> None:
    """Repeats or truncates a file of `lines` lines to `wanted` lines. Memory holds only a block of it."""
    once = file.with_name(f"{file.name}.once")
    file.rename(once)
    with file.open("wb") as whole:
        for _ in range(wanted // lines):
            with once.open("rb") as text:
                shutil.copyfileobj(text, whole)
        with once.open("rb") as text:
            whole.writelines(islice(text, wanted % lines))
    once.unlink()
    _age(file)


def _age(file: Path) -> None:
    """Sets the modification time into the past, since the result of scanning a recently modified file is not cached."""
    before = time.time() - _SECONDS_OLD
    os.utime(file, (before, before))
