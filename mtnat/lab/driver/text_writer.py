"""The training text that a study's models write before its trials."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Protocol

from mtnat.config import replace
from mtnat.lab.driver.rejuvenation import identification_trial, known_rejuvenation, rejuvenate
from mtnat.lab.driver.reverse_teacher import distil_reverse, known_reverse_text, reverse_teacher_trial, reversed_study
from mtnat.lab.driver.teacher import distil, keep_teacher, known_text, teacher_trial
from mtnat.lab.driver.text_models import Means, TextModel, fetched_model, trained_model
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.outputs.runs import Trial
from mtnat.lab.study.record import DISTILLED, REVERSE_DISTILLED, Rejuvenation, ReverseTeacher, Study


class WrittenText(Protocol):
    """The record of a text, with its file."""

    setting: ClassVar[str]
    """The setting of an experiment that names the file."""

    def record_in(self, folder: StudyFolder) -> Path:
        """The path of this record."""

    @property
    def file(self) -> str:
        """Absolute path of the file."""

    @property
    def key(self) -> str:
        """Hash of everything that determines the text."""

    @property
    def origin(self) -> str:
        """The origin of the text, as the name of a dataset."""

    @property
    def summary(self) -> str:
        """The text and its effect in one sentence."""

    @property
    def figures(self) -> dict[str, float]:
        """Measurements of the text, as metrics."""


def students(study: Study, *texts: WrittenText) -> Study:
    """Returns the study with the written texts as the training text of its trials."""
    settings = {text.setting: text.file for text in texts}
    if not settings:
        return study
    baselines = study.baselines
    if REVERSE_DISTILLED in settings:
        # A baseline that served as the teacher keeps its experiment. Without the teacher's text it cannot use the reverse one.
        own_text = {REVERSE_DISTILLED: None}
        baselines = {name: own | own_text if own.get(DISTILLED, "") is None else own for name, own in baselines.items()}
    return study.model_copy(update={"experiment": replace(study.experiment, settings), "baselines": baselines})


class TextWriter:
    """Writes the training text that the trials of a study need: trains or fetches the models, and has them work.

    A text that has been written is read from the study's folder. A resumed study finds its models trained, and all finished
    shards in the cache.
    """

    def __init__(self, study: Study, folder: StudyFolder, means: Means) -> None:
        self._study, self._folder, self._means = study, folder, means

    def texts(self) -> Iterator[WrittenText]:
        """Yields each text once it is written. A teacher that writes none is trained or fetched too.

        Raises:
            StudyError: a model could not be trained, or its work failed; or a file is missing.
            ModelError: a finished model cannot be used.
            DataError: the corpus has problems, or no pair could be scored.
        """
        study, folder, means = self._study, self._folder, self._means
        if study.teacher and not study.teacher.translates:
            keep_teacher(self._teacher, folder)
        elif study.teacher:
            distilled = known_text(folder) or distil(study, self._teacher, folder, means.share)
            yield distilled
            if reverse_teacher := study.complete_reverse_teacher:
                known_reverse = known_reverse_text(folder)
                yield known_reverse or distil_reverse(
                    study, self._reverse_teacher(reverse_teacher), distilled.file, folder, means.share
                )
        if rejuvenation := study.complete_rejuvenation:
            known = known_rejuvenation(folder)
            yield known or rejuvenate(study, self._identification(rejuvenation), folder, means)

    @cached_property
    def _teacher(self) -> TextModel:
        study, teacher = self._study, self._study.teacher
        assert teacher is not None
        if teacher.model:
            return self._fetched(teacher.model, "teacher")
        return self._trained(teacher_trial(study, teacher), "teacher")

    def _reverse_teacher(self, reverse_teacher: ReverseTeacher) -> TextModel:
        if reverse_teacher.model:
            return self._fetched(reverse_teacher.model, "reverse_teacher")
        trial = reverse_teacher_trial(self._study, reverse_teacher.settings or {})
        return trained_model(reversed_study(self._study), trial, "reverse_teacher", self._folder, self._means)

    def _identification(self, rejuvenation: Rejuvenation) -> TextModel:
        teacher = self._study.teacher
        if rejuvenation.model:
            is_teacher = teacher is not None and teacher.model == rejuvenation.model
            return self._teacher if is_teacher else self._fetched(rejuvenation.model, "rejuvenation")
        trial = identification_trial(self._study, rejuvenation)
        if teacher and not teacher.model and trial == teacher_trial(self._study, teacher):
            return self._teacher
        return self._trained(trial, "rejuvenation")

    def _fetched(self, model: str, part: str) -> TextModel:
        return fetched_model(model, part, self._folder, self._means.tracking_uri)

    def _trained(self, trial: Trial, part: str) -> TextModel:
        return trained_model(self._study, trial, part, self._folder, self._means)
