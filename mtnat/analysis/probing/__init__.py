"""Probing tasks: what a classifier finds in the encodings of sentences (Conneau et al. 2018)."""

from mtnat.analysis.probing.baselines import bag_of_words, majority
from mtnat.analysis.probing.builders import text_tasks
from mtnat.analysis.probing.comparison import FoldComparison, corrected_t_test
from mtnat.analysis.probing.experiment import Accuracy, ProbingConfig, TaskResult, check_packages, probe
from mtnat.analysis.probing.features import POOLINGS, Pooling, sentence_features, untrained
from mtnat.analysis.probing.grammar import grammar_tasks
from mtnat.analysis.probing.readers import read_tasks
from mtnat.analysis.probing.tasks import FOLDS, ProbingTask, ready
from mtnat.analysis.probing.trainer import Fold, ProbeConfig, accuracies, folds_of, train_folds

__all__ = [
    "FOLDS",
    "POOLINGS",
    "Accuracy",
    "Fold",
    "FoldComparison",
    "Pooling",
    "ProbeConfig",
    "ProbingConfig",
    "ProbingTask",
    "TaskResult",
    "accuracies",
    "bag_of_words",
    "check_packages",
    "corrected_t_test",
    "folds_of",
    "grammar_tasks",
    "majority",
    "probe",
    "read_tasks",
    "ready",
    "sentence_features",
    "text_tasks",
    "train_folds",
    "untrained",
]
