"""Whether two encoders differ on the same folds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mtnat.evaluation import Mark, mark_of


@dataclass(frozen=True)
class FoldComparison:
    """A model against the first one, on the folds of a task."""

    difference: float
    """Mean over the folds of the accuracy minus that of the first model."""
    p_value: float
    """Of `corrected_t_test`, two-sided."""
    adjusted: float
    """The p-value, adjusted for the number of comparisons (Holm 1979)."""

    @property
    def mark(self) -> Mark:
        """↑ if the model is better than the first one at an adjusted p < 0.05, ⇑ at p < 0.01; ↓ and ⇓ if it is worse."""
        return mark_of(self.difference, self.adjusted)


def corrected_t_test(system_F: Sequence[float], baseline_F: Sequence[float]) -> float:
    """Returns the two-sided p-value of the corrected resampled t-test (Nadeau and Bengio 2003) over the folds of a task.

    The training sets of F folds share most of their sentences, so that the differences of the folds are not independent, and
    a plain paired t-test finds too many differences. The correction raises the variance of the mean difference from s²/F to
    (1/F + n_test/n_train) s², which is (1/F + 1/(F − 1)) s² in cross-validation. Degrees of freedom are F − 1.
    """
    from scipy.special import stdtr

    differences_F = np.asarray(system_F) - np.asarray(baseline_F)
    folds = len(differences_F)
    mean, variance = float(differences_F.mean()), float(differences_F.var(ddof=1))
    if mean == 0:
        return 1.0
    if variance == 0:
        return 0.0
    statistic = abs(mean) / np.sqrt((1 / folds + 1 / (folds - 1)) * variance)
    return float(2 * stdtr(folds - 1, -statistic))
