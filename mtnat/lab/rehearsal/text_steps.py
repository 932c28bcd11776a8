"""The steps in which a study's models write training text, as `--dry-run` shows them."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mtnat.config import replace
from mtnat.experiment import Experiment
from mtnat.lab.driver.rejuvenation import identification_trial, rejuvenation_trial
from mtnat.lab.driver.reverse_teacher import reverse_teacher_trial
from mtnat.lab.driver.teacher import teacher_trial
from mtnat.lab.outputs.runs import Trial
from mtnat.lab.study.record import DISTILLED, IDENTIFICATION_NAME, TEACHER_NAME, Rejuvenation, ReverseTeacher, Study, Teacher
from mtnat.lab.tracking.models import is_address
from mtnat.training import read_experiment

_NOT_YET = "active.gz"
"""The file of a selection that is made during the study."""


class TextStep(NamedTuple):
    """One step: a model is trained, or it translates."""

    part: str
    """The part of the study file."""
    name: str
    experiment: Experiment
    """The model's experiment; for a translation with the settings of the search."""
    trial: Trial | None = None
    """The trial that trains the model; None for a translation."""
    share: float = 1.0
    """Share of the training sources that are translated."""


def text_steps(part: Study) -> Iterator[TextStep]:
    """Yields the steps of a study, or of a column, in order. A translation by a model that would have to be fetched first is
    left out, and so are scores."""
    if teacher := part.teacher:
        trial = None if teacher.model else teacher_trial(part, teacher)
        if trial:
            yield TextStep("teacher", "teacher", trial.experiment, trial)
        if teacher.translates and (writer := _writer(part, teacher, trial)):
            yield TextStep("teacher", "the teacher translates", writer)
    if reverse := part.complete_reverse_teacher:
        trial = None if reverse.model else reverse_teacher_trial(part, reverse.settings or {})
        if trial:
            yield TextStep("reverse teacher", "reverse teacher", trial.experiment, trial)
        if writer := _writer(part, reverse, trial):
            yield TextStep("reverse teacher", "the reverse teacher translates", writer)
    if rejuvenation := part.complete_rejuvenation:
        if identification := _own_identification(part, rejuvenation):
            yield TextStep("rejuvenation", "identification", identification.experiment, identification)
        trial = rejuvenation_trial(part, rejuvenation, _NOT_YET)
        yield TextStep("rejuvenation", "rejuvenation", trial.experiment, trial)
        if writer := _writer(part, rejuvenation, trial):
            yield TextStep("rejuvenation", "inactive pairs are rewritten", writer, share=rejuvenation.inactive)


def text_facts(study: Study) -> Iterator[str]:
    """Yields a line for each part of the study file whose models write training text. The models are those of the first column
    that has them."""
    columns = list(study.parts.values())
    teachers = [column for column in columns if column.teacher]
    for part in sorted(teachers, key=lambda column: DISTILLED not in column.written)[:1]:
        assert part.teacher is not None
        who = part.teacher.model or _who(part, teacher_trial(part, part.teacher), TEACHER_NAME)
        does = f"translates with beam {part.teacher.beam}" if part.teacher.translates else "writes no training text"
        yield f"teacher       {who}; {does}"
    for part in [column for column in columns if column.reverse_teacher][:1]:
        reverse = part.complete_reverse_teacher
        assert reverse is not None
        yield f"reverse       {reverse.model or 'trained here'}; translates the targets with beam {reverse.beam}"
    for part in [column for column in columns if column.rejuvenation][:1]:
        rejuvenation = part.complete_rejuvenation
        assert rejuvenation is not None
        who = rejuvenation.model or _who(part, identification_trial(part, rejuvenation), IDENTIFICATION_NAME)
        yield (
            f"rejuvenation  {who}; scores all training pairs. A model that is trained on the others rewrites the targets of "
            f"the lowest {100 * rejuvenation.inactive:g} % with beam {rejuvenation.beam}"
        )


def stage_facts(part: Study) -> Iterator[str]:
    """Yields a line for the study's experiment, and for each baseline of another text, if its training text has stages."""
    for name, settings in {"all trials": {}, **part.baselines}.items():
        experiment = replace(part.experiment, settings)
        if experiment.data.stages and (name not in part.baselines or experiment.data.stages != part.experiment.data.stages):
            ends = zip(experiment.data.texts, experiment.stage_ends, strict=True)
            yield f"stages        {name}: {', '.join(f'{text} until step {end:,}' for text, end in ends)}"


def text_reservations(study: Study) -> Iterator[str]:
    """Yields what the estimate of these steps leaves out."""
    if study.teacher and study.teacher.translates and is_address(study.teacher.model or ""):
        yield "The teacher's translation is not included, because its model would have to be fetched first."
    if study.reverse_teacher and is_address(study.reverse_teacher.model or ""):
        yield "The reverse teacher's translation is not included, because its model would have to be fetched first."
    if study.rejuvenation:
        yield "The scores of the training pairs are not included; they take less time than an epoch of training."


def _own_identification(part: Study, rejuvenation: Rejuvenation) -> Trial | None:
    """Returns the trial of the identification model, if it is trained for this purpose only."""
    if rejuvenation.model:
        return None
    trial = identification_trial(part, rejuvenation)
    is_teacher = part.teacher is not None and not part.teacher.model and trial == teacher_trial(part, part.teacher)
    return None if is_teacher else trial


def _writer(part: Study, writing: Teacher | ReverseTeacher | Rejuvenation, trial: Trial | None) -> Experiment | None:
    """Returns the experiment of a model with the settings of its translation; None if it would have to be fetched first."""
    if trial:
        experiment = trial.experiment
    elif writing.model is None or is_address(writing.model):
        return None
    else:
        experiment = read_experiment(Path(writing.model)).model_copy(update={"data": part.experiment.data})
    search = {f"decoding.{name}": getattr(writing, name) for name in ("beam", "length_penalty", "precision")}
    return replace(experiment, {"decoding.decoder": "at", "decoding.rerank": "none"} | search)


def _who(part: Study, trial: Trial, name: str) -> str:
    """Returns which model a trial trains.

    Args:
        name: the trial's name if it is trained for this purpose only.
    """
    if trial.name in part.baselines:
        return f"{trial.name}, a baseline"
    return "trained here" if trial.name == name else f"the {trial.name}"
