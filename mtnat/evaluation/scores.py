"""Corpus scores by sacrebleu."""

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

# N sentences, K statistics of a sentence: 10 of BLEU, 18 of chrF, 2 of TER

MetricName = Literal["bleu", "chrf", "ter"]


@dataclass(frozen=True)
class Score:
    """A score and the signature without which nobody can compare it."""

    value: float
    """0 to 100; of TER 0 or more."""
    signature: str
    """What sacrebleu says it did, its version included."""


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Score:
    """Corpus BLEU against one reference (Post 2018), on detokenised text.

    Args:
        tokenize: sacrebleu's tokenizer; ``none`` splits on spaces, for text that is tokenised already.

    Raises:
        DataError: there are no sentences, or not equally many on both sides.
    """
    return _scored(BLEU(tokenize=tokenize), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus chrF (Popović 2015): F2 of character n-grams, 1 to 6, white space left out.

    Raises:
        DataError: there are no sentences, or not equally many on both sides.
    """
    return _scored(CHRF(), hypotheses, references)


def ter(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Translation edit rate (Snover et al. 2006): edits for 100 reference words, case left out. Lower is better.

    Raises:
        DataError: there are no sentences, or not equally many on both sides.
    """
    return _scored(TER(), hypotheses, references)


def metric_named(name: MetricName, tokenize: str = "13a") -> Metric:
    """sacrebleu's metric as `bleu`, `chrf` and `ter` use it, for `statistics` and `value_of`.

    Args:
        tokenize: of BLEU, as there.
    """
    if name == "chrf":
        return CHRF()
    return TER() if name == "ter" else BLEU(tokenize=tokenize, force=True)  # `bleu` has warned of tokenised text already


def statistics(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> npt.NDArray[np.int64]:
    """The counts of each sentence from which a corpus score is made, [N, K].

    Raises:
        DataError: there are no sentences, or not equally many on both sides.
    """
    check_sentences(hypotheses, references)
    # The private methods here and in `value_of` are the only way for every metric: `sentence_score` shows the counts of BLEU and
    # TER but not of chrF, and nothing public makes a score of summed counts of chrF or TER. sacrebleu's significance tests call
    # the same methods, and tests compare the result with `corpus_score`.
    return np.array(metric._extract_corpus_statistics(hypotheses, [references]), np.int64)


def value_of(metric: Metric, sums_K: npt.NDArray[np.int64]) -> float:
    """The corpus score of summed statistics: that of `bleu`, `chrf` or `ter` for the same sentences."""
    return float(metric._compute_score_from_stats(sums_K.tolist()).score)


def check_sentences(hypotheses: Sequence[object], references: Sequence[object]) -> None:
    """Refuses what sacrebleu would score without a word, or not at all.

    Raises:
        DataError: there are no sentences, or not equally many on both sides.
    """
    if len(hypotheses) != len(references):
        raise DataError(
            f"hypotheses: must be as many as the references; got {len(hypotheses)} and {len(references)}; give both in full."
        )
    if not references:
        raise DataError("references: there are none; give at least one sentence.")


def _scored(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    check_sentences(hypotheses, references)
    metric_score = metric.corpus_score(hypotheses, [references])
    return Score(float(metric_score.score), str(metric.get_signature()))
