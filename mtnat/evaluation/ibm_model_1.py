"""IBM Model 1 (Brown et al. 1993): word translation probabilities of a parallel corpus, estimated by EM."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

# P sentence pairs
# T running target words
# L links: each running target word with each source word of its pair and with NULL
# C different couples (source word, target word) among the links
# U different couples among the links of one part of the corpus

Indices = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.float64]

NULL = 0
"""Number of the word NULL, which is part of every source."""
_LINKS_AT_ONCE = 8_000_000
"""Number of links that are in memory in full, about 60 bytes each. Of the others only the couple is kept, 4 bytes each."""


@dataclass(frozen=True)
class Couples:
    """The couples of words that occur in a pair, in ascending order of source and then target word."""

    source_C: Indices
    target_C: Indices
    p_C: Floats
    """p(target word | source word)."""


def translation_table(sources: Indices, targets: Indices, source_P: Indices, target_P: Indices, iterations: int) -> Couples:
    """Estimates p(y|x) for all words x, y that occur in a pair, from a uniform start over the words that occur with x.

    Args:
        sources: running source words of all pairs, as positive numbers.
        targets: running target words of all pairs, as numbers from 0, [T].
        source_P: number of source words of each pair, at least 1.
        target_P: number of target words of each pair, at least 1.
    """
    parts = [
        _Part(sources[slice(*of_source)], targets[slice(*of_target)], source_P[first:last], target_P[first:last])
        for first, last, of_source, of_target in _parts(source_P, target_P)
    ]
    stride = int(targets.max()) + 1
    # Both words in one integer, so that equal couples are found by sorting.
    found = [_different(part.keys(stride)) for part in parts]
    key_C = np.unique(np.concatenate([key_U for key_U, _ in found]))
    # The couple of each link; the links of a part are looked up by way of its different couples, which are fewer and sorted.
    couples = [np.searchsorted(key_C, key_U).astype(np.int32)[couple_L] for key_U, couple_L in found]
    source_C, target_C = key_C // stride, key_C % stride
    p_C = 1 / np.bincount(source_C)[source_C]
    for _ in range(iterations):
        # E step: each running target word distributes a weight of 1 over its links, in proportion to p(y|x).
        count_C = np.zeros(len(key_C))
        for part, couple_L in zip(parts, couples, strict=True):
            count_C += np.bincount(couple_L, weights=part.shares(p_C[couple_L]), minlength=len(key_C))
        # M step: the expected count of each couple, normalised over the couples of the same source word.
        p_C = count_C / np.bincount(source_C, weights=count_C)[source_C]
    return Couples(source_C, target_C, np.asarray(p_C))


def _different(key_L: Indices) -> tuple[Indices, Indices]:
    """Returns the different keys, [U], and the index of each link's key among them, [L]."""
    key_U, couple_L = np.unique(key_L, return_inverse=True)
    return key_U, couple_L.astype(np.int32)


def _parts(source_P: Indices, target_P: Indices) -> Iterator[tuple[int, int, tuple[int, int], tuple[int, int]]]:
    """Cuts the pairs into parts of about `_LINKS_AT_ONCE` links; yields the pairs, source words and target words of each."""
    links_P = (source_P.astype(np.int64) + 1) * target_P
    parts_P = np.cumsum(links_P) // _LINKS_AT_ONCE
    cuts = [0, *(np.flatnonzero(np.diff(parts_P)) + 1).tolist(), len(parts_P)]
    ends = [np.concatenate([[0], np.cumsum(each, dtype=np.int64)]) for each in (source_P, target_P)]
    for first, last in pairwise(cuts):
        of_source, of_target = ((int(end[first]), int(end[last])) for end in ends)
        yield first, last, of_source, of_target


@dataclass(frozen=True)
class _Part:
    """Some pairs. Their links are in the order of the running target words; that with NULL is the first link of each."""

    sources: Indices
    targets: Indices
    source_P: Indices
    target_P: Indices

    def _widths(self) -> Indices:
        """Returns the number of links of each running target word, [T]."""
        return np.repeat(self.source_P + 1, self.target_P)

    def keys(self, stride: int) -> Indices:
        """Returns the couple of each link as one number, source word · stride + target word, [L]."""
        width_T = self._widths()
        first_T = np.cumsum(width_T) - width_T
        target_L = np.repeat(np.arange(len(self.targets), dtype=np.int32), width_T)
        start_T = np.repeat(np.cumsum(self.source_P) - self.source_P, self.target_P)  # where the sources of its pair begin
        # Link i of target word t (i counts from first_T[t]) is linked with sources[start_T[t] + i - 1].
        position_L = np.arange(len(target_L)) + np.repeat(start_T - 1 - first_T, width_T)
        source_L = self.sources.astype(np.int64)[np.maximum(position_L, 0)]
        source_L[first_T] = NULL
        return np.asarray(source_L * stride + self.targets[target_L])

    def shares(self, weight_L: Floats) -> Floats:
        """Divides the weights by their sum over the links of each running target word, in place."""
        width_T = self._widths()
        weight_L /= np.repeat(np.add.reduceat(weight_L, np.cumsum(width_T) - width_T), width_T)
        return weight_L
