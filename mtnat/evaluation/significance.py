"""Whether one system's score differs from another's by more than the choice of test sentences explains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtnat.evaluation.scores import MetricName, metric_named, statistics, value_of

# N sentences, R resamples, K statistics of a sentence

Mark = Literal["", "↑", "⇑", "↓", "⇓"]
"""Significantly better (up) or worse (down) than what it is compared with: single p < 0.05, double p < 0.01."""


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline, in points of the metric."""

    difference: float
    """System minus baseline: above 0 the system is better, but of TER it is worse."""
    p_value: float
    """How often resampling alone gives at least this difference, in the direction found."""
    low: float
    """Lower end of the difference's 95 % interval."""
    high: float
    baseline: float
    system: float
    metric: MetricName = "bleu"

    @property
    def mark(self) -> Mark:
        """↑ where the system is better at p < 0.05 and ⇑ at p < 0.01, ↓ and ⇓ where it is worse; of TER lower is better."""
        return mark_of(-self.difference if self.metric == "ter" else self.difference, self.p_value)


def paired_bootstrap(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    *,
    metric: MetricName = "bleu",
    samples: int = 1000,
    seed: int = 12345,
    tokenize: str = "13a",
) -> Comparison:
    """Paired bootstrap resampling (Koehn 2004), with the p-value that Moses and sacrebleu's `PairedTest` give.

    The test statistic is the absolute difference, centred by its mean over the resamples (Riezler and Maxwell 2005).
    Where systems differ clearly the p-value is one-sided, about half of what a two-sided test such as approximate
    randomisation says. Unlike sacrebleu, ties count as extreme: a system against itself has p = 1, there 1 / (samples + 1).
    Unlike `PairedTest`, the seed is an argument and not an environment variable. Every metric sees the same resamples.

    Args:
        metric: what is compared; a positive difference speaks for the system, but of TER for the baseline.
        tokenize: of BLEU, as in `bleu`.

    Raises:
        DataError: the texts are empty or not equally long.
    """
    scorer = metric_named(metric, tokenize)
    system_NK, baseline_NK = statistics(scorer, system, references), statistics(scorer, baseline, references)
    system_score, baseline_score = value_of(scorer, system_NK.sum(axis=0)), value_of(scorer, baseline_NK.sum(axis=0))
    random = np.random.default_rng(seed)
    differences_R = np.empty(samples)
    for number in range(samples):
        # Drawn one at a time these are the very resamples that sacrebleu draws all at once.
        chosen_N = random.integers(len(references), size=len(references))
        resampled_system = value_of(scorer, system_NK[chosen_N].sum(axis=0))
        differences_R[number] = resampled_system - value_of(scorer, baseline_NK[chosen_N].sum(axis=0))
    low, high = np.quantile(differences_R, [0.025, 0.975])
    return Comparison(
        difference=system_score - baseline_score,
        p_value=_p_value(differences_R, system_score - baseline_score),
        low=float(low),
        high=float(high),
        baseline=baseline_score,
        system=system_score,
        metric=metric,
    )


def mark_of(gain: float, p_value: float) -> Mark:
    """The arrows of Hao et al. 2021 for a system that is better, and their like for one that is worse.

    Args:
        gain: above 0 where the system is better.
    """
    if p_value >= 0.05:
        return ""
    if gain > 0:
        return "⇑" if p_value < 0.01 else "↑"
    return "⇓" if p_value < 0.01 else "↓"


def _p_value(differences_R: npt.NDArray[np.float64], difference: float) -> float:
    """Share of resamples whose centred absolute difference reaches the one found, counting that one as a resample too."""
    sizes_R = np.abs(differences_R)
    extreme = int(np.count_nonzero(sizes_R - sizes_R.mean() >= abs(difference)))
    return (extreme + 1) / (len(sizes_R) + 1)
