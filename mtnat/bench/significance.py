"""`bench significance`: how often a study marks a difference that is none, and how often it finds one that there is.

The studies are simulated. Each has a baseline and several other systems. A sentence has a number of words and a difficulty, a
run translates a share of the words correctly, and the score is the percentage of correct words: like BLEU, a ratio of sums
over sentences, and cheap to draw.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mtnat.bench.report import Row
from mtnat.config import Record
from mtnat.evaluation import holm
from mtnat.evaluation.hierarchical import compare_statistics

# N sentences, S runs of a system (one for each seed), K statistics of a sentence

Statistics = npt.NDArray[np.int64]
_SHORTEST, _LONGEST = 5, 30
_EASE, _SPREAD = 0.5, 0.15
"""Mean and standard deviation over sentences of the share of correct words."""
_LEVEL = 0.05


class SignificanceOptions(Record):
    """Options of `bench significance`."""

    studies: int = Field(200, ge=10)
    """Number of simulated studies in each row. The share of a row has a standard error of √(p·(1 − p) / studies)."""
    systems: int = Field(5, ge=1)
    """Number of systems in a study that are compared with its baseline."""
    sentences: int = Field(500, ge=10)
    """Number of test sentences."""
    seeds: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2, 3, 5), min_length=1, strict=False)
    """Numbers of seeds, each with rows of its own."""
    deviations: tuple[Annotated[float, Field(ge=0)], ...] = Field((0.5, 1.0, 1.5, 2.0), min_length=1, strict=False)
    """Standard deviations of a run's score between seeds, in points, each with a row of its own."""
    difference: float = Field(2.0, gt=0)
    """True difference of the system that is better, in points, for the power."""
    resamples: int = Field(400, ge=100)
    """Resamples of each test."""


@dataclass
class _Counts:
    """Numbers of marks in the studies of one row."""

    models_only: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    leaderboards: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)


def bench_significance(options: SignificanceOptions, say: Callable[[str], None]) -> list[Row]:
    """Returns a row for each number of seeds and each deviation.

    Args:
        say: receives progress messages, a line at a time.
    """
    rows: list[Row] = []
    for seeds in options.seeds:
        for deviation in options.deviations:
            random = np.random.default_rng((seeds, round(1000 * deviation)))
            counts = _Counts()
            for _ in range(options.studies):
                _count(counts, seeds, deviation, options, random)
            row: Row = {
                "seeds": seeds,
                "deviation": deviation,
                "models_only_per_row": _share(counts.models_only),
                "false_marks_per_row": _share(counts.rows),
                "false_marks_per_leaderboard": _share(counts.leaderboards),
                "power": _share(counts.found),
                "systems": options.systems,
                "sentences": options.sentences,
                "difference": options.difference,
                "studies": options.studies,
            }
            rows.append(row)
            say(f"{seeds} {'seed' if seeds == 1 else 'seeds'}, deviation {deviation:g}: {options.studies} studies simulated")
    return rows


def _count(counts: _Counts, seeds: int, deviation: float, options: SignificanceOptions, random: np.random.Generator) -> None:
    """Simulates one study without a difference, and the same study with one better system."""
    words_N = random.integers(_SHORTEST, _LONGEST, size=options.sentences)
    ease_N = random.normal(_EASE, _SPREAD, size=options.sentences)

    def system(gain: float = 0.0) -> Statistics:
        return _drawn(words_N, ease_N + gain / 100, seeds, deviation, random)

    baseline = system()
    others = [system() for _ in range(options.systems)]
    counts.models_only.append(_models_only(others[0], baseline, options, random) < _LEVEL)
    if seeds == 1:  # a study with one seed has no marks
        return
    p_values = [_p_value(other, baseline, options, random) for other in others]
    adjusted = holm(p_values)
    counts.rows += [p_value < _LEVEL for p_value in adjusted]
    counts.leaderboards.append(min(adjusted) < _LEVEL)
    better = _p_value(system(options.difference), baseline, options, random)
    counts.found.append(holm([better, *p_values[1:]])[0] < _LEVEL)


def _drawn(
    words_N: npt.NDArray[np.int64],
    ease_N: npt.NDArray[np.float64],
    seeds: int,
    deviation: float,
    random: np.random.Generator,
) -> Statistics:
    """Draws the correct words and the words of every sentence, [S, N, K], for the runs of one system."""
    # The choice of correct words already makes the scores of runs deviate; other seeds add the rest.
    by_words = 100 * np.sqrt((words_N * np.clip(ease_N * (1 - ease_N), 0, None)).sum()) / words_N.sum()
    by_seed = np.sqrt(max(0.0, deviation**2 - by_words**2)) / 100
    ease_SN = np.clip(ease_N + by_seed * random.normal(size=(seeds, 1)), 0.01, 0.99)
    right_SN = random.binomial(words_N, ease_SN)
    return np.stack([right_SN, np.broadcast_to(words_N, right_SN.shape)], axis=-1)


def _p_value(system: Statistics, baseline: Statistics, options: SignificanceOptions, random: np.random.Generator) -> float:
    """Returns the p-value of a leaderboard before Holm's adjustment."""
    seed = int(random.integers(2**31))
    return compare_statistics(system, baseline, _accuracy, samples=options.resamples, seed=seed).p_value


def _models_only(system: Statistics, baseline: Statistics, options: SignificanceOptions, random: np.random.Generator) -> float:
    """Returns the p-value over sentences alone: twice the median over seeds."""
    by_seed = [_p_value(ours[None], theirs[None], options, random) for ours, theirs in zip(system, baseline, strict=True)]
    return by_seed[0] if len(by_seed) == 1 else min(1.0, 2 * float(np.median(by_seed)))


def _accuracy(sums: Statistics) -> npt.NDArray[np.float64]:
    return np.asarray(100 * sums[..., 0] / sums[..., 1])


def _share(found: Sequence[float]) -> float | None:
    return round(float(np.mean(found)), 4) if found else None
