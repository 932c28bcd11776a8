"""Checks of the parts of a study file whose models write training text."""

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mtnat.errors import UserError
from mtnat.experiment import Experiment
from mtnat.lab.study.record import MODEL_NAMES, WRITERS, Rejuvenation, Settings, Teacher
from mtnat.lab.tracking.models import is_address
from mtnat.training import read_experiment


class _Part(NamedTuple):
    """The words for a part of the study file in messages."""

    does: str
    """What it does with the training text."""
    needs: str
    """What its models need an AT decoder for."""
    finished: str
    """What a finished model is for it."""


_PARTS = {
    "teacher": _Part("the teacher translates", "a teacher translates with", "teacher"),
    "rejuvenation": _Part("rejuvenation rewrites", "scores and rewrites the text", "identification model"),
}


class TextChecks:
    """Checks of the models that write training text, and of the settings that name their text."""

    def __init__(self, *, teacher: Teacher | None, rejuvenation: Rejuvenation | None, search: Container[str]) -> None:
        """Reads the experiments of finished models.

        Args:
            search: the settings that are searched.
        """
        parts = {"teacher": teacher, "rejuvenation": rejuvenation}
        self._parts = {name: part for name, part in parts.items() if part}
        self._search = search
        self.problems: list[str] = []
        """The problems of finished models."""
        self._finished: dict[str, Experiment] = {}
        for name, part in self._parts.items():
            if part.model and not is_address(part.model):
                self._read(name, part.model)

    @property
    def names(self) -> dict[str, str]:
        """Names of the trials that train the models, each with a description."""
        return {
            name: f"the {name}" if name == part else f"the {name} model" for part in self._parts for name in MODEL_NAMES[part]
        }

    @property
    def trained(self) -> Mapping[str, Settings]:
        """The settings of models that are trained in the study, by their path in the file."""
        found: dict[str, Settings] = {}
        for name, part in self._parts.items():
            if isinstance(part, Teacher):
                if not part.model:
                    found[f"{name}.settings"] = part.settings
            elif part.settings is not None or "teacher.settings" not in found:  # otherwise the teacher's, which are checked there
                found[f"{name}.settings"] = part.settings or {}
        return found

    def of_settings(self, settings: Settings, where: str) -> Iterator[str]:
        """Yields the settings of a baseline or of a model that name text which the study writes, or need other text."""
        for name in self._parts:
            setting = WRITERS[name]
            if settings.get(setting) is not None:
                yield self._written(name, where)
            if "data.train" in settings and setting not in settings:
                does = f"{_PARTS[name].does} the experiment's training text"
                yield f"{where}.data.train: {does}; add {setting}: null, or drop it."

    def of_experiment(self, base: Experiment) -> Iterator[str]:
        """Yields the reasons why the models cannot write text for this experiment, or for that of a column."""
        for name in self._parts:
            setting = WRITERS[name]
            if getattr(base.data, setting.removeprefix("data.")) is not None:
                yield self._written(name, "experiment")
            if setting in self._search:
                yield self._written(name, "search")
            finished = self._finished.get(name)
            found, wanted = finished.data.languages if finished else None, base.data.languages
            if found and wanted and found != wanted:
                yield (
                    f"{name}.model: translates {'-'.join(found)}, but the text is {'-'.join(wanted)}; "
                    f"train the {_PARTS[name].finished} here, by settings."
                )

    def of_model(self, where: str, experiment: Experiment) -> Iterator[str]:
        """Yields why a model that is trained in the study cannot write text.

        Args:
            where: the path of its settings.
        """
        if not experiment.can_teach:
            needs = _PARTS[where.partition(".")[0]].needs
            yield f"{where}: must train an AT decoder, which {needs}; add objective.schedule: {{kind: constant, value: 0.0}}."

    def _read(self, name: str, model: str) -> None:
        """Reads the experiment of a finished model."""
        try:
            experiment = read_experiment(Path(model))
        except UserError as error:
            self.problems += (f"{name}.model: {problem}" for problem in error.problems)
            return
        self._finished[name] = experiment
        if not experiment.can_teach:
            self.problems.append(f"{name}.model: {model} has no AT decoder, which {_PARTS[name].needs}; give one that has.")

    def _written(self, name: str, where: str) -> str:
        writer = "the teacher" if name == "teacher" else name
        return f"{where}.{WRITERS[name]}: is what {writer} writes; a baseline may say null, for the corpus's own targets."
