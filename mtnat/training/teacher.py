"""The frozen teacher of a system that reads one in training."""

from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from mtnat.data import Vocabularies
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.model import Translator
from mtnat.objective.schedules import Constant
from mtnat.systems import TaughtBranch, branch_of
from mtnat.training.model import load_model

MISSING = (
    "system.teacher: is missing; give the folder of a model with an AT decoder, such as outputs/transformer/best, "
    "or run the experiment in a study that has a teacher."
)
"""The problem of an experiment whose system needs a teacher, if there is none."""


def give_teacher(
    experiment: Experiment,
    translators: Iterable[Translator],
    vocabularies: Vocabularies,
    device: torch.device,
    own: Path | None = None,
) -> None:
    """Loads the teacher of an experiment, and gives it to translators; does nothing if the experiment needs none.

    Args:
        translators: translators that the experiment has built.
        vocabularies: their vocabularies.
        own: model folder of the teacher of the study that runs the experiment, for a system that names none.

    Raises:
        ConfigError: no teacher is named, or it does not fit.
        ModelError: the teacher's folder is missing or is not a model of this version.
    """
    if not experiment.reads_teacher:
        return
    system = experiment.system
    folder = Path(system.teacher_folder) if system.teacher_folder else own
    if folder is None:
        raise ConfigError(MISSING)
    teacher = load_model(folder, device)
    if teacher.vocabularies.fingerprint != vocabularies.fingerprint:
        raise ConfigError(
            f"system.teacher: {folder} has another vocabulary than this experiment; train it on the same `data`, "
            "with the same vocabulary_size and joint_vocabulary."
        )
    for translator in translators:
        branch = branch_of(translator, "nat")
        assert isinstance(branch, TaughtBranch)
        branch.use_teacher(teacher.translator)


def stand_in_teacher(experiment: Experiment, translator: Translator, new: Callable[[Experiment], Translator]) -> None:
    """Gives a translator an untrained teacher of the experiment's own size, if one is needed, to measure the speed.

    Args:
        new: builds the translator of an experiment on the same device and with the same vocabularies.
    """
    if not experiment.reads_teacher:
        return
    objective = experiment.objective.model_copy(update={"schedule": Constant(value=0.0)})
    alone = experiment.model_copy(update={"objective": objective})
    branch = branch_of(translator, "nat")
    assert isinstance(branch, TaughtBranch)
    branch.use_teacher(new(alone))
