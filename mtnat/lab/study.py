"""The study file: read once, checked whole, before anything starts."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, TypeAdapter, ValidationError, model_validator

import mtnat.data
from mtnat.config import Record, build, leaf_types, nearest, read_yaml, replace
from mtnat.errors import ConfigError, UserError
from mtnat.experiment import Experiment
from mtnat.lab.space import Space, parse_space, path_problem

Settings = dict[str, Any]
"""Values by dotted path."""

LEAVES = tuple(leaf_types(Experiment))
FIXED = {
    "seed": "is set by confirm.seeds; drop it here.",
    **dict.fromkeys(
        ("data.corpus", "data.corpus_seed", "data.corpus_size", "data.valid", "data.test"),
        "all trials of a study are scored on the same text; set it under experiment.",
    ),
}
"""What no trial may change, and why."""
PROPOSAL_NAME = "trial-{:02d}"
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


class Study(Record):
    """One question, and all that is run to answer it."""

    question: str = Field(min_length=1)
    """What the study is to find out, in a sentence."""
    experiment: Experiment
    """The settings that all trials share."""
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
    resources: Resources = Resources()

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
        self.baselines: dict[str, Settings] = parts.get("baselines") or {}
        self.trials: int | None = parts.get("trials", 0)
        self.confirm: Confirm | None = parts.get("confirm")
        self.resources: Resources = parts.get("resources") or Resources()
        search = data.get("search")
        self.search: dict[str, Any] = search if isinstance(search, dict) else {}
        self.space, self.space_problems = parse_space(self.search, LEAVES, FIXED)

    def problems(self) -> list[str]:
        found = [*self.space_problems, *self._plan(), *self._baseline_names()]
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
        if self.confirm and self.search and self.trials is not None and self.confirm.top > self.trials:
            yield f"confirm.top: must not exceed trials; got {self.confirm.top} and {self.trials}."
        if self.confirm and self.confirm.against not in self.baselines:
            hint = nearest(self.confirm.against, self.baselines) or f"; baselines: {', '.join(self.baselines) or 'none'}."
            yield f"confirm.against: '{self.confirm.against}' is no baseline{hint}"

    def _baseline_names(self) -> Iterator[str]:
        taken: dict[str, str] = {
            slug(PROPOSAL_NAME.format(number)): "a proposal" for number in range(1, (self.trials or 0) + 1)
        }
        for name in self.baselines:
            if slug(name) in taken:
                yield f"baselines.{name}: its folder would be that of {taken[slug(name)]}; choose another name."
            taken[slug(name)] = name

    def _experiments(self, found: list[str]) -> Iterator[Experiment]:
        """Every experiment whose fitness speaks for all that the study can run; what does not build is added to ``found``."""
        if self.experiment is None:
            for name, settings in self.baselines.items():
                found += self._paths(settings, f"baselines.{name}")
            return
        yield self.experiment
        for name, settings in self.baselines.items():
            where = f"baselines.{name}"
            if paths := self._paths(settings, where):
                found += paths
            elif experiment := self._built(settings, where, found):
                yield experiment
        if not self.space_problems:
            yield from self._corners(found)

    def _corners(self, found: list[str]) -> Iterator[Experiment]:
        """The search's extremes, as far as they build; what both ends of a range have in common is said once."""
        said: set[tuple[str, str]] = set()
        for search, settings in self.space.corners():
            problems: list[str] = []
            if experiment := self._built(settings, "", problems):
                yield experiment
            for problem in problems:
                if (search.path, problem) not in said:
                    found.append(f"search.{search.path} = {settings[search.path]}{problem}")
                said.add((search.path, problem))

    def _paths(self, settings: Settings, where: str) -> list[str]:
        return [problem for path in settings if (problem := path_problem(path, LEAVES, FIXED, where))]

    def _built(self, settings: Settings, where: str, found: list[str]) -> Experiment | None:
        assert self.experiment is not None
        experiment, problems = self.experiment, list[str]()
        built = _attempt(problems, lambda: replace(experiment, settings))
        found += [f"{where}: {problem}" for problem in problems]
        return built

    def _sharing(self, experiment: Experiment) -> Iterator[str]:
        """Workers share a step's batches evenly."""
        batches, workers = experiment.training.batches_per_step, self.resources.workers
        if batches % workers:
            yield f"experiment.training.batches_per_step: must be a multiple of resources.workers; got {batches} and {workers}."


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
