"""The ranking of trials by their metrics."""

from bisect import insort
from collections.abc import Mapping
from typing import NamedTuple

from mtnat.lab.outputs.runs import Trial
from mtnat.lab.plan.pareto import pareto_front
from mtnat.lab.study.searching import Direction


class _Place(NamedTuple):
    """A trial's sort key: the smaller place is the better trial."""

    is_other_decoders: bool
    """Whether the trial translates with another decoder than the study."""
    cost: float
    """The first metric, negated if larger values are better."""
    number: int
    """Number of the trial in order of arrival."""
    metrics: tuple[float, ...]
    trial: Trial


class Ranking:
    """A sorted list of trials, the best first. Each insertion keeps the order, so that thousands of trials need no new sort."""

    def __init__(self, objectives: Mapping[str, Direction], decoder: str) -> None:
        self._directions, self._decoder = list(objectives.values()), decoder
        self._numbers: dict[str, int] = {}
        self._by_name: dict[str, _Place] = {}
        self._places: list[_Place] = []

    def put(self, trial: Trial, metrics: tuple[float, ...] | None) -> None:
        """Sets the metrics of a trial; None if it has none yet. Among equal trials the one that came first is first."""
        number = self._numbers.setdefault(trial.name, len(self._numbers))
        if before := self._by_name.pop(trial.name, None):
            self._places.remove(before)
        if metrics:
            cost = -metrics[0] if self._directions[0] == "max" else metrics[0]
            place = _Place(trial.experiment.decoder != self._decoder, cost, number, metrics, trial)
            self._by_name[trial.name] = place
            insort(self._places, place)

    def order(self) -> list[Trial]:
        """Returns the trials with metrics, sorted by the first metric. Trials with the study's decoder come before all others,
        and with several metrics the Pareto front comes first."""
        places = self._places
        if len(self._directions) > 1:
            fronts = zip(places, pareto_front([place.metrics for place in places], self._directions), strict=True)
            places = [place for place, _ in sorted(fronts, key=lambda one: (one[0].is_other_decoders, not one[1]))]
        return [place.trial for place in places]
