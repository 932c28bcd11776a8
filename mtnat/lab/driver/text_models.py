"""The models that write or score training text for a study: trained in it, or fetched."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from mtnat.config import replace
from mtnat.errors import StudyError
from mtnat.lab.outputs.folder import RESULT_FILE, StudyFolder
from mtnat.lab.outputs.runs import Result, Run, Trial
from mtnat.lab.study.record import REVERSE_DISTILLED, STAGES, WRITERS, Settings, Study
from mtnat.lab.tracking.models import fetch_model, is_address
from mtnat.training import Shards, read_experiment
from mtnat.training.fit import MODEL


@dataclass(frozen=True)
class TextModel:
    """A finished model with an AT decoder."""

    name: str
    """The run that trained the model, or its folder or address."""
    model: Path
    """Absolute path of its folder."""
    valid: float | None
    """BLEU on the validation set; None if it was not trained here."""


class Share(Protocol):
    """Has a model work on a text, until the result is complete."""

    def __call__(self, work: Shards[Any], model: str, verb: str) -> None:
        """See `mtnat.lab.driver.sharing.share`."""


@dataclass(frozen=True)
class Means:
    """How models are trained and put to work; the driver does both on Ray."""

    train: Callable[[Study], dict[str, Result]]
    """Runs a study and returns the results of its runs by id."""
    share: Share
    tracking_uri: str
    """URI of MLflow, from which models are fetched."""
    earlier: tuple[StudyFolder, ...] = ()
    """The columns of the study that have ended, whose models need not be trained again."""


def model_trial(study: Study, name: str, settings: Settings) -> Trial:
    """Returns the trial that trains such a model; it is one of the study's baselines if one is equal to it.

    Args:
        name: the trial's name if it is none of the baselines.
        settings: settings in which its experiment differs from the study's.
    """
    settings = dict(settings)
    if study.experiment.data.stages:  # such a model is trained on the corpus's own text
        settings[STAGES] = []
    if replace(study.experiment, settings).decoder != "at":  # a multi-task model translates with its AT decoder too
        settings["decoding.decoder"] = "at"
    experiment = replace(study.experiment, settings)
    # All other baselines are trained on text that does not exist yet. That of a reverse teacher is never trained on alone.
    texts = {*study.written} - {REVERSE_DISTILLED}
    for baseline, own in study.baselines.items():
        if texts <= own.keys() and replace(study.experiment, own) == experiment:
            return Trial(baseline, "baseline", own, experiment)
    return Trial(name, "baseline", settings, experiment)


def trained_model(study: Study, trial: Trial, part: str, folder: StudyFolder, means: Means) -> TextModel:
    """Returns the model of a trial, and trains it if that has not been done, here or in an earlier column.

    Args:
        part: the part of the study file with its settings.

    Raises:
        StudyError: the model could not be trained.
    """
    run = Run(trial=trial.name, kind=trial.kind, phase="search", experiment=trial.experiment).id
    if trial.name not in study.baselines:  # a baseline is one of this column's rows, and is trained in it
        for column in means.earlier:
            model, result = column.run(run) / MODEL, column.results().get(run)
            if result and result.valid is not None and model.exists() and read_experiment(model) == trial.experiment:
                return TextModel(f"{column.path.name}/{run}", model.absolute(), result.valid)
    known = folder.results().get(run)
    if known and known.valid is None:  # nothing can go on without the model, so a resumed study tries again
        (folder.run(run) / RESULT_FILE).unlink()
    alone = {"baselines": {trial.name: trial.settings}, "search": {}, "trials": 0, "confirm": None}
    result = means.train(study.model_copy(update={**alone, **dict.fromkeys(WRITERS)}))[run]
    if result.valid is None:
        raise StudyError(
            f"{part}: could not be trained ({result.failed}); run again with --resume, or correct {part}.settings "
            "and start from the beginning in another folder."
        )
    return TextModel(run, folder.run(run) / MODEL, result.valid)


def fetched_model(model: str, part: str, folder: StudyFolder, tracking_uri: str) -> TextModel:
    """Returns a model that has been trained elsewhere.

    Args:
        model: a folder, or an address in MLflow.
        part: the part of the study file that names it.

    Raises:
        ModelError: MLflow does not have the model.
    """
    place = fetch_model(model, folder.path / part, tracking_uri) if is_address(model) else Path(model)
    return TextModel(model, place.absolute(), valid=None)
