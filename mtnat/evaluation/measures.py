"""What a corpus score does not show: repeated pieces, lengths, and where short and long sentences differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mtnat.errors import DataError
from mtnat.evaluation.scores import check_sentences, metric_named, statistics, value_of

# N sentences, K statistics of a sentence

NEAR_PIECES = 2
"""A length that differs by no more than this is near the reference's."""
LONGEST_OF_BUCKETS = (10, 20, 30, 50)
"""The last source length of each bucket, in words; one more bucket holds all that is longer."""


@dataclass(frozen=True)
class LengthAccuracy:
    """How the lengths of hypotheses meet those of their references, in pieces."""

    exact: float
    """Share of hypotheses with exactly as many pieces."""
    near: float
    """Share that is at most `NEAR_PIECES` longer or shorter."""
    ratio: float
    """All hypotheses' pieces for each piece of the references."""


@dataclass(frozen=True)
class LengthBucket:
    """The sentences whose sources have `shortest` to `longest` words."""

    shortest: int
    longest: int | None
    """None is without bound."""
    sentences: int
    bleu: float
    """Corpus BLEU of these sentences alone, with the signature of `bleu`."""


def repeated_share(rows: Sequence[Sequence[int]]) -> float:
    """Share of pieces that equal the piece just before them in the same sentence; 0 where there are no pieces.

    The NAT decoder's typical error (Ghazvininejad et al. 2019, section 5.1); real text has a few as well.
    """
    repeated = sum(piece == before for row in rows for before, piece in pairwise(row))
    return repeated / max(1, sum(len(row) for row in rows))


def length_accuracy(hypotheses: Sequence[Sequence[int]], references: Sequence[Sequence[int]]) -> LengthAccuracy:
    """How many hypotheses are as long as their references, both in pieces of one vocabulary.

    Raises:
        DataError: there are no sentences, not equally many on both sides, or no pieces in the references.
    """
    check_sentences(hypotheses, references)
    hypothesis_N, reference_N = (np.array([len(row) for row in rows], np.int64) for rows in (hypotheses, references))
    if not reference_N.sum():
        raise DataError("references: hold no text; give at least one sentence.")
    off_N = np.abs(hypothesis_N - reference_N)
    return LengthAccuracy(
        exact=float(np.mean(off_N == 0)),
        near=float(np.mean(off_N <= NEAR_PIECES)),
        ratio=float(hypothesis_N.sum() / reference_N.sum()),
    )


def bleu_by_length(sources: Sequence[str], hypotheses: Sequence[str], references: Sequence[str]) -> tuple[LengthBucket, ...]:
    """BLEU of the sentences of each source length, counted in words between spaces; buckets without sentences are left out.

    A source without a word is in the first bucket.

    Raises:
        DataError: there are no sentences, or not equally many on all sides.
    """
    if len(sources) != len(references):
        raise DataError(
            f"sources: must be as many as the references; got {len(sources)} and {len(references)}; give all in full."
        )
    metric = metric_named("bleu")
    statistics_NK = statistics(metric, hypotheses, references)
    words_N = np.array([len(source.split()) for source in sources])
    # A length that is the last of its bucket belongs to it: bucket i has LONGEST[i - 1] < words <= LONGEST[i].
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
