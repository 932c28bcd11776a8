"""Significance tests that are repeated while seeds are added."""

from collections.abc import Sequence
from math import e, log, sqrt
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from mtnat.evaluation.significance import LEVEL

_NORMAL = NormalDist()
_POINTS, _HALVINGS = 801, 50
"""Points of the numerical integration, and steps of the search for a bound."""

Floats = npt.NDArray[np.float64]


def spending_levels(shares: Sequence[float], level: float = LEVEL) -> list[float]:
    """Returns the two-sided level of each look at growing data, so that a false finding in any look has probability ``level``.

    Each test that is repeated with more seeds is another chance for a false finding. The levels spend the permitted probability
    over the looks by the function of Lan and DeMets (1983) that resembles Pocock's boundary: up to a share t of the data, it is
    level · ln(1 + (e − 1)·t). The computation treats the difference as a sum of independent parts, one for each seed. The
    sentences are the same in all looks, which makes the looks more alike, so that the levels are on the safe side.

    Args:
        shares: shares of the data at the looks, ascending; the last one is 1.
    """
    levels: list[float] = []
    spent = last = 0.0
    # Distribution of the sum in studies that have not ended at an earlier look: values with their probabilities.
    values, weights = np.zeros(1), np.ones(1)
    for share in shares:
        target = level * log(1 + (e - 1) * share) - spent
        deviation = sqrt(share - last)
        bound = _bound(values, weights, deviation, target)
        levels.append(2 * _NORMAL.cdf(-bound / sqrt(share)))
        inside = np.linspace(-bound, bound, _POINTS)
        parts = np.exp(-(((inside[:, None] - values) / deviation) ** 2) / 2) / (deviation * sqrt(2 * np.pi))
        values, weights = inside, (parts @ weights) * _trapezoids(inside)
        spent, last = spent + target, share
    return levels


def look_factors(looks: Sequence[int]) -> list[float]:
    """Returns what the p-value at each look is multiplied with, so that it can be compared with the level of a single test.

    Args:
        looks: numbers of seeds at the looks, ascending.
    """
    if len(looks) == 1:
        return [1.0]
    return [LEVEL / level for level in spending_levels([look / looks[-1] for look in looks])]


def _bound(values: Floats, weights: Floats, deviation: float, target: float) -> float:
    """Returns the bound that the sum, after the next part, exceeds in absolute value with the target probability."""
    low, high = 0.0, 12.0
    for _ in range(_HALVINGS):
        bound = (low + high) / 2
        outside = _below((values - bound) / deviation) + _below((-values - bound) / deviation)
        low, high = (bound, high) if float(outside @ weights) > target else (low, bound)
    return low


def _below(values: Floats) -> Floats:
    """Returns the probability of a standard normal variate below each value."""
    return np.array([_NORMAL.cdf(value) for value in values])


def _trapezoids(points: Floats) -> Floats:
    """Returns the weights of the trapezoidal rule for equally spaced points."""
    weights = np.full(len(points), points[1] - points[0])
    weights[[0, -1]] /= 2
    return weights
