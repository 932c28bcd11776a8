"""Trials in the order of their metrics."""

from bisect import insort
from collections.abc import Mapping
from typing import NamedTuple

from mtnat.lab.outputs.runs import Trial
from mtnat.lab.plan.pareto import pareto_front
from mtnat.lab.study.searching import Direction


class _Place(NamedTuple):
    """Places compare as the trials do."""

    is_other_decoders: bool
    """Whether it translates with another decoder than the study's."""
    cost: float
    """The first metric, negative where more is better."""
    number: int
    """Of the trial, in the order in which they came."""
    metrics: tuple[float, ...]
    trial: Trial


class Ranking:
    """Trials from the best to the worst. They keep their order as metrics come in: thousands are not sorted anew each time."""

    def __init__(self, objectives: Mapping[str, Direction], decoder: str) -> None:
        self._directions, self._decoder = list(objectives.values()), decoder
        self._numbers: dict[str, int] = {}
        self._by_name: dict[str, _Place] = {}
        self._places: list[_Place] = []

    def put(self, trial: Trial, metrics: tuple[float, ...] | None) -> None:
        """Takes down a trial's metrics, None while it has none. Of equals the one that was put first comes first."""
        number = self._numbers.setdefault(trial.name, len(self._numbers))
        if before := self._by_name.pop(trial.name, None):
            self._places.remove(before)
        if metrics:
            cost = -metrics[0] if self._directions[0] == "max" else metrics[0]
            place = _Place(trial.experiment.decoder != self._decoder, cost, number, metrics, trial)
            self._by_name[trial.name] = place
            insort(self._places, place)

    def order(self) -> list[Trial]:
        """Those with metrics, by the first one; of several metrics the Pareto front comes first, and before all others those
        that translate with the study's decoder."""
        places = self._places
        if len(self._directions) > 1:
            fronts = zip(places, pareto_front([place.metrics for place in places], self._directions), strict=True)
            places = [place for place, _ in sorted(fronts, key=lambda one: (one[0].is_other_decoders, not one[1]))]
        return [place.trial for place in places]
