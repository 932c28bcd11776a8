"""Corpus scores by sacrebleu."""

from collections.abc import Sequence
from dataclasses import dataclass

from sacrebleu.metrics.bleu import BLEU

from mtnat.errors import DataError


@dataclass(frozen=True)
class Score:
    """A score and the signature without which nobody can compare it."""

    value: float
    """0 to 100."""
    signature: str
    """What sacrebleu says it did, its version included."""


def bleu(hypotheses: Sequence[str], references: Sequence[str], tokenize: str = "13a") -> Score:
    """Corpus BLEU against one reference (Post 2018), on detokenised text.

    Args:
        tokenize: sacrebleu's tokenizer; ``none`` splits on spaces, for text that is tokenised already.

    Raises:
        DataError: there are no sentences, or not equally many on both sides.
    """
    check_sentences(hypotheses, references)
    metric = BLEU(tokenize=tokenize)
    metric_score = metric.corpus_score(hypotheses, [references])
    return Score(metric_score.score, str(metric.get_signature()))


def check_sentences(hypotheses: Sequence[str], references: Sequence[str]) -> None:
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
