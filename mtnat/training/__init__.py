"""Training of one run on one or more workers, model folders, evaluation, distillation and data rejuvenation."""

from mtnat.training.distillation import Distillation, SourceText, file_sources, training_pairs, training_sources
from mtnat.training.feed import Feed, Work
from mtnat.training.fit import Progress, fit
from mtnat.training.model import Model, load_model, read_experiment, save_model
from mtnat.training.rejuvenation import PairScores
from mtnat.training.shards import Shards, Text
from mtnat.training.speed import Speed, measure_speed
from mtnat.training.update import Updater
from mtnat.training.validation import Scored, evaluate_split
from mtnat.training.workers import Alone, Distributed, Workers, default_device

__all__ = [
    "Alone",
    "Distillation",
    "Distributed",
    "Feed",
    "Model",
    "PairScores",
    "Progress",
    "Scored",
    "Shards",
    "SourceText",
    "Speed",
    "Text",
    "Updater",
    "Work",
    "Workers",
    "default_device",
    "evaluate_split",
    "file_sources",
    "fit",
    "load_model",
    "measure_speed",
    "read_experiment",
    "save_model",
    "training_pairs",
    "training_sources",
]
