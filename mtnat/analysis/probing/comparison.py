"""Whether the encoders of two training methods differ on a task."""

# S training seeds of a method, F folds

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtnat.evaluation import Mark, mark_of

FEWEST_SEEDS = 2
"""Number of seeds of each side from which a difference can have a mark."""


@dataclass(frozen=True)
class ProbeComparison:
    """The models of one group against those of the first group, on a task."""

    difference: float
    """Mean accuracy of the group minus that of the first group."""
    p_value: float
    """Of `seed_t_test`, two-sided. If a side has a single seed, of `corrected_t_test`, which speaks of these models only."""
    adjusted: float
    """The p-value, adjusted for the number of comparisons (Holm 1979)."""
    seeds: tuple[int, int]
    """Number of training seeds of the group and of the first group."""

    @property
    def speaks_of_seeds(self) -> bool:
        """Whether both sides have several seeds, so that the p-value speaks of the training methods."""
        return min(self.seeds) >= FEWEST_SEEDS

    @property
    def mark(self) -> Mark:
        """↑ if the group is better than the first one at an adjusted p < 0.05, ⇑ at p < 0.01; ↓ and ⇓ if it is worse.

        A comparison of single models has no mark, because it knows nothing of other seeds.
        """
        return mark_of(self.difference, self.adjusted) if self.speaks_of_seeds else ""


def corrected_t_test(system_F: Sequence[float], baseline_F: Sequence[float]) -> float:
    """Returns the two-sided p-value of the corrected resampled t-test (Nadeau and Bengio 2003) over the folds of a task.

    The training sets of F folds share most of their sentences, so that the differences of the folds are not independent, and
    a plain paired t-test finds too many differences. The correction raises the variance of the mean difference from s²/F to
    (1/F + n_test/n_train) s², which is (1/F + 1/(F − 1)) s² in cross-validation. Degrees of freedom are F − 1.
    """
    differences_F = np.asarray(system_F) - np.asarray(baseline_F)
    return _p_value(float(differences_F.mean()), [(_variance_of_folds(differences_F), len(differences_F) - 1)])


def seed_t_test(system_SF: Sequence[Sequence[float]], baseline_SF: Sequence[Sequence[float]]) -> float:
    """Returns the two-sided p-value of the difference of two means over seeds, with other seeds and other sentences in mind.

    It is Welch's t-test (1947) on the accuracies of the seeds, each a mean over the folds, with one more component of
    variance, for the sentences: that of `corrected_t_test`, for the differences of the means over seeds. All models have the
    same folds, so that what is common to them cancels. The degrees of freedom of the sum are those of Satterthwaite (1946).

    - If the seeds hardly vary, it is the corrected t-test over folds; if the folds hardly vary, it is Welch's t-test.
    - The interaction of seed and fold is in both components, which makes the test conservative.
    - Seeds are not paired: equal seeds of two training methods share nothing.

    Args:
        system_SF: accuracies of each fold, a row for each seed, two or more; the baseline may have another number of seeds.
    """
    systems, baselines = np.asarray(system_SF), np.asarray(baseline_SF)
    differences_F = systems.mean(axis=0) - baselines.mean(axis=0)
    components = [(float(side.mean(axis=1).var(ddof=1)) / len(side), len(side) - 1) for side in (systems, baselines)]
    components.append((_variance_of_folds(differences_F), len(differences_F) - 1))
    return _p_value(float(differences_F.mean()), components)


def _variance_of_folds(differences_F: npt.NDArray[np.float64]) -> float:
    """Returns the variance of the mean of the differences (Nadeau and Bengio 2003)."""
    folds = len(differences_F)
    return (1 / folds + 1 / (folds - 1)) * float(differences_F.var(ddof=1))


def _p_value(difference: float, components: Sequence[tuple[float, int]]) -> float:
    """Returns the two-sided p-value of a t-test.

    Args:
        components: the independent components of the difference's variance, each with its degrees of freedom.
    """
    from scipy.special import stdtr

    if difference == 0:
        return 1.0
    variance = sum(each for each, _ in components)
    if variance == 0:
        return 0.0
    freedom = variance**2 / sum(each**2 / degrees for each, degrees in components)
    return float(2 * stdtr(freedom, -abs(difference) / np.sqrt(variance)))
