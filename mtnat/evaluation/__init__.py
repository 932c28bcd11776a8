"""Scores of translations with their signatures, and significance tests of differences between systems."""

from mtnat.evaluation.hierarchical import SeedComparison, hierarchical_bootstrap
from mtnat.evaluation.measures import LengthAccuracy, LengthBucket, bleu_by_length, length_accuracy, repeated_share
from mtnat.evaluation.scores import MetricName, Score, bleu, chrf, ter
from mtnat.evaluation.significance import Comparison, Mark, holm, mark_of, paired_bootstrap

__all__ = [
    "Comparison",
    "LengthAccuracy",
    "LengthBucket",
    "Mark",
    "MetricName",
    "Score",
    "SeedComparison",
    "bleu",
    "bleu_by_length",
    "chrf",
    "hierarchical_bootstrap",
    "holm",
    "length_accuracy",
    "mark_of",
    "paired_bootstrap",
    "repeated_share",
    "ter",
]
