"""Whether one way to train beats another by more than the choice of test sentences and of seeds explains, both together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtnat.errors import DataError
from mtnat.evaluation.scores import MetricName, metric_named, statistics, value_of
from mtnat.evaluation.significance import Comparison

# N sentences, R resamples, K statistics of a sentence, S seeds of one side

Floats = npt.NDArray[np.float64]
Scorer = Callable[[npt.NDArray[np.int64]], Floats]
"""From statistics summed over sentences, [..., K], to scores, [...]."""


@dataclass(frozen=True, kw_only=True)
class SeedComparison(Comparison):
    """A system against a baseline, each trained with several seeds: scores are means over them, the p-value is two-sided."""

    system_seeds: int
    baseline_seeds: int
    deviation: float | None
    """Standard deviation of one run's score between seeds, in points, pooled over both sides; None with one seed on each."""


def hierarchical_bootstrap(
    systems: Sequence[Sequence[str]],
    baselines: Sequence[Sequence[str]],
    references: Sequence[str],
    *,
    metric: MetricName = "bleu",
    samples: int = 1000,
    seed: int = 12345,
    tokenize: str = "13a",
) -> SeedComparison:
    """A test of the mean over seeds, in which both the sentences and the seeds might have been others.

    In each resample the test sentences are drawn with replacement, the same for all runs of both sides (Koehn 2004), and each
    side's mean over seeds moves as it would with other seeds. A seed's number is nothing that the two sides share, so they move
    independently; were something shared, such as the order of batches, the test would only be the more cautious.

    Unlike in the Multi-Bootstrap (Sellam et al. 2022) seeds themselves are not drawn with replacement, because of two flaws:

    - n seeds drawn from n show (n − 1)/n of their variance. Drawing n − 1 mends that (Rao and Wu 1988), not the tails: where
      seeds matter more than sentences, a normal distribution stands where Student's belongs, whose t is beyond ±1.96 for 12 %
      of equal systems with three seeds on each side, for 19 % with two. So here the difference moves as in the t-test of two
      samples: by a normal number whose variance is the sum of squares between seeds, pooled over both sides, over a χ² drawn
      anew in each resample (Weerahandi 1993). The price is to take both sides' seeds to differ equally much, which matters
      little where both have as many.
    - What is particular to a run and a sentence is counted up to three times (Owen 2007), as it makes scores differ between
      samples of sentences and between seeds. Here it counts once, in the sentences: its variance, which the resamples show, is
      taken off the one between seeds, as far as that stays above 0.

    With one seed on each side this is the paired bootstrap, on the very resamples of `paired_bootstrap`; with endless
    sentences it is the t-test. One seed on one side alone borrows the variance of the other side's.

    The p-value is the share of resamples in which the difference, less the mean of what sentences alone make of it, is as large
    as the one found or larger, in either direction. Ties count, and the one found counts as a resample, as in
    `paired_bootstrap`; unlike there the p-value is two-sided also where systems differ clearly, so about twice as large.

    Args:
        systems: hypotheses of each run of the system, one list for each seed.
        baselines: those of the baseline; their number may differ.
        metric: what is compared; a positive difference speaks for the systems, but of TER for the baselines.
        tokenize: of BLEU, as in `bleu`.

    Raises:
        DataError: a side has no runs, or texts are empty or not equally long.
    """
    for name, runs in (("systems", systems), ("baselines", baselines)):
        if not runs:
            raise DataError(f"{name}: there are no runs; give the hypotheses of at least one seed.")
    scorer = metric_named(metric, tokenize)

    def score(sums: npt.NDArray[np.int64]) -> Floats:
        return np.apply_along_axis(lambda sums_K: value_of(scorer, sums_K), -1, sums)

    system_SNK, baseline_SNK = (
        np.stack([statistics(scorer, hypotheses, references) for hypotheses in runs]) for runs in (systems, baselines)
    )
    return compare_statistics(system_SNK, baseline_SNK, score, metric=metric, samples=samples, seed=seed)


def compare_statistics(
    system_SNK: npt.NDArray[np.int64],
    baseline_SNK: npt.NDArray[np.int64],
    score: Scorer,
    *,
    metric: MetricName = "bleu",
    samples: int = 1000,
    seed: int = 12345,
) -> SeedComparison:
    """`hierarchical_bootstrap` of the sentences' statistics; the first axis is the seeds, whose number may differ."""
    random = np.random.default_rng(seed)
    systems = len(system_SNK)
    runs_SNK = np.concatenate([system_SNK, baseline_SNK])  # S of both sides
    score_S = score(runs_SNK.sum(axis=1))
    score_RS = score(_resampled(runs_SNK, samples, random))
    sides = (slice(systems), slice(systems, None))
    sizes = [len(score_S[side]) for side in sides]
    difference, difference_R = (
        scores[..., sides[0]].mean(-1) - scores[..., sides[1]].mean(-1) for scores in (score_S, score_RS)
    )
    freedom = sum(sizes) - 2
    deviation = None
    shift_R = np.zeros(samples)
    if freedom:
        squares = sum(float(_centred(score_S[side]) @ _centred(score_S[side])) for side in sides)
        by_sentence = sum(float(_centred(score_RS[:, side]).var(axis=0).sum()) for side in sides) / freedom
        variance_R = np.maximum(0, squares / random.chisquare(freedom, samples) - by_sentence)
        shift_R = random.standard_normal(samples) * np.sqrt(variance_R * sum(1 / size for size in sizes))
        deviation = float(np.sqrt(squares / freedom))
    centred_R = difference_R - difference_R.mean() + shift_R
    extreme = int(np.count_nonzero(np.abs(centred_R) >= abs(difference)))
    low, high = np.quantile(difference_R + shift_R, [0.025, 0.975])
    return SeedComparison(
        difference=float(difference),
        p_value=(extreme + 1) / (samples + 1),
        low=float(low),
        high=float(high),
        baseline=float(score_S[sides[1]].mean()),
        system=float(score_S[sides[0]].mean()),
        metric=metric,
        system_seeds=sizes[0],
        baseline_seeds=sizes[1],
        deviation=deviation,
    )


def _resampled(runs_SNK: npt.NDArray[np.int64], samples: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Each run's statistics summed over as many sentences as there are, drawn with replacement, [R, S, K]."""
    seeds, sentences, kinds = runs_SNK.shape
    flat = runs_SNK.transpose(1, 0, 2).reshape(sentences, seeds * kinds).astype(np.float64)  # products of integers have no BLAS
    sums = np.empty((samples, seeds * kinds))
    for number in range(samples):
        # Drawn one at a time, like those of `paired_bootstrap`.
        counts_N = np.bincount(random.integers(sentences, size=sentences), minlength=sentences)
        sums[number] = counts_N.astype(np.float64) @ flat
    return np.rint(sums).astype(np.int64).reshape(samples, seeds, kinds)


def _centred(scores_S: Floats) -> Floats:
    """What each seed has more or less than the mean over seeds; the last axis is the seeds."""
    return np.asarray(scores_S - scores_S.mean(axis=-1, keepdims=True))
