"""Scores of translations with their signatures, and significance tests of differences between systems."""

from mtnat.evaluation.choice import cross_fitted
from mtnat.evaluation.hierarchical import SeedComparison, hierarchical_bootstrap
from mtnat.evaluation.measures import LengthAccuracy, LengthBucket, bleu_by_length, length_accuracy, repeated_share
from mtnat.evaluation.scores import MetricName, Score, bleu, chrf, ter
from mtnat.evaluation.sequential import look_factors, spending_levels
from mtnat.evaluation.significance import LEVEL, Comparison, Mark, holm, mark_of, paired_bootstrap

__all__ = [
    "LEVEL",
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
    "cross_fitted",
    "hierarchical_bootstrap",
    "holm",
    "length_accuracy",
    "look_factors",
    "mark_of",
    "paired_bootstrap",
    "repeated_share",
    "spending_levels",
    "ter",
]
