"""Estimates the time of a study from the number of its runs and a measured pace. Nothing is measured here."""

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

from mtnat.config import replace
from mtnat.experiment import Experiment
from mtnat.lab.study.record import SELECTED, STAGES, WRITERS, Study
from mtnat.lab.study.searching import compressed

MEASURED_STEPS = 8
_SAME: Mapping[str, Any] = {
    "seed": 1,
    **dict.fromkeys((*WRITERS.values(), SELECTED)),
    STAGES: [],
    "objective.label_smoothing": 0.1,
    "objective.length_weight": 0.1,
    # The first step is not measured: many schedules begin with λ = 0, which leaves out one decoder.
    "training.steps": MEASURED_STEPS + 1,
    "training.warmup_steps": 0,
    "training.peak_learning_rate": 5e-4,
    "training.initial_learning_rate": 1e-7,
    "training.adam_betas": [0.9, 0.98],
    "training.adam_epsilon": 1e-6,
    "training.weight_decay": 0.01,
    "training.clip_norm": 1.0,
    "training.most_skipped_steps": 20,
    "training.log_every": 50,
    "training.validate_every": 2_000,
    "training.valid_sentences": 0,
    "training.keep_checkpoints": 5,
    "training.model": "best",
    "training.patience": 0,
    "decoding.length_penalty": 1.0,
}
"""Settings that hardly influence the time of a step or of a translation."""


@dataclass(frozen=True)
class Pace:
    """The speed of the workers of one run with a kind of system."""

    step: float
    """Seconds per step."""
    sentence: float
    """Seconds per sentence in translation, with many sentences in a batch."""
    valid: int
    """Number of sentences of the validation set."""
    test: int
    """Number of sentences of the test set."""


PaceOf = Callable[[Experiment], Pace]


class Phase(NamedTuple):
    """The runs of one phase of a study."""

    name: str
    runs: int
    """Number of trainings."""
    seconds: tuple[float, ...]
    """Time of each piece of work, a training or only a translation."""
    gpus: float
    """Number of GPUs of each piece of work."""
    waits: bool = False
    """Whether the phase starts only after all earlier phases have ended."""

    @property
    def gpu_seconds(self) -> float:
        """Sum of GPUs times seconds."""
        return sum(self.seconds) * self.gpus


def kind_of(experiment: Experiment) -> Experiment:
    """Returns an experiment that stands for all experiments of equal speed, with as many steps as are measured."""
    kind = replace(experiment, _SAME)
    settings: dict[str, Any] = {}
    if kind.model.dropout:
        settings["model.dropout"] = 0.1
    if kind.training.ema_decay:
        settings["training.ema_decay"] = 0.9
    weights = [kind.objective.schedule(step, kind.training.steps) for step in range(1, kind.training.steps)]
    if kind.objective.estimator == "weighted" and all(0 < weight < 1 for weight in weights):
        settings["objective.schedule"] = {"kind": "constant", "value": 0.5}  # both decoders run for any λ between 0 and 1
    return replace(kind, settings)


def training_seconds(experiment: Experiment, pace: Pace) -> float:
    """Returns the seconds of a run with its validations; early stopping is not considered."""
    training = experiment.training
    validations = -(-training.steps // training.validate_every)  # the last step is always validated
    if training.model.startswith("average"):
        validations += 1
    sentences = min(training.valid_sentences or pace.valid, pace.valid)
    return training.steps * pace.step + validations * sentences * pace.sentence


def phases(
    study: Study,
    drawn: Sequence[Experiment],
    pace: PaceOf,
    at_once: int,
    *,
    trained: Collection[str] = (),
    inherited: int = 0,
) -> list[Phase]:
    """Returns the phases of a study without the models that write its training text.

    Args:
        drawn: some proposals, which stand for all.
        at_once: number of runs at the same time.
        trained: baselines that are already trained, as such a model or by another study.
        inherited: number of trials of other studies, which may be confirmed too.
    """
    gpus = study.resources.most_workers * study.resources.gpus_per_worker
    baselines = {name: replace(study.experiment, settings) for name, settings in study.baselines.items()}

    def training(experiment: Experiment) -> float:
        return training_seconds(experiment, pace(experiment))

    seconds = tuple(training(experiment) for name, experiment in baselines.items() if name not in trained)
    found = [Phase(name="baselines", runs=len(seconds), seconds=seconds, gpus=gpus)]
    proposals = 0
    if drawn:
        rungs = study.horizon.steps if study.horizon else (None,)
        each = [fmean(training(compressed(one, steps) if steps else one) for one in drawn) for steps in rungs]
        proposals = _affordable(study, sum(seconds), each[0], gpus, at_once)
        runs = study.horizon.runs(proposals) if study.horizon else [proposals]
        found += (
            Phase(
                name=f"proposals, T = {steps}" if steps else "proposals",
                runs=number,
                seconds=(mean,) * number,
                gpus=gpus,
                waits=place > 0,
            )
            for place, (steps, number, mean) in enumerate(zip(rungs, runs, each, strict=True))
        )
    if study.confirm:
        found.append(
            _confirm(study, list(baselines.values()), drawn, min(study.confirm.top, proposals + inherited), pace, gpus)
        )
    return [phase for phase in found if phase.seconds]


def wall_seconds(phases: Sequence[Phase], at_once: int) -> float:
    """Returns the wall-clock seconds of all phases; each run starts as soon as there is room."""
    return sum(_spread(group, at_once) for group in _groups(phases))


def _affordable(study: Study, baselines: float, each: float, gpus: float, at_once: int) -> int:
    """Returns the number of proposals that the study makes within its budget.

    Args:
        baselines: seconds of the runs of all baselines.
        each: seconds of the run of one proposal.
    """
    limits = [study.proposals] if study.proposals else []
    if study.budget.hours is not None:
        limits.append(int((study.budget.hours * 3600 * at_once - baselines) / each) + 1)
    if study.budget.gpu_hours is not None and gpus:
        limits.append(int((study.budget.gpu_hours * 3600 / gpus - baselines) / each) + 1)
    return max(0, min(limits, default=0))


def _confirm(
    study: Study, baselines: Sequence[Experiment], drawn: Sequence[Experiment], top: int, pace: PaceOf, gpus: float
) -> Phase:
    """Returns the confirm phase: training with further seeds, and translation of the test set for every seed."""
    assert study.confirm is not None
    extra = len(set(study.confirm.seeds) - {study.experiment.seed})
    tests = len(study.confirm.seeds)

    def pieces(experiment: Experiment) -> list[float]:
        test = pace(experiment).test * pace(experiment).sentence
        training = training_seconds(experiment, pace(experiment))
        return [training + test] * extra + [test] * (tests - extra)

    seconds = [second for experiment in baselines for second in pieces(experiment)]
    if top and drawn:
        each = zip(*map(pieces, drawn), strict=True)
        seconds += [fmean(same) for same in each] * top
    return Phase(name="confirm", runs=extra * (len(baselines) + top), seconds=tuple(seconds), gpus=gpus)


def _groups(phases: Sequence[Phase]) -> Iterator[list[float]]:
    """Yields the pieces of work between two points at which the study waits for all runs."""
    group: list[float] = []
    for phase in phases:
        if phase.waits:
            yield group
            group = []
        group += phase.seconds
    yield group


def _spread(seconds: Sequence[float], places: int) -> float:
    """Returns the time when the last piece of work ends, if each starts in order at the place that is free first."""
    free = [0.0] * places
    for piece in seconds:
        heapq.heapreplace(free, free[0] + piece)
    return max(free)
