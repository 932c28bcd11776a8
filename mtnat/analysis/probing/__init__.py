"""Probing tasks: what a classifier finds in the encodings of sentences (Conneau et al. 2018)."""

from mtnat.analysis.probing import published
from mtnat.analysis.probing.baselines import bag_of_words, majority
from mtnat.analysis.probing.builders import text_tasks
from mtnat.analysis.probing.comparison import ProbeComparison, corrected_t_test, seed_t_test
from mtnat.analysis.probing.experiment import (
    Accuracy,
    GroupAccuracy,
    LayerResult,
    ProbingConfig,
    TaskResult,
    check_packages,
    probe,
    shared_controls,
)
from mtnat.analysis.probing.features import POOLINGS, Pooling, layer_features, sentence_features, untrained
from mtnat.analysis.probing.grammar import grammar_tasks
from mtnat.analysis.probing.groups import check_groups
from mtnat.analysis.probing.readers import read_tasks
from mtnat.analysis.probing.tasks import FOLDS, ProbingTask, ready
from mtnat.analysis.probing.trainer import Fold, ProbeConfig, accuracies, folds_of, steps_of_an_epoch, train_folds
from mtnat.analysis.probing.words import KnownWords, known_words

__all__ = [
    "FOLDS",
    "POOLINGS",
    "Accuracy",
    "Fold",
    "GroupAccuracy",
    "KnownWords",
    "LayerResult",
    "Pooling",
    "ProbeComparison",
    "ProbeConfig",
    "ProbingConfig",
    "ProbingTask",
    "TaskResult",
    "accuracies",
    "bag_of_words",
    "check_groups",
    "check_packages",
    "corrected_t_test",
    "folds_of",
    "grammar_tasks",
    "known_words",
    "layer_features",
    "majority",
    "probe",
    "published",
    "read_tasks",
    "ready",
    "seed_t_test",
    "sentence_features",
    "shared_controls",
    "steps_of_an_epoch",
    "text_tasks",
    "train_folds",
    "untrained",
]
