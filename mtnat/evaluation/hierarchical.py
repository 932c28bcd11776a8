"""Hierarchical bootstrap: a significance test of the difference between two training methods.

The score of a run varies with the random seed of the training and with the sample of test sentences. The test accounts for
both sources of variance at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mtnat.errors import DataError
from mtnat.evaluation.scores import MetricName, metric_named, statistics, value_of
from mtnat.evaluation.significance import Comparison

# N sentences, R resamples, K statistics of a sentence, S runs (one for each seed) of one side or of both

Floats = npt.NDArray[np.float64]
Scorer = Callable[[npt.NDArray[np.int64]], Floats]
"""Maps statistics summed over sentences, [..., K], to scores, [...]."""


_COUNTS_AT_ONCE = 1 << 20
"""Number of counts, resamples times sentences, that are held in memory."""


@dataclass(frozen=True, kw_only=True)
class SeedComparison(Comparison):
    """A system against a baseline, each trained with several seeds. Scores are means over seeds; the p-value is two-sided."""

    system_seeds: int
    baseline_seeds: int
    deviation: float | None
    """Standard deviation of a run's score between seeds, in points, pooled over both sides. None with one seed on each side."""


def hierarchical_bootstrap(
    systems: Sequence[Sequence[str]],
    baselines: Sequence[Sequence[str]],
    references: Sequence[str],
    *,
    metric: MetricName = "bleu",
    samples: int = 1000,
    seed: int = 12345,
    tokenize: str = "13a",
) -> SeedComparison:
    """Tests the difference between two means over seeds, with both the sentences and the seeds regarded as random samples.

    Each resample simulates one repetition of the whole experiment:

    - Sentences: the test sentences are drawn with replacement, the same ones for all runs of both sides (Koehn 2004).
    - Seeds: a random shift is added to the difference, with the variance that other seeds would cause. The two sides shift
      independently, because equal seed numbers on both sides share nothing. If they did share something, such as the order
      of batches, the test would be conservative.

    Unlike the Multi-Bootstrap (Sellam et al. 2022), the test does not draw the seeds themselves with replacement, for two
    reasons:

    - Drawing n of n seeds reproduces only (n − 1)/n of their variance. Drawing n − 1 corrects the variance (Rao and Wu 1988)
      but not the tails: the resamples follow a normal distribution where Student's t is right. If the variance is mainly
      between seeds, such a test at p < 0.05 rejects 12 % of equal systems with three seeds on each side and 19 % with two.
      Here, the shift is normal with a variance drawn for each resample: the sum of squares between seeds, pooled over both
      sides, divided by a χ² variate (Weerahandi 1993). The shift then has the tails of the two-sample t-test. This assumes
      equal variance between seeds on both sides, which matters little if both sides have equally many seeds.
    - The interaction of run and sentence would be counted up to three times (Owen 2007), because it contributes to the
      variance between samples of sentences and to the variance between seeds. Here it is counted once, with the sentences:
      its variance, estimated from the resamples, is subtracted from the variance between seeds, down to 0 at most.

    With one seed on each side, the test is the paired bootstrap, on the same resamples as `paired_bootstrap`. As the number
    of sentences grows, it approaches the t-test. A side with a single seed gets the variance of the other side.

    The p-value is the share of resamples in which the absolute difference, centred by the mean over resamples of sentences,
    reaches the observed one. Ties count, and the observed difference counts as a resample, as in `paired_bootstrap`. Unlike
    there, the p-value is always two-sided, so for clearly different systems it is about twice as large.

    Args:
        systems: hypotheses of each run of the system, one list for each seed.
        baselines: hypotheses of each run of the baseline. The number of runs may differ.
        metric: the metric to compare. A positive difference favours the system; with TER, it favours the baseline.
        samples: number of resamples, R.
        seed: seed of the resampling.
        tokenize: tokenizer of BLEU, as in `bleu`.

    Raises:
        DataError: if a side has no runs, or if texts are empty or of different lengths.
    """
    for name, runs in (("systems", systems), ("baselines", baselines)):
        if not runs:
            raise DataError(f"{name}: have no runs; give the hypotheses of at least one seed.")
    scorer = metric_named(metric, tokenize)

    def score(sums: npt.NDArray[np.int64]) -> Floats:
        return np.apply_along_axis(lambda sums_K: value_of(scorer, sums_K), -1, sums)

    system_SNK, baseline_SNK = (
        np.stack([statistics(scorer, hypotheses, references) for hypotheses in runs]) for runs in (systems, baselines)
    )
    return compare_statistics(system_SNK, baseline_SNK, score, metric=metric, samples=samples, seed=seed)


def compare_statistics(
    system_SNK: npt.NDArray[np.int64],
    baseline_SNK: npt.NDArray[np.int64],
    score: Scorer,
    *,
    metric: MetricName = "bleu",
    samples: int = 1000,
    seed: int = 12345,
) -> SeedComparison:
    """Computes `hierarchical_bootstrap` from the statistics of the sentences, [S, N, K]; S may differ between the sides."""
    random = np.random.default_rng(seed)
    systems = len(system_SNK)
    runs_SNK = np.concatenate([system_SNK, baseline_SNK])  # from here on, S counts the runs of both sides
    score_S = score(runs_SNK.sum(axis=1))  # on the full test set
    score_RS = score(_resampled(runs_SNK, samples, random))  # on each resample of sentences
    sides = (slice(systems), slice(systems, None))
    sizes = [len(score_S[side]) for side in sides]
    difference, difference_R = (
        scores[..., sides[0]].mean(-1) - scores[..., sides[1]].mean(-1) for scores in (score_S, score_RS)
    )
    freedom = sum(sizes) - 2  # degrees of freedom: each side loses one to its mean
    deviation = None
    shift_R = np.zeros(samples)
    if freedom:
        # squares / freedom is the pooled variance between seeds; squares / χ² is a draw of the true variance, given the data.
        squares = sum(float(_centred(score_S[side]) @ _centred(score_S[side])) for side in sides)
        # Part of that variance is the interaction of run and sentence: how much the deviations of the runs from their side's
        # mean vary between resamples. The resampled sentences already contain it, so it is subtracted here.
        interaction = sum(float(_centred(score_RS[:, side]).var(axis=0).sum()) for side in sides) / freedom
        variance_R = np.maximum(0, squares / random.chisquare(freedom, samples) - interaction)
        # The variance of a difference of two means is the variance of one run times (1/n + 1/m).
        shift_R = random.standard_normal(samples) * np.sqrt(variance_R * sum(1 / size for size in sizes))
        deviation = float(np.sqrt(squares / freedom))
    # Centring gives the distribution under the null hypothesis of no difference, for the p-value. The interval is taken from
    # the distribution around the observed difference, without centring.
    centred_R = difference_R - difference_R.mean() + shift_R
    extreme = int(np.count_nonzero(np.abs(centred_R) >= abs(difference)))
    low, high = np.quantile(difference_R + shift_R, [0.025, 0.975])
    return SeedComparison(
        difference=float(difference),
        p_value=(extreme + 1) / (samples + 1),
        low=float(low),
        high=float(high),
        baseline=float(score_S[sides[1]].mean()),
        system=float(score_S[sides[0]].mean()),
        metric=metric,
        system_seeds=sizes[0],
        baseline_seeds=sizes[1],
        deviation=deviation,
    )


def _resampled(runs_SNK: npt.NDArray[np.int64], samples: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Returns the statistics of each run, summed over N sentences drawn with replacement, [R, S, K].

    All runs see the same sentences.
    """
    seeds, sentences, kinds = runs_SNK.shape
    # A resample is a vector of counts: how often each sentence was drawn. The sums over sentences are then one matrix product,
    # in float64 because NumPy multiplies integer matrices without BLAS. The sums stay exact below 2^53.
    flat = runs_SNK.transpose(1, 0, 2).reshape(sentences, seeds * kinds).astype(np.float64)
    sums = np.empty((samples, seeds * kinds))
    at_once = max(1, _COUNTS_AT_ONCE // sentences)
    for start in range(0, samples, at_once):
        block = min(at_once, samples - start)
        # These are the draws of `paired_bootstrap`, which makes one resample at a time: the generator's order is the same.
        drawn_RN = random.integers(sentences, size=(block, sentences))
        drawn_RN += sentences * np.arange(block)[:, None]
        counts_RN = np.bincount(drawn_RN.ravel(), minlength=block * sentences).reshape(block, sentences)
        sums[start : start + block] = counts_RN.astype(np.float64) @ flat
    return np.rint(sums).astype(np.int64).reshape(samples, seeds, kinds)


def _centred(scores_S: Floats) -> Floats:
    """Subtracts the mean over seeds, the last axis."""
    return np.asarray(scores_S - scores_S.mean(axis=-1, keepdims=True))
