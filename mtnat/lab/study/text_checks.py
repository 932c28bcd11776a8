"""Checks of the parts of a study file whose models write training text, and of the settings that use their text."""

from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from mtnat.data.config import TEXT_FILES, DataConfig
from mtnat.errors import UserError
from mtnat.experiment import Experiment
from mtnat.lab.study.record import (
    DISTILLED,
    MODEL_NAMES,
    REJUVENATED,
    REVERSE_DISTILLED,
    STAGES,
    WRITERS,
    Rejuvenation,
    ReverseTeacher,
    Settings,
    Teacher,
)
from mtnat.lab.tracking.models import is_address
from mtnat.training import read_experiment


class _Part(NamedTuple):
    """The words for a part of the study file in messages."""

    does: str
    """What it does with the training text."""
    writes: str
    """What writes the text of its setting."""
    needs: str
    """What its models need an AT decoder for."""
    finished: str
    """What a finished model is for it."""


_PARTS = {
    "teacher": _Part("the teacher translates", "the teacher writes", "a teacher translates with", "teacher"),
    "reverse_teacher": _Part(
        "the reverse teacher translates", "the reverse teacher writes", "a teacher translates with", "reverse teacher"
    ),
    "rejuvenation": _Part(
        "rejuvenation rewrites", "rejuvenation writes", "scores and rewrites the text", "identification model"
    ),
}
_WRITER_OF = {setting: part for part, setting in WRITERS.items()}


class TextChecks:
    """Checks of the models that write training text, and of the settings that name or use their text."""

    def __init__(
        self,
        *,
        teacher: Teacher | None,
        reverse_teacher: ReverseTeacher | None,
        rejuvenation: Rejuvenation | None,
        search: Container[str],
    ) -> None:
        """Reads the experiments of finished models.

        Args:
            search: the settings that are searched.
        """
        parts = {"teacher": teacher, "reverse_teacher": reverse_teacher, "rejuvenation": rejuvenation}
        self._parts = {name: part for name, part in parts.items() if part}
        self._writing = {name: part for name, part in self._parts.items() if not isinstance(part, Teacher) or part.translates}
        self._search = search
        self.problems: list[str] = []
        """The problems of finished models."""
        self._finished: dict[str, Experiment] = {}
        if reverse_teacher and not teacher:
            self.problems.append(
                "reverse_teacher: needs a teacher, whose text its own is joined with; add teacher, or drop it."
            )
        elif reverse_teacher and "teacher" not in self._writing:
            self.problems.append(
                "teacher.translates: false leaves reverse_teacher without a text that its own is joined with; drop one of them."
            )
        for name, part in self._parts.items():
            if part.model and not is_address(part.model):
                self._read(name, part.model)

    @property
    def names(self) -> dict[str, str]:
        """Names of the trials that train the models, each with a description."""
        return {
            name: f"the {name}" if "teacher" in name or name == part else f"the {name} model"
            for part in self._parts
            for name in MODEL_NAMES[part]
        }

    @property
    def trained(self) -> Mapping[str, Settings]:
        """The settings of models that are trained in the study, by their path in the file."""
        found: dict[str, Settings] = {}
        for name, part in self._parts.items():
            if isinstance(part, Teacher):
                if not part.model:
                    found["teacher.settings"] = part.settings
            elif isinstance(part, ReverseTeacher) and part.model:
                continue
            elif (
                part.settings is not None or "teacher.settings" not in found
            ):  # otherwise the teacher's, which are checked there
                found[f"{name}.settings"] = part.settings or {}
        return found

    def of_settings(self, settings: Settings, where: str) -> Iterator[str]:
        """Yields the settings of a baseline or of a model that name text which the study writes, or need other text."""
        for name in self._writing:
            setting = WRITERS[name]
            if settings.get(setting) is not None:
                yield self._written(name, where)
            if "data.train" in settings and not self._is_nulled(setting, settings):
                does = f"{_PARTS[name].does} the experiment's training text"
                yield f"{where}.data.train: {does}; add {setting}: null, or drop it."
        if where in self.trained:
            yield from self._of_model_settings(settings, where)

    def of_experiment(self, base: Experiment) -> Iterator[str]:
        """Yields the reasons why the models cannot write text for this experiment, or for that of a column."""
        for name in self._parts:
            setting = WRITERS[name]
            if name in self._writing and getattr(base.data, setting.removeprefix("data.")) is not None:
                yield self._written(name, "experiment")
            if name in self._writing and setting in self._search:
                yield self._written(name, "search")
            finished = self._finished.get(name)
            found, wanted = finished.data.languages if finished else None, base.data.languages
            if name == "reverse_teacher" and wanted:
                wanted = (wanted[1], wanted[0])
            if found and wanted and found != wanted:
                text = "a reverse teacher translates" if name == "reverse_teacher" else "the text is"
                yield (
                    f"{name}.model: translates {'-'.join(found)}, but {text} {'-'.join(wanted)}; "
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

    def of_stages(self, data: DataConfig, settings: Settings, where: str) -> Iterator[str]:
        """Yields the texts of a trial's stages that neither a file has nor a model of the study writes.

        Args:
            data: of the trial.
            settings: all settings of the trial and of its column, which may set texts to null.
            where: the trial's path in the file.
        """
        for text in dict.fromkeys(data.texts) if data.stages else ():
            for name in TEXT_FILES[text]:
                setting = f"data.{name}"
                if getattr(data, name) is not None:
                    continue
                part = _WRITER_OF[setting]
                if part not in self._writing:
                    yield f"{where}.{STAGES}: {text} needs {setting}; add {part} to the study, or drop this stage."
                elif self._is_nulled(setting, settings):
                    null = f"{setting}, which is set to null"
                    yield f"{where}.{STAGES}: {text} needs {null}; add {STAGES}: [], or drop this stage."

    def uses_texts(self, settings: Settings) -> bool:
        """Returns whether the settings of a trial choose its training text."""
        return any(setting in settings for setting in (STAGES, *WRITERS.values()))

    def checkable(self, data: DataConfig) -> DataConfig:
        """Returns the data without stages whose text does not exist yet."""
        missing = [name for text in data.texts for name in TEXT_FILES[text] if getattr(data, name) is None]
        return data.model_copy(update={"stages": ()}) if data.stages and missing else data

    def _of_model_settings(self, settings: Settings, where: str) -> Iterator[str]:
        if STAGES in settings:
            yield f"{where}.{STAGES}: these models are trained on the corpus's own text; drop it."
        reverse = self._parts.get("reverse_teacher")
        if reverse is None or "data.train" not in settings:
            return
        if where == "reverse_teacher.settings":
            yield f"{where}.data.train: the reverse teacher is trained on the experiment's training text; drop it."
        elif where == "teacher.settings" and reverse.settings is None and not reverse.model:
            yield (
                f"{where}.data.train: has the wrong direction for the reverse teacher, which has the same settings; "
                "give reverse_teacher.settings."
            )

    def _is_nulled(self, setting: str, settings: Settings) -> bool:
        """Returns whether a trial sets a text to null. The text of a reverse teacher is only used with that of the teacher."""
        return any(settings.get(name, "") is None for name in (setting, *([DISTILLED] if setting == REVERSE_DISTILLED else [])))

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
        other = "the corpus's own targets" if WRITERS[name] in (DISTILLED, REJUVENATED) else "no reverse text"
        return f"{where}.{WRITERS[name]}: is what {_PARTS[name].writes}; a baseline may say null, for {other}."
