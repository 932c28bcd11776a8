"""Experiments and models in Python: read, build, train."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mtnat import training
from mtnat.config import build, read_yaml
from mtnat.data import prepare
from mtnat.experiment import Experiment
from mtnat.lab.tracking.models import open_model
from mtnat.training import Model, Progress
from mtnat.training.fit import MODEL


def read_experiment(path: str | Path) -> Experiment:
    """Reads the experiment of a YAML file, such as a study's ``best.yaml``, or of a model folder.

    Raises:
        UserError: with every problem of the file.
    """
    return training.read_experiment(Path(path)) if Path(path).is_dir() else build(Experiment, read_yaml(path))


def build_experiment(settings: Mapping[str, Any]) -> Experiment:
    """Builds an experiment from plain data of the form that a YAML file has. What is left out has its default.

    `replace` changes settings of an experiment by dotted path: ``replace(experiment, {"training.steps": 1000})``.

    Raises:
        UserError: with every problem of the settings.
    """
    return build(Experiment, settings)


def train(experiment: Experiment, folder: str | Path, on_progress: Callable[[Progress], None] | None = None) -> Model:
    """Trains an experiment in this process, or resumes its training, and returns the final model.

    Args:
        folder: folder of the run. If it contains a checkpoint, the training continues from there, with a warning if newer ones
            are damaged; if the training has ended, its model is loaded.
        on_progress: is called with each point of the curves.

    Raises:
        UserError: the corpus has a problem, or the folder belongs to another experiment.
        DivergedError: the loss or the gradient is not finite.
        OutOfMemoryError: an update ran out of memory.
    """
    dataset = prepare(experiment.data)
    for progress in training.fit(experiment, dataset, Path(folder), say=lambda text: warnings.warn(text, stacklevel=2)):
        if on_progress:
            on_progress(progress)
    return open_model(Path(folder) / MODEL)
