"""Training of one run on any number of workers, and the model it leaves."""

from mtnat.training.fit import Progress, fit
from mtnat.training.model import Model, load_model, save_model
from mtnat.training.validation import Scored, evaluate_split
from mtnat.training.workers import Alone, Distributed, Workers, default_device

__all__ = [
    "Alone",
    "Distributed",
    "Model",
    "Progress",
    "Scored",
    "Workers",
    "default_device",
    "evaluate_split",
    "fit",
    "load_model",
    "save_model",
]
