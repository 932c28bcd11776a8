"""Measures that complement a corpus score: repeated pieces, length accuracy, and BLEU by source length."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mtnat.errors import DataError
from mtnat.evaluation.scores import check_sentences, metric_named, statistics, value_of

# N sentences, K statistics of a sentence

NEAR_PIECES = 2
"""Maximum difference, in pieces, of a length that counts as near the length of the reference."""
LONGEST_OF_BUCKETS = (10, 20, 30, 50)
"""Maximum source length of each bucket, in words. One more bucket holds all longer sources."""


@dataclass(frozen=True)
class LengthAccuracy:
    """Lengths of hypotheses compared with those of their references, in pieces."""

    exact: float
    """Share of hypotheses that are exactly as long as their reference."""
    near: float
    """Share of hypotheses that are at most `NEAR_PIECES` longer or shorter than their reference."""
    ratio: float
    """Total length of the hypotheses divided by that of the references."""


@dataclass(frozen=True)
class LengthBucket:
    """The sentences with a source of `shortest` to `longest` words."""

    shortest: int
    longest: int | None
    """None for no upper bound."""
    sentences: int
    bleu: float
    """Corpus BLEU of these sentences alone, with the signature of `bleu`."""


def repeated_share(rows: Sequence[Sequence[int]]) -> float:
    """Returns the share of pieces that equal the preceding piece of their sentence; 0 if there are no pieces.

    Repetition is the typical error of NAT decoders (Ghazvininejad et al. 2019, section 5.1); real text has a few, too.
    """
    repeated = sum(piece == before for row in rows for before, piece in pairwise(row))
    return repeated / max(1, sum(len(row) for row in rows))


def length_accuracy(hypotheses: Sequence[Sequence[int]], references: Sequence[Sequence[int]]) -> LengthAccuracy:
    """Compares the lengths of hypotheses and references, both in pieces of the same vocabulary.

    Raises:
        DataError: if there are no sentences, not equally many on both sides, or no pieces in the references.
    """
    check_sentences(hypotheses, references)
    hypothesis_N, reference_N = (np.array([len(row) for row in rows], np.int64) for rows in (hypotheses, references))
    if not reference_N.sum():
        raise DataError("references: contain no text; give at least one sentence.")
    off_N = np.abs(hypothesis_N - reference_N)
    return LengthAccuracy(
        exact=float(np.mean(off_N == 0)),
        near=float(np.mean(off_N <= NEAR_PIECES)),
        ratio=float(hypothesis_N.sum() / reference_N.sum()),
    )


def bleu_by_length(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> tuple[LengthBucket, ...]:
    """Returns the BLEU of each bucket of source lengths, in words separated by white space; empty buckets are left out.

    A source without words is in the first bucket.

    Raises:
        DataError: if there are no sentences, or not equally many on all sides.
    """
    if len(sources) != len(references):
        raise DataError(
            f"sources: must be as many as the references; got {len(sources)} and {len(references)}; give all in full."
        )
    metric = metric_named("bleu")
    statistics_NK = statistics(metric, hypotheses, references)
    words_N = np.array([len(source.split()) for source in sources])
    # The upper bound belongs to its bucket: bucket i has LONGEST_OF_BUCKETS[i - 1] < words <= LONGEST_OF_BUCKETS[i].
    bucket_N = np.searchsorted(LONGEST_OF_BUCKETS, words_N, side="left")
    return tuple(
        LengthBucket(
            shortest=LONGEST_OF_BUCKETS[bucket - 1] + 1 if bucket else 1,
            longest=LONGEST_OF_BUCKETS[bucket] if bucket < len(LONGEST_OF_BUCKETS) else None,
            sentences=int(np.count_nonzero(bucket_N == bucket)),
            bleu=value_of(metric, statistics_NK[bucket_N == bucket].sum(axis=0)),
        )
        for bucket in range(len(LONGEST_OF_BUCKETS) + 1)
        if np.any(bucket_N == bucket)
    )
