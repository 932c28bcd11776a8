"""The mean of winners that are tested with seeds by which they were not chosen."""

import pytest

from mtnat.evaluation import cross_fitted


def test_each_seed_is_tested_on_the_winner_of_the_other_seeds() -> None:
    valid = [[30.0, 20.0, 20.0], [22.0, 22.0, 22.0]]
    test = [[31.0, 19.0, 19.0], [21.0, 22.0, 23.0]]
    # By seeds 2 and 3 the second wins (22 against 20); by seeds 1 and 3, and 1 and 2, the first (25 against 22).
    assert cross_fitted(valid, test) == pytest.approx((21.0 + 19.0 + 19.0) / 3)


def test_a_clear_winner_has_no_advantage() -> None:
    assert cross_fitted([[50.0, 51.0], [20.0, 21.0]], [[52.0, 53.0], [22.0, 23.0]]) == pytest.approx(52.5)


@pytest.mark.parametrize("valid", [[], [[1.0, 2.0]], [[1.0], [2.0]]])
def test_without_a_choice_or_with_one_seed_there_is_no_estimate(valid: list[list[float]]) -> None:
    assert cross_fitted(valid, valid) is None
