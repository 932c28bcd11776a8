"""How many seeds it takes to tell two systems apart."""

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Literal

import numpy as np
from scipy import stats

MOST_SEEDS = 1000
SIGNIFICANCE, POWER = 0.05, 0.8
Seeds = int | Literal["more than 1,000"]


def seeds_needed(differences: Sequence[float]) -> Seeds:
    """Seeds with which a paired t-test finds a difference such as these at p < 0.05, two-sided, four times out of five.

    Their mean and standard deviation are taken for the true ones, so of few seeds it is a rough figure (Cohen 1988, chapter 2).

    Args:
        differences: in points, one for each seed that both systems were trained with, two at least.
    """
    mean, deviation = fmean(differences), stdev(differences)
    if deviation == 0:
        return 2 if mean else "more than 1,000"
    seeds_N = np.arange(2, MOST_SEEDS + 1)
    # The square of a noncentral t is a noncentral F, of which scipy knows the far tails too.
    critical_N = stats.t.ppf(1 - SIGNIFICANCE / 2, seeds_N - 1) ** 2
    power_N = stats.ncf.sf(critical_N, 1, seeds_N - 1, seeds_N * (mean / deviation) ** 2)
    enough = np.flatnonzero(power_N >= POWER)
    return int(seeds_N[enough[0]]) if len(enough) else "more than 1,000"
