"""Paired bootstrap: a significance test of the difference between two systems on one sample of test sentences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from mtnat.evaluation.scores import MetricName, metric_named, statistics, value_of

# N sentences, R resamples, K statistics of a sentence

Mark = Literal["", "↑", "⇑", "↓", "⇓"]
"""Significantly better (up) or worse (down) than the baseline: single arrow for p < 0.05, double arrow for p < 0.01."""


LEVEL = 0.05
"""A p-value below it is significant."""


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline, in points of the metric."""

    difference: float
    """System minus baseline. Above 0, the system is better; with TER, it is worse."""
    p_value: float
    """Probability that resampling alone gives at least this difference, in the observed direction."""
    low: float
    """Lower end of the 95 % interval of the difference."""
    high: float
    """Upper end of this interval."""
    baseline: float
    system: float
    metric: MetricName = "bleu"

    @property
    def mark(self) -> Mark:
        """↑ if the system is better at p < 0.05, ⇑ at p < 0.01; ↓ and ⇓ if it is worse. For TER, lower is better."""
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
    """Tests the difference between two systems by paired bootstrap resampling (Koehn 2004).

    Each resample draws as many sentences as the test set has, with replacement and the same ones for both systems, and
    scores both. The p-value is that of Moses and of sacrebleu's `PairedTest`: the test statistic is the absolute difference,
    centred by its mean over the resamples (Riezler and Maxwell 2005). For clearly different systems, this p-value is
    one-sided, about half of that of a two-sided test such as approximate randomisation.

    Unlike sacrebleu, ties count as extreme: a system against itself has p = 1, in sacrebleu 1 / (samples + 1). Unlike
    `PairedTest`, the seed is an argument and not an environment variable. Every metric sees the same resamples.

    Args:
        metric: the metric to compare. A positive difference favours the system; with TER, it favours the baseline.
        samples: number of resamples, R.
        seed: seed of the resampling.
        tokenize: tokenizer of BLEU, as in `bleu`.

    Raises:
        DataError: if the texts are empty or of different lengths.
    """
    # A resample is scored from the summed statistics of its sentences, which is much faster than scoring their text again.
    scorer = metric_named(metric, tokenize)
    system_NK, baseline_NK = statistics(scorer, system, references), statistics(scorer, baseline, references)
    system_score, baseline_score = value_of(scorer, system_NK.sum(axis=0)), value_of(scorer, baseline_NK.sum(axis=0))
    random = np.random.default_rng(seed)
    differences_R = np.empty(samples)
    for number in range(samples):
        # One draw at a time gives the same resamples as sacrebleu, which draws all of them at once.
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
    """Returns the arrow for a difference: those of Hao et al. 2021 for a better system, and the reverse for a worse one.

    Args:
        gain: above 0 if the system is better.
    """
    if p_value >= LEVEL:
        return ""
    if gain > 0:
        return "⇑" if p_value < 0.01 else "↑"
    return "⇓" if p_value < 0.01 else "↓"


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values for their number (Holm 1979).

    If every adjusted value below α counts as significant, the probability of at least one false finding is at most α.
    """
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    raised = np.minimum(1.0, np.maximum.accumulate(np.asarray(p_values, dtype=float)[order] * factors))
    adjusted = np.empty(len(p_values))
    adjusted[order] = raised
    return [float(value) for value in adjusted]


def _p_value(differences_R: npt.NDArray[np.float64], difference: float) -> float:
    """Returns the share of resamples whose absolute difference, centred by its mean, reaches the observed one.

    The observed difference counts as one more resample, so the p-value is never 0.
    """
    sizes_R = np.abs(differences_R)
    extreme = int(np.count_nonzero(sizes_R - sizes_R.mean() >= abs(difference)))
    return (extreme + 1) / (len(sizes_R) + 1)
