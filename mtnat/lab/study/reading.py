"""Reads the study file and checks all of it before anything starts."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

import mtnat.data
from mtnat.analysis.probing import check_packages, read_tasks
from mtnat.config import Document, build, nearest, read_yaml, replace
from mtnat.data.config import DataConfig
from mtnat.data.corpus import data_root, open_raw_corpus
from mtnat.data.dataset import default_cache
from mtnat.errors import ConfigError, UserError
from mtnat.experiment import Experiment
from mtnat.lab.study.analysing import Analysis
from mtnat.lab.study.record import (
    FIXED,
    FIXED_IN_COLUMNS,
    LEAVES,
    STAGES,
    Confirm,
    Published,
    Settings,
    Study,
    Teacher,
    is_proposal,
    slug,
)
from mtnat.lab.study.resources import Machine, Resources, resource_problems
from mtnat.lab.study.search_checks import SearchChecks
from mtnat.lab.study.searching import Budget, Sampler, compressed
from mtnat.lab.study.space_reading import parse_space, path_problem
from mtnat.lab.study.text_checks import TextChecks
from mtnat.training import read_experiment
from mtnat.training.teacher import MISSING as MISSING_TEACHER

Result = TypeVar("Result")
_Origin = tuple[tuple[str, ...], ...]
"""Where the settings of an experiment stand in the file, as names from its root, the ones that count first."""
_EXPERIMENT: _Origin = (("experiment",),)


def read_study(path: Path, cpus: float | None = None, gpus: float | None = None, *, is_begun: bool = False) -> Study:
    """Returns the study in a file.

    Args:
        cpus, gpus: resources of this machine; None if the study runs on another one.
        is_begun: whether the study is to be continued. Its confirm seeds are not checked, because they cannot change any more.

    Raises:
        UserError: with every problem of the file, of its corpora and of the machine's resources.
    """
    data = read_yaml(path)
    problems: list[str] = []
    study = _attempt(problems, lambda: build(Study, data))
    check = _Check(data, is_begun=is_begun)
    problems += check.problems()
    if cpus is not None and gpus is not None:
        problems += map(data.told, resource_problems(check.resources, [Machine(cpus, gpus)]))
    if study is None or problems:
        raise ConfigError(dict.fromkeys(problems))
    return study


class _Check:
    """Checks that go beyond types. A part of the file that is not valid by itself is left out, so that the others are still
    checked."""

    def __init__(self, data: Document, *, is_begun: bool) -> None:
        self.given, self.is_begun = data, is_begun
        parts = {name: _salvage(field.annotation, data[name]) for name, field in Study.model_fields.items() if name in data}
        self.experiment: Experiment | None = parts.get("experiment")
        self.columns: dict[str, Settings] = parts.get("columns") or {}
        self.published: Published | None = parts.get("published")
        self.analysis: Analysis | None = parts.get("analysis")
        self.baselines: dict[str, Settings] = parts.get("baselines") or {}
        self.confirm: Confirm | None = parts.get("confirm")
        self.resources: Resources = parts.get("resources") or Resources()
        search = data.get("search")
        self.search: dict[str, Any] = {}
        if isinstance(search, dict):
            self.search = {path: text for path, text in search.items() if isinstance(path, str)}
        self.teacher: Teacher | None = parts.get("teacher")
        self.texts = TextChecks(
            teacher=self.teacher,
            reverse_teacher=parts.get("reverse_teacher"),
            rejuvenation=parts.get("rejuvenation"),
            search=self.search,
        )
        self.space, self.space_problems = parse_space(self.search, LEAVES, FIXED)
        self.search_checks = SearchChecks(
            given=data,
            experiments=[base for _, base in self._bases([])],
            baselines=self.baselines,
            space=None if self.space_problems else self.space,
            trials=parts.get("trials", 0),
            sampler=parts.get("sampler") or Sampler(),
            metrics=parts.get("metrics"),
            pruner=parts.get("pruner"),
            horizon=parts.get("horizon"),
            budget=parts.get("budget") or Budget(),
            warm_start=parts.get("warm_start") or (),
            keep_models=parts.get("keep_models"),
            confirm=self.confirm,
            resources=self.resources,
        )

    def problems(self) -> list[str]:
        """Returns every problem, with its line."""
        found = [*self.space_problems, *self.search_checks.problems(), *self._confirm(), *self._names(), *self._published()]
        found += self._analysis()
        found += self.texts.problems
        experiments = list(self._experiments(found))
        texts: dict[DataConfig, _Origin] = {}
        unfit: dict[str, _Origin] = {}
        for origin, experiment in experiments:
            found += self._sharing(experiment)
            found += self._rungs(experiment)
            unfit |= {problem: unfit.get(problem, origin) for problem in self._frozen_teacher(experiment)}
            texts.setdefault(self.texts.checkable(experiment.data), origin)
        located = [self.given.told(problem) for problem in found]
        for data, origin in texts.items():
            located += (self.given.told(problem, origin) for problem in mtnat.data.check(data))
        located += (self.given.told(problem, _EXPERIMENT) for problem in self._files_of_invalid_experiment())
        return [*located, *(self.given.told(problem, origin) for problem, origin in unfit.items())]

    def _files_of_invalid_experiment(self) -> Iterator[str]:
        """If an experiment has problems elsewhere, its missing files are reported with them."""
        given = self.given.get("experiment")
        if self.experiment is None and isinstance(given, dict) and (data := _salvage(DataConfig, given.get("data"))):
            yield from open_raw_corpus(data, default_cache()).problems()

    def _confirm(self) -> Iterator[str]:
        if self.confirm and self.confirm.against not in self.baselines:
            hint = nearest(self.confirm.against, self.baselines) or f"; baselines: {', '.join(self.baselines) or 'none'}."
            yield f"confirm.against: '{self.confirm.against}' is no baseline{hint}"
        if self.confirm and self.confirm.top and self.search and self.experiment and not self.is_begun:
            searched, seeds = self.experiment.seed, self.confirm.seeds
            if searched in seeds:
                others = [seed for seed in range(1, len(seeds) + 2) if seed != searched][: len(seeds)]
                yield (
                    f"confirm.seeds: contains {searched}, the seed of the search (experiment.seed), whose scores choose the "
                    f"proposals; give other seeds, such as {others}."
                )

    def _names(self) -> Iterator[str]:
        most = self.search_checks.most_proposals
        taken = {name: "a proposal" for name in map(slug, self.baselines) if is_proposal(name, most)}
        taken |= {slug(name): described for name, described in self.texts.names.items()}
        yield from _clashes("baselines", self.baselines, taken)
        yield from _clashes("columns", self.columns, {"runs": "the runs", "best": "the best model"})

    def _published(self) -> Iterator[str]:
        """Every published figure must belong to a baseline and a column."""
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

    def _analysis(self) -> Iterator[str]:
        """The encoders of confirmed runs are analysed, at steps that all of them reach, with files that can be read."""
        analysis = self.analysis
        if analysis is None:
            return
        if self.given.get("confirm") is None:
            yield "analysis: is of the models of the confirm phase; add confirm, or drop it."
        for name in analysis.similarity.against if analysis.similarity else ():
            if name not in self.baselines:
                hint = nearest(name, self.baselines) or f"; baselines: {', '.join(self.baselines) or 'none'}."
                yield f"analysis.similarity.against: '{name}' is no baseline{hint}"
        if analysis.every and self.experiment and analysis.every > self.experiment.training.steps:
            steps = self.experiment.training.steps
            yield f"analysis.every: must be at most training.steps, {steps}; got {analysis.every}."
        if analysis.probing:
            try:
                check_packages()
                if analysis.probing.tasks is not None:
                    read_tasks(data_root() / analysis.probing.tasks)
            except UserError as error:
                yield from (f"analysis.probing: {problem}" for problem in error.problems)

    def _experiments(self, found: list[str]) -> Iterator[tuple[_Origin, Experiment]]:
        """Yields the experiments that stand for all that the study can run, each with the place of its settings in the file;
        adds the problems of invalid ones to ``found``."""
        baselines = {f"baselines.{name}": settings for name, settings in self.baselines.items()}
        models = self.texts.trained
        astray = {where: self._paths(settings, where) for where, settings in {**baselines, **models}.items()}
        found += chain.from_iterable(astray.values())
        for origin, base in self._bases(found):
            yield origin, base
            place = ".".join(origin[0])
            column = self.columns.get(origin[0][-1], {}) if len(origin) > 1 else {}
            found += self.texts.of_stages(base.data, column, place)
            for where, settings in baselines.items():
                if not astray[where] and (experiment := self._built(base, settings, where, found)):
                    yield (tuple(where.split(".", 1)), *origin), experiment
                    if self.texts.uses_texts(settings):
                        found += self.texts.of_stages(experiment.data, {**column, **settings}, where)
            found += self.texts.of_experiment(base)
            for where, settings in models.items():
                if not astray[where] and (experiment := self._built(base, settings, where, found)):
                    yield (tuple(where.split(".", 1)), *origin), experiment
                    found += self.texts.of_model(where, experiment)
            if not self.space_problems:
                for experiment in self._corners(base, found):
                    yield (("search",), *origin), experiment
                    if STAGES in self.search:
                        found += self.texts.of_stages(experiment.data, column, "search")

    def _bases(self, found: list[str]) -> Iterator[tuple[_Origin, Experiment]]:
        """Yields the experiments that the trials' settings change: the study's experiment, or that of each column."""
        for name, settings in self.columns.items():
            where = f"columns.{name}"
            if paths := [problem for path in settings if (problem := path_problem(path, LEAVES, FIXED_IN_COLUMNS, where))]:
                found += paths
            elif self.experiment and (experiment := self._built(self.experiment, settings, where, found)):
                yield (("columns", name), *_EXPERIMENT), experiment
        if self.experiment and not self.columns:
            yield _EXPERIMENT, self.experiment

    def _corners(self, base: Experiment, found: list[str]) -> Iterator[Experiment]:
        """Yields the valid experiments at the extremes of the search; a problem of both ends of a range is added once."""
        said: set[tuple[str, str]] = set()
        for dimension, settings in self.space.corners():
            problems: list[str] = []
            if experiment := self._built(base, settings, "", problems):
                yield experiment
            for problem in problems:
                if (dimension.path, problem) not in said:
                    found.append(f"search.{dimension.path} = {settings[dimension.path]}{problem}")
                said.add((dimension.path, problem))

    def _paths(self, settings: Settings, where: str) -> list[str]:
        found = [problem for path in settings if (problem := path_problem(path, LEAVES, FIXED, where))]
        return [*found, *self.texts.of_settings(settings, where)]

    def _built(self, base: Experiment, settings: Settings, where: str, found: list[str]) -> Experiment | None:
        problems = list[str]()
        built = _attempt(problems, lambda: replace(base, settings))
        found += [f"{where}: {problem}" for problem in problems]
        return built

    def _rungs(self, experiment: Experiment) -> Iterator[str]:
        """The experiment must stay valid when a horizon compresses it to its rungs."""
        for steps in self.search_checks.horizon.steps[:-1] if self.search_checks.horizon else ():
            rung = _attempt([], partial(compressed, experiment, steps))
            if rung is None or (experiment.training.warmup_steps and not rung.training.warmup_steps):
                share = f"its share of {experiment.training.warmup_steps} warm-up steps"
                if rung is None and experiment.data.stages:
                    share = "a step of each of its stages"
                yield f"horizon.steps: a rung of {steps} has no room for {share}; begin with a longer one."

    def _sharing(self, experiment: Experiment) -> Iterator[str]:
        """The batches of a step must divide evenly among the workers; yields the least number for which they do not."""
        batches, resources = experiment.training.batches_per_step, self.resources
        for workers in range(resources.least_workers, resources.most_workers + 1):
            if batches % workers:
                yield (
                    "experiment.training.batches_per_step: must be a multiple of resources.workers; "
                    f"got {batches} and {workers}."
                )
                return

    def _frozen_teacher(self, experiment: Experiment) -> Iterator[str]:
        """A system that reads a teacher in training needs one of its own or that of the study."""
        if not experiment.reads_teacher:
            return
        if folder := experiment.system.teacher_folder:
            problems = list[str]()
            teacher = _attempt(problems, lambda: read_experiment(Path(folder)))
            yield from (f"system.teacher: {problem}" for problem in problems)
            if teacher and not teacher.can_teach:
                yield f"system.teacher: {folder} has no AT decoder; give a model that was trained with one."
        elif not self.teacher:
            yield MISSING_TEACHER


def _clashes(where: str, names: Iterable[str], taken: dict[str, str]) -> Iterator[str]:
    """Yields a problem for each name whose folder is that of another name or of a ``taken`` one."""
    for name in names:
        if slug(name) in taken:
            yield f"{where}.{name}: its folder would be that of {taken[slug(name)]}; choose another name."
        taken[slug(name)] = name


def _attempt(problems: list[str], make: Callable[[], Result]) -> Result | None:
    """Returns the result of ``make``; if it raises a UserError, adds its problems and returns None."""
    try:
        return make()
    except UserError as error:
        problems += error.problems
        return None


def _salvage(annotation: Any, data: object) -> Any:
    """Returns one part of the file, or None if it is not valid by itself."""
    try:
        return TypeAdapter(annotation).validate_python(data)
    except ValidationError:
        return None
