"""The number of seeds needed, compared with statsmodels."""

from math import sqrt

import pytest

from mtnat.lab.results.seeds_needed import seeds_needed


def differences(effect: float) -> list[float]:
    """Two differences whose mean is so many of their standard deviations."""
    return [effect - 1 / sqrt(2), effect + 1 / sqrt(2)]


# statsmodels 0.15: TTestPower().solve_power(effect, alpha=0.05, power=0.8), rounded up.
@pytest.mark.parametrize(("effect", "seeds"), [(0.1, 787), (0.2, 199), (0.3, 90), (0.5, 34), (0.8, 15), (1.0, 10), (1.5, 6)])
def test_the_number_of_seeds_equals_that_of_statsmodels(effect: float, seeds: int) -> None:
    assert seeds_needed(differences(effect)) == seeds
    assert seeds_needed(differences(-effect)) == seeds
    assert seeds_needed([10 * each for each in differences(effect)]) == seeds


def test_a_difference_that_hardly_varies_needs_two_seeds() -> None:
    assert seeds_needed(differences(50.0)) == 2
    assert seeds_needed([1.5, 1.5, 1.5]) == 2


def test_a_difference_near_zero_needs_more_than_1000_seeds() -> None:
    assert seeds_needed(differences(0.05)) == "more than 1,000"
    assert seeds_needed([1.0, -1.0]) == "more than 1,000"
    assert seeds_needed([0.0, 0.0]) == "more than 1,000"
