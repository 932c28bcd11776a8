"""The advantage of a winner that was chosen for its scores."""

from collections.abc import Sequence
from statistics import fmean


def cross_fitted(valid: Sequence[Sequence[float]], test: Sequence[Sequence[float]]) -> float | None:
    """Returns the mean test score of winners that are tested with seeds by which they were not chosen.

    The winner of a study is the system with the best mean on the validation set. A system whose seeds happened to train well
    wins more often, and its test scores profit from the same seeds. Here, the winner for each seed is chosen by the validation
    scores of all other seeds, and only its test score with this seed counts. A choice by one seed less is a little worse, so
    the difference between the winner's own mean and this one is an upper estimate of the winner's advantage.

    Args:
        valid: scores on the validation set by system and seed. All systems have the same seeds.
        test: scores on the test set, likewise.

    Returns:
        None for fewer than two systems, or fewer than two seeds.
    """
    seeds = range(len(valid[0])) if valid else range(0)
    if len(valid) < 2 or len(seeds) < 2:
        return None
    return fmean(test[_winner(valid, [seed for seed in seeds if seed != tested])][tested] for tested in seeds)


def _winner(valid: Sequence[Sequence[float]], seeds: Sequence[int]) -> int:
    """Returns the number of the best system by these seeds, the first one among equals."""
    return max(range(len(valid)), key=lambda system: fmean(valid[system][seed] for seed in seeds))
