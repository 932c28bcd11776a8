"""Whether one system's BLEU differs from another's by more than the choice of test sentences explains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics.bleu import BLEU

from mtnat.evaluation.scores import check_sentences

# N sentences, R resamples; the 10 statistics are named at _statistics


@dataclass(frozen=True)
class Comparison:
    """A system against a baseline, in BLEU points of 0 to 100."""

    difference: float
    """System minus baseline."""
    p_value: float
    """How often resampling alone gives at least this difference, in the direction found."""
    low: float
    """Lower end of the difference's 95 % interval."""
    high: float
    baseline: float
    system: float


def paired_bootstrap(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    *,
    samples: int = 1000,
    seed: int = 12345,
    tokenize: str = "13a",
) -> Comparison:
    """Paired bootstrap resampling (Koehn 2004), with the p-value that Moses and sacrebleu's `PairedTest` give.

    The test statistic is the absolute difference, centred by its mean over the resamples (Riezler and Maxwell 2005).
    Where systems differ clearly the p-value is one-sided, about half of what a two-sided test such as approximate
    randomisation says. Unlike sacrebleu, ties count as extreme: a system against itself has p = 1, there 1 / (samples + 1).
    Unlike `PairedTest`, the seed is an argument and not an environment variable.

    Raises:
        DataError: the texts are empty or not equally long.
    """
    check_sentences(system, references)
    check_sentences(baseline, references)
    system_N10 = _statistics(system, references, tokenize)
    baseline_N10 = _statistics(baseline, references, tokenize)
    system_score, baseline_score = _score(system_N10.sum(axis=0)), _score(baseline_N10.sum(axis=0))
    random = np.random.default_rng(seed)
    differences_R = np.empty(samples)
    for number in range(samples):
        # Drawn one at a time these are the very resamples that sacrebleu draws all at once.
        chosen_N = random.integers(len(references), size=len(references))
        differences_R[number] = _score(system_N10[chosen_N].sum(axis=0)) - _score(baseline_N10[chosen_N].sum(axis=0))
    low, high = np.quantile(differences_R, [0.025, 0.975])
    return Comparison(
        difference=system_score - baseline_score,
        p_value=_p_value(differences_R, system_score - baseline_score),
        low=float(low),
        high=float(high),
        baseline=baseline_score,
        system=system_score,
    )


def _statistics(hypotheses: Sequence[str], references: Sequence[str], tokenize: str) -> npt.NDArray[np.int64]:
    """Matched n-grams (1 to 4), all n-grams (1 to 4), hypothesis and reference tokens of each sentence, [N, 10]."""
    metric = BLEU(tokenize=tokenize, effective_order=True)  # the score is not used; the option keeps it from warning
    scores = [
        metric.sentence_score(hypothesis, [reference]) for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]
    return np.array([[*score.counts, *score.totals, score.sys_len, score.ref_len] for score in scores], np.int64)


def _score(sums_10: npt.NDArray[np.int64]) -> float:
    """Corpus BLEU of summed statistics, smoothed as `bleu` is."""
    *ngrams, system_length, reference_length = sums_10.tolist()
    return BLEU.compute_bleu(ngrams[:4], ngrams[4:], system_length, reference_length, smooth_method="exp").score


def _p_value(differences_R: npt.NDArray[np.float64], difference: float) -> float:
    """Share of resamples whose centred absolute difference reaches the one found, counting that one as a resample too."""
    sizes_R = np.abs(differences_R)
    extreme = int(np.count_nonzero(sizes_R - sizes_R.mean() >= abs(difference)))
    return (extreme + 1) / (len(sizes_R) + 1)
