"""Levels of significance tests that are repeated while seeds are added."""

from statistics import NormalDist

import numpy as np
import pytest

from mtnat.evaluation import spending_levels


def test_the_bounds_are_those_of_lan_and_demets() -> None:
    """The published bounds for five equal steps and a two-sided level of 0.05."""
    levels = spending_levels([0.2, 0.4, 0.6, 0.8, 1.0])
    bounds = [NormalDist().inv_cdf(1 - level / 2) for level in levels]
    assert bounds == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=5e-4)


def test_one_look_has_the_whole_level() -> None:
    assert spending_levels([1.0], 0.01) == pytest.approx([0.01], rel=1e-5)


def test_repeated_looks_at_pure_chance_rarely_find_anything() -> None:
    """A million studies of eight seeds without a difference, tested after three, five and eight of them."""
    random = np.random.default_rng(1)
    sums = random.standard_normal((1_000_000, 8)).cumsum(axis=1)
    found = np.zeros(len(sums), dtype=bool)
    for seeds, level in zip((3, 5, 8), spending_levels([3 / 8, 5 / 8, 1.0]), strict=True):
        found |= np.abs(sums[:, seeds - 1]) / np.sqrt(seeds) > NormalDist().inv_cdf(1 - level / 2)
    assert found.mean() == pytest.approx(0.05, abs=0.001)
