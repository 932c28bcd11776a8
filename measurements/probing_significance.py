"""Simulates how often the test of `mtnat probe` over seeds and folds finds a difference between equal training methods.

    python measurements/probing_significance.py

The accuracy of a seed in a fold is the sum of an effect of the seed, an effect of the fold on the method, and noise. The
effects of the folds are correlated by 1 / folds, because their training sentences overlap (Nadeau and Bengio 2003). The methods
are equal, so at most a share of 0.05 of the p-values should be below 0.05. Welch's t-test on the means of the seeds is the
comparison.
"""

from itertools import product

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import ttest_ind

from mtnat.analysis.probing import FOLDS, seed_t_test

# S seeds, F folds

DRAWS, LEVEL = 1_000, 0.05
SEEDS = (2, 3, 5)
SEED_DEVIATIONS = (0.0, 0.5, 1.5)
FOLD_DEVIATIONS = (0.3, 1.0)
"""Standard deviations in points of accuracy."""
NOISE = 0.5


def main() -> None:
    """Prints the share of false findings for each setting."""
    table = Table("seeds", "deviation of seeds", "of folds", "seeds and folds", "Welch alone")
    generator = np.random.default_rng(1)
    for seeds, of_seeds, of_folds in track(list(product(SEEDS, SEED_DEVIATIONS, FOLD_DEVIATIONS)), "simulating"):
        found = np.zeros(2)
        for _ in range(DRAWS):
            one, two = (accuracies(generator, seeds, of_seeds, of_folds) for _ in range(2))
            welch = ttest_ind(one.mean(axis=1), two.mean(axis=1), equal_var=False).pvalue
            found += np.array([seed_t_test(one, two), welch]) < LEVEL
        table.add_row(f"{seeds} + {seeds}", f"{of_seeds:g}", f"{of_folds:g}", *(f"{share:.3f}" for share in found / DRAWS))
    Console().print(table)


def accuracies(generator: np.random.Generator, seeds: int, of_seeds: float, of_folds: float) -> np.typing.NDArray[np.float64]:
    """Draws the accuracies of a method, [S, F]."""
    shared = 1 / FOLDS
    fold_F = np.sqrt(shared) * generator.standard_normal(1) + np.sqrt(1 - shared) * generator.standard_normal(FOLDS)
    seed_S1 = generator.standard_normal((seeds, 1))
    return of_seeds * seed_S1 + of_folds * fold_F + NOISE * generator.standard_normal((seeds, FOLDS))


if __name__ == "__main__":
    main()
