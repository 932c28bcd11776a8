"""Corpus scores, computed by sacrebleu."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sacrebleu.metrics.base import Metric
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from mtnat.errors import DataError

# N sentences, K statistics of a sentence (10 of BLEU, 18 of chrF, 2 of TER)

MetricName = Literal["bleu", "chrf", "ter"]


@dataclass(frozen=True)
class Score:
    """A score with its signature. Compare only scores with equal signatures."""

    value: float
    """0 to 100; TER has no upper bound."""
    signature: str
    """sacrebleu's description of the metric's settings, including the version of sacrebleu."""


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Score:
    """Returns the corpus BLEU of detokenised text against one reference (Post 2018).

    Args:
        tokenize: tokenizer of sacrebleu; ``none`` splits at spaces, for tokenised text.

    Raises:
        DataError: if there are no sentences, or not equally many on both sides.
    """
    return _scored(BLEU(tokenize=tokenize), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Returns the corpus chrF (Popović 2015): the F2 score of character n-grams of order 1 to 6, without white space.

    Raises:
        DataError: if there are no sentences, or not equally many on both sides.
    """
    return _scored(CHRF(), hypotheses, references)


def ter(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Returns the translation edit rate (Snover et al. 2006): edits per 100 reference words, ignoring case. Lower is better.

    Raises:
        DataError: if there are no sentences, or not equally many on both sides.
    """
    return _scored(TER(), hypotheses, references)


def metric_named(name: MetricName, tokenize: str = "13a") -> Metric:
    """Returns the metric of sacrebleu that `bleu`, `chrf` and `ter` use, for `statistics` and `value_of`.

    Args:
        tokenize: tokenizer of BLEU, as in `bleu`.
    """
    if name == "chrf":
        return CHRF()
    return TER() if name == "ter" else BLEU(tokenize=tokenize, force=True)  # force: `bleu` has already warned of tokenised text


def statistics(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> npt.NDArray[np.int64]:
    """Returns the counts of each sentence, [N, K]. A corpus score is computed from their sum over sentences.

    Raises:
        DataError: if there are no sentences, or not equally many on both sides.
    """
    check_sentences(hypotheses, references)
    # sacrebleu has no public function that does this for every metric: `sentence_score` shows the counts of BLEU and TER, but
    # not those of chrF, and no public function computes a score from summed counts of chrF or TER. Its own significance tests
    # call the private methods used here and in `value_of`. Tests compare the results with `corpus_score`.
    return np.array(metric._extract_corpus_statistics(hypotheses, [references]), np.int64)


def value_of(metric: Metric, sums_K: npt.NDArray[np.int64]) -> float:
    """Returns the corpus score of summed statistics, which equals `bleu`, `chrf` or `ter` of the same sentences."""
    return float(metric._compute_score_from_stats(sums_K.tolist()).score)


def check_sentences(hypotheses: Sequence[object], references: Sequence[object]) -> None:
    """Rejects input that sacrebleu would score without a warning or fail on.

    Raises:
        DataError: if there are no sentences, or not equally many on both sides.
    """
    if len(hypotheses) != len(references):
        raise DataError(
            f"hypotheses: must be as many as the references; got {len(hypotheses)} and {len(references)}; give both in full."
        )
    if not references:
        raise DataError("references: are empty; give at least one sentence.")


def _scored(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    check_sentences(hypotheses, references)
    metric_score = metric.corpus_score(hypotheses, [references])
    return Score(float(metric_score.score), str(metric.get_signature()))
