"""Power analysis: the number of seeds that it takes to distinguish two systems."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Literal

import numpy as np

MOST_SEEDS = 1000
FEWEST_SEEDS = 4
"""The fewest seeds from which the number is estimated. From two seeds the median estimate of a true 65 is 12."""
SIGNIFICANCE, POWER = 0.05, 0.8
Seeds = int | Literal["more than 1,000"]


def seeds_needed(differences: Sequence[float]) -> Seeds:
    """Returns the number of seeds with which a two-sided paired t-test finds the difference at p < 0.05 with a power of 0.8.

    The mean and standard deviation of the differences are taken as the true ones, so with few seeds the result is a rough
    estimate (Cohen 1988, chapter 2).

    Args:
        differences: in BLEU, one for each seed that both systems were trained with, at least two.
    """
    from scipy import stats  # its import takes two seconds, and few studies have enough seeds

    mean, deviation = fmean(differences), stdev(differences)
    if deviation == 0:
        return 2 if mean else "more than 1,000"
    seeds_N = np.arange(2, MOST_SEEDS + 1)
    # The square of a noncentral t is a noncentral F, whose far tails scipy computes accurately.
    critical_N = stats.t.ppf(1 - SIGNIFICANCE / 2, seeds_N - 1) ** 2
    power_N = stats.ncf.sf(critical_N, 1, seeds_N - 1, seeds_N * (mean / deviation) ** 2)
    enough = np.flatnonzero(power_N >= POWER)
    return int(seeds_N[enough[0]]) if len(enough) else "more than 1,000"
