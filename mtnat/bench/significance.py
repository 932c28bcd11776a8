"""`bench significance`: how often a study marks a difference that is none, how often it finds one that there is, and by how
much the choice of a winner favours the winner's score.

The studies are simulated. Each has a baseline and several other systems. A sentence has a number of words and a difficulty, a
run translates a share of the words correctly, and the score is the percentage of correct words: like BLEU, a ratio of sums
over sentences, and cheap to draw.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mtnat.bench.report import Row
from mtnat.config import Record
from mtnat.evaluation import LEVEL, cross_fitted, holm, look_factors
from mtnat.evaluation.hierarchical import compare_statistics

# N sentences, S runs of a system (one for each seed), K statistics of a sentence

Statistics = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
_SHORTEST, _LONGEST = 5, 30
_EASE, _SPREAD = 0.5, 0.15
"""Mean and standard deviation over sentences of the share of correct words."""


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
    looks: tuple[Annotated[int, Field(ge=2)], ...] = Field((), strict=False)
    """Looks of a study that adds seeds until its answer is settled (`confirm.looks`), with rows of its own."""
    deviations: tuple[Annotated[float, Field(ge=0)], ...] = Field((0.5, 1.0, 1.5, 2.0), min_length=1, strict=False)
    """Standard deviations of a run's score between seeds, in points, each with a row of its own."""
    difference: float = Field(2.0, gt=0)
    """True difference of the system that is better, in points, for the power."""
    resamples: int = Field(400, ge=100)
    """Resamples of each test."""

    @model_validator(mode="after")
    def _looks_ascend(self) -> Self:
        if list(self.looks) != sorted(set(self.looks)):
            raise ValueError(f"looks must ascend; got {list(self.looks)}")
        return self


@dataclass
class _Counts:
    """Numbers of marks in the studies of one row."""

    models_only: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    leaderboards: list[float] = field(default_factory=list)
    found: list[float] = field(default_factory=list)
    seeds: list[float] = field(default_factory=list)
    """Numbers of seeds of the studies with a better system."""
    advantages: list[float] = field(default_factory=list)
    """The winner's score on the test set, minus that of a system whose seeds are not drawn, in points."""
    estimates: list[float] = field(default_factory=list)
    """The winner's score minus `cross_fitted`."""


def bench_significance(options: SignificanceOptions, say: Callable[[str], None]) -> Iterator[Row]:
    """Yields a row for each number of seeds and each deviation.

    Args:
        say: receives progress messages, a line at a time.
    """
    for looks in [*((seeds,) for seeds in options.seeds), *([options.looks] if options.looks else [])]:
        factors = dict(zip(looks, look_factors(looks), strict=True))
        shown = ", ".join(map(str, looks))
        for deviation in options.deviations:
            random = np.random.default_rng((*looks, round(1000 * deviation)))
            counts = _Counts()
            for _ in range(options.studies):
                _count(counts, factors, deviation, options, random)
            row: Row = {
                "seeds": looks[0] if len(looks) == 1 else shown,
                "deviation": deviation,
                "models_only_per_row": _mean(counts.models_only),
                "false_marks_per_row": _mean(counts.rows),
                "false_marks_per_leaderboard": _mean(counts.leaderboards),
                "power": _mean(counts.found),
                "seeds_used": _mean(counts.seeds),
                "winners_advantage": _mean(counts.advantages),
                "winners_advantage_estimated": _mean(counts.estimates),
                "systems": options.systems,
                "sentences": options.sentences,
                "difference": options.difference,
                "studies": options.studies,
            }
            yield row
            say(f"{shown} {'seed' if looks == (1,) else 'seeds'}, deviation {deviation:g}: {options.studies} studies simulated")


def _count(
    counts: _Counts,
    factors: Mapping[int, float],
    deviation: float,
    options: SignificanceOptions,
    random: np.random.Generator,
) -> None:
    """Simulates one study without a difference, and the same study with one better system.

    Args:
        factors: factors of the p-values by the number of seeds at each look.
    """
    words_N = random.integers(_SHORTEST, _LONGEST, size=options.sentences)
    ease_N = random.normal(_EASE, _SPREAD, size=options.sentences)
    shift = _shift(words_N, ease_N, deviation)
    seeds = max(factors)

    def system(gain: float = 0.0) -> _System:
        luck_S = shift * random.normal(size=seeds)  # a run's luck is the same on both sets
        valid, test = (_drawn(words_N, ease_N + gain / 100, luck_S, random) for _ in range(2))
        return _System(_accuracy(valid.sum(axis=1)), test)

    baseline, *others = equal = [system() for _ in range(1 + options.systems)]
    true_score = 100 * float(words_N @ np.clip(ease_N, 0.01, 0.99)) / int(words_N.sum())
    _count_advantage(counts, [each.valid_S for each in equal], [each.test_scores for each in equal], true_score)
    counts.models_only.append(_models_only(others[0].test_SNK, baseline.test_SNK, options, random) < LEVEL)
    if seeds == 1:  # a study with one seed has no marks
        return
    marks, _ = _concluded(baseline, others, factors, options, random)
    counts.rows += marks
    counts.leaderboards.append(any(marks))
    marks, used = _concluded(baseline, [system(options.difference), *others[1:]], factors, options, random)
    counts.found.append(marks[0])
    counts.seeds.append(used)


@dataclass
class _System:
    """The runs of a system."""

    valid_S: Scores
    test_SNK: Statistics

    @property
    def test_scores(self) -> Scores:
        return _accuracy(self.test_SNK.sum(axis=1))


def _concluded(
    baseline: _System,
    others: Sequence[_System],
    factors: Mapping[int, float],
    options: SignificanceOptions,
    random: np.random.Generator,
) -> tuple[list[bool], int]:
    """Returns which of the others a study marks, and its number of seeds: it ends at the first look that settles its answer."""
    marks: list[bool] = []
    for seeds, factor in factors.items():
        p_values = [_p_value(other.test_SNK[:seeds], baseline.test_SNK[:seeds], options, random) for other in others]
        marks = [factor * p_value < LEVEL for p_value in holm(p_values)]
        valid = [each.valid_S[:seeds].mean() for each in (baseline, *others)]
        winner = int(np.argmax(valid))
        if winner and marks[winner - 1]:
            return marks, seeds
    return marks, max(factors)


def _count_advantage(counts: _Counts, valid: Sequence[Scores], test: Sequence[Scores], true_score: float) -> None:
    """Chooses the winner of equal systems, and counts by how much the choice favours it."""
    winner = max(range(len(valid)), key=lambda number: valid[number].mean())
    score = float(test[winner].mean())
    counts.advantages.append(score - true_score)
    without_choice = cross_fitted([list(each) for each in valid], [list(each) for each in test])
    if without_choice is not None:
        counts.estimates.append(score - without_choice)


def _shift(words_N: npt.NDArray[np.int64], ease_N: npt.NDArray[np.float64], deviation: float) -> float:
    """Returns the standard deviation over seeds of a run's share of correct words, with which scores deviate as wanted."""
    # The choice of correct words already makes the scores of runs deviate; other seeds add the rest.
    by_words = 100 * np.sqrt((words_N * np.clip(ease_N * (1 - ease_N), 0, None)).sum()) / words_N.sum()
    return float(np.sqrt(max(0.0, deviation**2 - by_words**2)) / 100)


def _drawn(
    words_N: npt.NDArray[np.int64], ease_N: npt.NDArray[np.float64], luck_S: Scores, random: np.random.Generator
) -> Statistics:
    """Draws the correct words and the words of every sentence, [S, N, K], for the runs of one system."""
    ease_SN = np.clip(ease_N + luck_S[:, None], 0.01, 0.99)
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


def _accuracy(sums: Statistics) -> Scores:
    return np.asarray(100 * sums[..., 0] / sums[..., 1])


def _mean(found: Sequence[float]) -> float | None:
    return round(float(np.mean(found)), 4) if found else None
