"""Scores with their signatures, and which differences between systems are real."""

from mtnat.evaluation.scores import Score, bleu
from mtnat.evaluation.significance import Comparison, paired_bootstrap

__all__ = ["Comparison", "Score", "bleu", "paired_bootstrap"]
