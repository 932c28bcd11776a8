"""Checks of the search settings of a study file that go beyond types."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtnat.config import nearest
from mtnat.errors import ConfigError
from mtnat.experiment import Experiment
from mtnat.formats import STUDY_FORMAT, check_format
from mtnat.lab.study.record import STEPS, Confirm, Settings
from mtnat.lab.study.resources import Resources
from mtnat.lab.study.searching import METRICS, MOST_ON_GRID, Budget, Direction, Horizon, Pruner, Sampler
from mtnat.lab.study.space import Space

_IN_THE_LOSS = ("objective.label_smoothing", "objective.length_weight")
"""Settings of the objective that change the validation loss of the same model."""
_MANY = 1_000
"""Proposals that a study may have if only its budget ends the search."""


@dataclass(frozen=True)
class SearchChecks:
    """The search settings of a study file, each as far as it is valid by itself."""

    given: Mapping[str, Any]
    """The content of the file."""
    experiments: Sequence[Experiment]
    """The study's experiment, or that of each column."""
    baselines: Mapping[str, Settings]
    space: Space | None
    """None if the search is not valid."""
    trials: int | None
    sampler: Sampler
    metrics: Sequence[Mapping[str, Direction]] | None
    pruner: Pruner | None
    horizon: Horizon | None
    budget: Budget
    warm_start: Sequence[str]
    keep_models: int | None
    """None if the file does not set it."""
    confirm: Confirm | None
    resources: Resources

    @property
    def searches(self) -> bool:
        return bool(self.given.get("search"))

    @property
    def proposals(self) -> int | None:
        """The number of proposals; None if it is not known."""
        if self.trials is None or (self.sampler.kind == "grid" and self.space is None):
            return None
        if self.sampler.kind == "grid" and self.searches and self.space and not list(self._grid()):
            size = self.space.grid_size(MOST_ON_GRID)
            return min(self.budget.trials or self.trials or size, size)
        return self.budget.trials or self.trials

    @property
    def most_proposals(self) -> int:
        """The number of proposals whose names are reserved."""
        return self.proposals or (_MANY if self.searches else 0)

    def problems(self) -> Iterator[str]:
        yield from self._amount()
        if self.searches and self.space:
            yield from self._sampler()
        yield from self._metrics()
        yield from self._loss()
        yield from self._pruner()
        yield from self._horizon()
        yield from self._best()
        yield from self._warm_start()

    def _amount(self) -> Iterator[str]:
        """Baselines, trials and budget must fit together, and there must be something to run."""
        if not self.baselines and not self.searches:
            yield "baselines: there is nothing to run; name a baseline, or a search and trials."
        if self.trials and self.budget.trials:
            yield f"trials: is given here and as budget.trials; got {self.trials} and {self.budget.trials}; drop one of them."
        if self.searches and self.trials == 0 and self.budget == Budget() and self.sampler.kind != "grid":
            yield "trials: must be at least 1 where something is searched; got 0."
        if not self.searches:
            if wanted := self.budget.trials or self.trials:
                yield f"search: names nothing to vary in {wanted} trials; add a leaf or drop trials."
            for part in ("pruner", "horizon"):
                if self.given.get(part) is not None:
                    yield f"{part}: chooses among proposals, but nothing is searched; add a search, or drop it."
            if self.budget.hours or self.budget.gpu_hours:
                yield "budget: ends a search, but nothing is searched; add a search, or drop it."
        if self.budget.gpu_hours and not self.resources.gpus_per_worker:
            yield (
                f"budget.gpu_hours: would never be used up, since resources.gpus_per_worker is 0; "
                f"got {self.budget.gpu_hours:g}; set budget.hours instead."
            )

    def _sampler(self) -> Iterator[str]:
        assert self.space is not None
        if self.sampler.kind == "cmaes":
            if not any(dimension.kind != "choice" and not dimension.when for dimension in self.space.dimensions):
                yield (
                    "sampler.kind: cmaes learns from numbers, but no float or int without `when` is searched; "
                    "search one, or choose tpe."
                )
            if self.metrics:
                yield "sampler.kind: cmaes knows one metric only; choose tpe, gp or qmc for several."
        if self.sampler.kind == "grid":
            problems = list(self._grid())
            yield from problems
            if not problems and not (self.trials or self.budget.trials) and self.proposals == MOST_ON_GRID:
                yield (
                    f"trials: the grid has {MOST_ON_GRID} combinations or more; say how many of them to run, the first ones, "
                    "or search less."
                )

    def _grid(self) -> Iterator[str]:
        for dimension in self.space.dimensions if self.space else ():
            if not dimension.is_discrete:
                yield (
                    f"search.{dimension.path}: a grid needs step or choice; "
                    f"got float: [{dimension.low:g}, {dimension.high:g}]; add step, or list the values as choice."
                )

    def _metrics(self) -> Iterator[str]:
        if not self.metrics:
            return
        if "metric" in self.given:
            yield "metric: is given beside metrics; drop one of them."
        names: list[str] = []
        for number, entry in enumerate(self.metrics):
            if len(entry) != 1:
                yield f"metrics.{number}: must be one metric and its direction, such as valid.bleu: max; got {dict(entry)}."
            names += entry
        for name in names:
            if name not in METRICS:
                hint = nearest(name, METRICS) or f"; known here: {', '.join(METRICS)}."
                yield f"metrics: '{name}' is unknown{hint}"
        yield from (f"metrics: names {name} twice; drop one of them." for name in dict.fromkeys(names) if names.count(name) > 1)
        if dict(self.metrics[0]) != {"valid.bleu": "max"}:
            yield (
                f"metrics: the first must be valid.bleu: max, because that is what the test set later measures; "
                f"got {dict(self.metrics[0])}."
            )

    def _loss(self) -> Iterator[str]:
        """Losses can only be compared if they measure the same."""
        if self.given.get("metric") != "valid.loss":
            return
        for path in dict.fromkeys(dimension.path for dimension in self.space.dimensions) if self.space else ():
            if path.startswith("decoding."):
                yield f"search.{path}: does not change the loss, by which the trials are compared; set metric: valid.bleu."
            elif path.startswith(("data.", "system.")) or path in _IN_THE_LOSS:
                yield f"search.{path}: changes what the loss measures, so losses cannot be compared; set metric: valid.bleu."

    def _pruner(self) -> Iterator[str]:
        if not self.pruner:
            return
        if self.horizon:
            yield "pruner: cannot be combined with horizon, which ends trials in another way; drop one of them."
        if self.metrics:
            yield "pruner: compares trials by one metric, but metrics names several; drop one of them."
        first = self.pruner.first_step
        for training in dict.fromkeys(experiment.training for experiment in self.experiments):
            if first >= training.steps:
                yield f"pruner.first_step: must be below experiment.training.steps; got {first} and {training.steps}."
            elif first < training.validate_every:
                yield (
                    "pruner.first_step: must not be below experiment.training.validate_every, because only validations "
                    f"are compared; got {first} and {training.validate_every}."
                )

    def _horizon(self) -> Iterator[str]:
        if not self.horizon:
            return
        if self.metrics:
            yield "horizon: compares trials by one metric, but metrics names several; drop one of them."
        last = self.horizon.steps[-1]
        for steps in dict.fromkeys(experiment.training.steps for experiment in self.experiments):
            if last != steps:
                yield f"horizon.steps: the last one must be experiment.training.steps; got {last} and {steps}."
        varied = {f"baselines.{name}": settings for name, settings in self.baselines.items()} | {
            "search": self.given.get("search")
        }
        for where, settings in varied.items():
            if isinstance(settings, Mapping) and STEPS in settings:
                yield f"{where}.{STEPS}: is set by horizon.steps, from rung to rung; drop it here."

    def _best(self) -> Iterator[str]:
        """No more proposals can be confirmed or kept than there are."""
        top = self.confirm.top if self.confirm else 0
        if self.keep_models is not None and self.keep_models < top:
            yield f"keep_models: must not be below confirm.top, whose models are tested; got {self.keep_models} and {top}."
        if self.proposals and top > self.proposals:
            what = "budget.trials" if self.budget.trials else "trials" if self.trials else "the grid's combinations"
            yield f"confirm.top: must not exceed {what}; got {top} and {self.proposals}."
        elif self.proposals and self.horizon:
            finalists: int = self.proposals
            for _ in self.horizon.steps[1:]:
                finalists = math.ceil(round(finalists * self.horizon.keep, 9))
            if top > finalists:
                yield f"confirm.top: must not exceed the trials that reach horizon's last rung; got {top} and {finalists}."

    def _warm_start(self) -> Iterator[str]:
        names = [Path(folder).name for folder in self.warm_start]
        for folder, name in zip(self.warm_start, names, strict=True):
            try:
                check_format(Path(folder), STUDY_FORMAT, ConfigError)
            except ConfigError as error:
                yield f"warm_start: {error}"
                continue
            if not (Path(folder) / "study.yaml").exists():
                yield f"warm_start: {folder} is no study's folder (no study.yaml in it); give one such as outputs/quickstart."
            if names.count(name) > 1:
                yield f"warm_start: {folder} has a name that another study there has, so their trials would too; rename it."
