"""The study file: read once, checked whole, before anything starts."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

import mtnat.data
from mtnat.config import Record, build, leaf_types, nearest, read_yaml, replace
from mtnat.errors import ConfigError, UserError
from mtnat.experiment import Experiment
from mtnat.lab.space import Space, parse_space, path_problem
from mtnat.model import Precision
from mtnat.training import Model, load_model

Settings = dict[str, Any]
"""Values by dotted path."""

LEAVES = tuple(leaf_types(Experiment))
FIXED_IN_COLUMNS = {"seed": "is set by confirm.seeds; drop it here."}
FIXED = {
    **FIXED_IN_COLUMNS,
    **dict.fromkeys(
        ("data.corpus", "data.corpus_seed", "data.corpus_size", "data.valid", "data.test"),
        "all trials of a study are scored on the same text; set it under experiment, or under columns.",
    ),
}
"""What no column, and no trial, may change, and why."""
DISTILLED = "data.distilled"
_WRITTEN = "is what the teacher writes; a baseline may say null, for the corpus's own targets."
PROPOSAL_NAME, TEACHER_NAME = "trial-{:02d}", "teacher"
Result = TypeVar("Result")


class Confirm(Record):
    """The phase in which the best proposals and all baselines are trained with several seeds and scored on the test set."""

    top: int = Field(1, ge=0)
    """How many proposals are confirmed, the best by the metric."""
    seeds: tuple[int, ...] = Field(min_length=1, strict=False)
    """One run each; the search's own seed, if among them, is not trained twice."""
    against: str
    """The baseline with which all others are compared."""

    @model_validator(mode="after")
    def _seeds_differ(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must differ; got {list(self.seeds)}")
        if any(not 0 <= seed < 2**31 for seed in self.seeds):
            raise ValueError(f"seeds must be from 0 to 2147483647; got {list(self.seeds)}")
        return self


class Resources(Record):
    """What one run takes; as many run side by side as the machine holds."""

    workers: int = Field(1, ge=1)
    """Processes that share each step's batches; more than one are Ray Train workers."""
    cpus_per_worker: int = Field(1, ge=1)
    """Cores, and PyTorch threads, of a worker."""
    gpus_per_worker: float = Field(0, ge=0)
    """GPUs of a worker; a fraction lets several runs share one."""

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        if self.workers > 1 and self.gpus_per_worker % 1:
            raise ValueError(f"gpus_per_worker must be whole where workers are several; got {self.gpus_per_worker}")
        return self


class Teacher(Record):
    """Who writes the training targets of all trials but those that set ``data.distilled: null``: sequence-level distillation
    (Kim and Rush 2016). Validation and test text stay as they are."""

    settings: Settings = Field(default_factory=dict)
    """In which the teacher's experiment differs from `experiment`; it must train an AT decoder."""
    model: str | None = None
    """A finished model instead of one trained here: a folder, or MLflow's ``runs:/…`` or ``models:/…``."""
    beam: int = Field(5, ge=1, le=1_000)
    """Beam of the search by which it translates the training text."""
    length_penalty: float = Field(1.0, ge=0, le=5)
    """As `decoding.length_penalty`, of that search."""
    precision: Precision = "fp32"
    """As `decoding.precision`, of that search; auto is several times as fast where the processor has bf16."""

    @model_validator(mode="after")
    def _one_teacher(self) -> Self:
        if self.model and self.settings:
            raise ValueError(f"takes either settings to train with or a finished model; got both, model: {self.model}")
        return self


class Published(Record):
    """Figures that others have printed, shown in grey beside this study's own; they are compared with nothing."""

    source: str = Field(min_length=1)
    """Where they are from and what they measure, such as "Hao et al. 2021, Table 2: WMT14, tokenized BLEU"."""
    bleu: dict[str, dict[str, float]]
    """By baseline, then by column."""


class Study(Record):
    """One question, and all that is run to answer it."""

    question: str = Field(min_length=1)
    """What the study is to find out, in a sentence."""
    experiment: Experiment
    """The settings that all trials share."""
    columns: dict[str, Settings] = Field(default_factory=dict)
    """Named settings, such as corpora or directions, over which all of the study is repeated; each is a column of its table."""
    teacher: Teacher | None = None
    """Leave it out to train on the corpus's own targets."""
    baselines: dict[str, Settings] = Field(default_factory=dict)
    """Named trials that always run and are always in the leaderboard: the settings in which each differs."""
    search: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Leaves that Optuna varies: ``path: {float: [low, high]}``, ``{int: [low, high]}`` or ``{choice: […]}``."""
    trials: int = Field(0, ge=0)
    """Proposals, besides the baselines."""
    metric: Literal["valid.bleu"] = "valid.bleu"
    """What the search maximises; test sets are never searched on."""
    confirm: Confirm | None = None
    """Leave it out for a search only, whose leaderboard shows the validation metric."""
    published: Published | None = None
    """For the table of a study with columns."""
    resources: Resources = Resources()

    @property
    def parts(self) -> "dict[str, Study]":
        """The study of each column; of one without columns, itself under no name."""
        if not self.columns:
            return {"": self}
        return {
            name: self.model_copy(update={"experiment": replace(self.experiment, settings), "columns": {}, "published": None})
            for name, settings in self.columns.items()
        }

    @property
    def space(self) -> Space:
        """The parsed search."""
        return parse_space(self.search, LEAVES, FIXED)[0]


def read_study(path: Path, cpus: float | None = None, gpus: float | None = None) -> Study:
    """The study in a file.

    Args:
        cpus, gpus: what this machine has; None where another one will run it.

    Raises:
        UserError: with every problem of the file, of its corpora and of this machine's cores.
    """
    data = read_yaml(path)
    problems: list[str] = []
    study = _attempt(problems, lambda: build(Study, data))
    check = _Check(data)
    problems += check.problems()
    if cpus is not None and gpus is not None:
        problems += resource_problems(check.resources, cpus, gpus)
    if study is None or problems:
        raise ConfigError(dict.fromkeys(problems))
    return study


def resource_problems(resources: Resources, cpus: float, gpus: float) -> Iterator[str]:
    """What a run asks for beyond what there is."""
    wanted = resources.workers * resources.cpus_per_worker
    if wanted > cpus:
        yield (
            f"resources: {resources.workers} workers × {resources.cpus_per_worker} cores are {wanted}, "
            f"but there are {cpus:g}; lower workers or cpus_per_worker."
        )
    if resources.workers * resources.gpus_per_worker > gpus:
        yield (
            f"resources: {resources.workers} workers × {resources.gpus_per_worker:g} GPUs are "
            f"{resources.workers * resources.gpus_per_worker:g}, but there are {gpus:g}; lower gpus_per_worker."
        )


def slug(name: str) -> str:
    """A trial's name as a folder's name."""
    return re.sub(r"[^\w]+", "-", name.lower()).strip("-") or "unnamed"


class _Check:
    """What goes beyond types, looked at in whichever parts of the file are right by themselves."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        parts = {name: _salvage(field.annotation, data[name]) for name, field in Study.model_fields.items() if name in data}
        self.experiment: Experiment | None = parts.get("experiment")
        self.columns: dict[str, Settings] = parts.get("columns") or {}
        self.teacher: Teacher | None = parts.get("teacher")
        self.finished_teacher: Model | None = None
        self.published: Published | None = parts.get("published")
        self.baselines: dict[str, Settings] = parts.get("baselines") or {}
        self.trials: int | None = parts.get("trials", 0)
        self.confirm: Confirm | None = parts.get("confirm")
        self.resources: Resources = parts.get("resources") or Resources()
        search = data.get("search")
        self.search: dict[str, Any] = search if isinstance(search, dict) else {}
        self.space, self.space_problems = parse_space(self.search, LEAVES, FIXED)

    def problems(self) -> list[str]:
        found = [*self.space_problems, *self._plan(), *self._names(), *self._published()]
        experiments = list(self._experiments(found))
        for experiment in experiments:
            found += self._sharing(experiment)
        for data in dict.fromkeys(experiment.data for experiment in experiments):
            found += mtnat.data.check(data)
        return found

    def _plan(self) -> Iterator[str]:
        """Numbers and names that must fit each other."""
        if not self.baselines and not self.search:
            yield "baselines: there is nothing to run; name a baseline, or a search and trials."
        if self.search and self.trials == 0:
            yield "trials: must be at least 1 where something is searched; got 0."
        if self.trials and not self.search:
            yield f"search: names nothing to vary in {self.trials} trials; add a leaf or drop trials."
        if self.teacher and (model := self.teacher.model) and not model.startswith(("runs:/", "models:/")):
            problems: list[str] = []
            self.finished_teacher = _attempt(problems, lambda: load_model(model))
            yield from (f"teacher.model: {problem}" for problem in problems)
            if self.finished_teacher and not self.finished_teacher.experiment.objective.trains_at:
                yield f"teacher.model: {model} has no AT decoder, which a teacher translates with; give one that has."
        if self.confirm and self.search and self.trials is not None and self.confirm.top > self.trials:
            yield f"confirm.top: must not exceed trials; got {self.confirm.top} and {self.trials}."
        if self.confirm and self.confirm.against not in self.baselines:
            hint = nearest(self.confirm.against, self.baselines) or f"; baselines: {', '.join(self.baselines) or 'none'}."
            yield f"confirm.against: '{self.confirm.against}' is no baseline{hint}"

    def _names(self) -> Iterator[str]:
        taken = {slug(PROPOSAL_NAME.format(number)): "a proposal" for number in range(1, (self.trials or 0) + 1)}
        if self.teacher:
            taken[slug(TEACHER_NAME)] = "the teacher"
        yield from _clashes("baselines", self.baselines, taken)
        yield from _clashes("columns", self.columns, {"runs": "the runs", "best": "the best model"})

    def _published(self) -> Iterator[str]:
        """Figures must have a place in the table."""
        if self.published and not self.columns:
            yield "published: is shown in the table of a study with columns; add columns, or drop it."
        elif self.published:
            for name, figures in self.published.bleu.items():
                if name not in self.baselines:
                    hint = nearest(name, self.baselines) or f"; baselines: {', '.join(self.baselines) or 'none'}."
                    yield f"published.bleu.{name}: is no baseline{hint}"
                for column in figures:
                    if column not in self.columns:
                        hint = nearest(column, self.columns) or f"; columns: {', '.join(self.columns)}."
                        yield f"published.bleu.{name}.{column}: is no column{hint}"

    def _experiments(self, found: list[str]) -> Iterator[Experiment]:
        """Every experiment whose fitness speaks for all that the study can run; what does not build is added to ``found``."""
        settings_by_place = {f"baselines.{name}": settings for name, settings in self.baselines.items()}
        if self.teacher:
            settings_by_place["teacher.settings"] = self.teacher.settings
        astray = {where: self._paths(settings, where) for where, settings in settings_by_place.items()}
        for problems in astray.values():
            found += problems
        for base in self._bases(found):
            yield base
            if self.teacher:
                found += self._taught(base)
            for where, settings in settings_by_place.items():
                if astray[where] or (where == "teacher.settings" and self.teacher and self.teacher.model):
                    continue
                if experiment := self._built(base, settings, where, found):
                    yield experiment
                    if where == "teacher.settings" and not experiment.objective.trains_at:
                        found.append(
                            f"{where}: must train an AT decoder, which a teacher translates with; "
                            "add objective.schedule: {kind: constant, value: 0.0}."
                        )
            if not self.space_problems:
                yield from self._corners(base, found)

    def _bases(self, found: list[str]) -> Iterator[Experiment]:
        """What the trials' settings are laid over: the experiment, or that of each column."""
        for name, settings in self.columns.items():
            where = f"columns.{name}"
            if paths := [problem for path in settings if (problem := path_problem(path, LEAVES, FIXED_IN_COLUMNS, where))]:
                found += paths
            elif self.experiment and (experiment := self._built(self.experiment, settings, where, found)):
                yield experiment
        if self.experiment and not self.columns:
            yield self.experiment

    def _taught(self, base: Experiment) -> Iterator[str]:
        """What keeps a teacher from writing this experiment's text."""
        assert self.teacher is not None
        if base.data.distilled is not None:
            yield f"experiment.{DISTILLED}: {_WRITTEN}"
        if DISTILLED in self.search:
            yield f"search.{DISTILLED}: {_WRITTEN}"
        if self.finished_teacher:
            pairs = [each.languages for each in (self.finished_teacher.experiment.data, base.data)]
            if None not in pairs and pairs[0] != pairs[1]:
                teaches, wanted = ("-".join(pair) for pair in pairs if pair)
                yield f"teacher.model: translates {teaches}, but the text is {wanted}; train the teacher here, by settings."

    def _corners(self, base: Experiment, found: list[str]) -> Iterator[Experiment]:
        """The search's extremes, as far as they build; what both ends of a range have in common is said once."""
        said: set[tuple[str, str]] = set()
        for search, settings in self.space.corners():
            problems: list[str] = []
            if experiment := self._built(base, settings, "", problems):
                yield experiment
            for problem in problems:
                if (search.path, problem) not in said:
                    found.append(f"search.{search.path} = {settings[search.path]}{problem}")
                said.add((search.path, problem))

    def _paths(self, settings: Settings, where: str) -> list[str]:
        found = [problem for path in settings if (problem := path_problem(path, LEAVES, FIXED, where))]
        if self.teacher and settings.get(DISTILLED) is not None:
            found.append(f"{where}.{DISTILLED}: {_WRITTEN}")
        if self.teacher and "data.train" in settings and DISTILLED not in settings:
            found.append(
                f"{where}.data.train: the teacher translates the experiment's training text; add {DISTILLED}: null, or drop it."
            )
        return found

    def _built(self, base: Experiment, settings: Settings, where: str, found: list[str]) -> Experiment | None:
        problems = list[str]()
        built = _attempt(problems, lambda: replace(base, settings))
        found += [f"{where}: {problem}" for problem in problems]
        return built

    def _sharing(self, experiment: Experiment) -> Iterator[str]:
        """Workers share a step's batches evenly."""
        batches, workers = experiment.training.batches_per_step, self.resources.workers
        if batches % workers:
            yield f"experiment.training.batches_per_step: must be a multiple of resources.workers; got {batches} and {workers}."


def _clashes(where: str, names: Iterable[str], taken: dict[str, str]) -> Iterator[str]:
    """Names whose folders would be the same as those of others, or as `taken` ones."""
    for name in names:
        if slug(name) in taken:
            yield f"{where}.{name}: its folder would be that of {taken[slug(name)]}; choose another name."
        taken[slug(name)] = name


def _attempt(problems: list[str], make: Callable[[], Result]) -> Result | None:
    """What ``make`` returns; None, and its problems added, where it raises a UserError."""
    try:
        return make()
    except UserError as error:
        problems += error.problems
        return None


def _salvage(annotation: Any, data: object) -> Any:
    """One part of the file where it is right by itself, else None."""
    try:
        return TypeAdapter(annotation).validate_python(data)
    except ValidationError:
        return None


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
