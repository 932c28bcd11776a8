"""What the encoders of a study represent: the figures of its runs, collected from their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

from mtnat.analysis.probing import seed_t_test
from mtnat.config import Record
from mtnat.evaluation import Mark, holm, mark_of
from mtnat.evaluation.significance import LEVEL
from mtnat.lab.outputs.analysis_curves import MEASURES, probing_name, similarity_name
from mtnat.lab.outputs.curves import read_curves
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.outputs.probed import Folds, ProbedTask, read_probed
from mtnat.lab.outputs.runs import Run
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.study.record import Study

Values = tuple[float, ...]
"""A figure by seed, in the order of `seeds`."""


class Similarities(Record):
    """The similarity of the encoders of a trial to those of another trial, or to its own with other seeds."""

    trial: str
    against: str
    seeds: tuple[int, ...]
    """Seeds of the trial's runs. Each figure of a run is the mean over the runs of the other trial."""
    steps: tuple[int, ...]
    """Steps at which the encoders of all these runs were compared."""
    over_training: dict[str, tuple[Values, ...]]
    """The figures at each step, by measure."""
    final: dict[str, Values]
    """The figures of the final models, by measure."""


class Probed(Record):
    """The accuracies of one trial on one task, from 0 to 1."""

    trial: str
    seeds: tuple[int, ...]
    untrained: tuple[Folds, ...]
    """With the weights before the training, by seed."""
    final: tuple[Folds, ...]
    """With the final models, by seed."""
    steps: tuple[int, ...] = ()
    """Steps at which the encoders of all these runs were probed."""
    over_training: tuple[Values, ...] = ()
    """The mean accuracies at each step."""
    difference: float | None = None
    """Mean difference to the baseline; None if nothing is compared."""
    p_value_adjusted: float | None = None
    """Of the test over seeds and folds (`seed_t_test`), adjusted for the number of tasks and trials that are compared (Holm
    1979). None if one of the two trials has a single seed."""
    mark: Mark = ""


class TaskRow(Record):
    """A task with the accuracies of all trials."""

    task: str
    sentences: int
    classes: int
    updates: int
    """Number of updates of each classifier."""
    majority: Folds
    """Of the most frequent label."""
    bag_of_words: Folds
    """Of a linear classifier of word counts."""
    trials: tuple[Probed, ...]


class Gains(NamedTuple):
    """The tasks in which the encoders of a trial are above their untrained ones, at p < 0.05, and the others."""

    settled: list[str]
    others: list[str]
    comparisons: int
    """Number of comparisons that the p-values are adjusted for."""


class EncoderAnalysis(Record):
    """``analysis`` in ``leaderboard.json``."""

    against: str
    """The baseline that accuracies are compared with."""
    similarities: tuple[Similarities, ...] = ()
    tasks: tuple[TaskRow, ...] = ()

    def gains(self) -> dict[str, Gains]:
        """Returns what the training adds to each trial with several seeds, which is compared with its untrained encoders by
        `seed_t_test`, adjusted for the number of tasks and trials."""
        sides = {
            (each.trial, row.task): (each.final, each.untrained)
            for row in self.tasks
            for each in row.trials
            if min(len(each.final), len(each.untrained)) > 1
        }
        p_values = dict(zip(sides, holm([seed_t_test(*pair) for pair in sides.values()]), strict=True))
        gains: dict[str, Gains] = {}
        for (trial, task), (final, untrained) in sides.items():
            of_trial = gains.setdefault(trial, Gains([], [], len(sides)))
            is_gain = p_values[trial, task] < LEVEL and _mean(final) > _mean(untrained)
            (of_trial.settled if is_gain else of_trial.others).append(task)
        return gains


@dataclass(frozen=True)
class _Analysed:
    """The figures of one run."""

    seed: int
    points: Mapping[int, Mapping[str, float]]
    """Metrics by step."""
    probed: Mapping[str, ProbedTask]
    """Accuracies by task."""

    def last(self, name: str) -> float | None:
        """Returns the value of a metric at the last step that has it; None if no step has."""
        return next((self.points[step][name] for step in sorted(self.points, reverse=True) if name in self.points[step]), None)

    def steps(self, name: str) -> set[int]:
        """Returns the steps that have a metric."""
        return {step for step, metrics in self.points.items() if name in metrics}


def read_analysis(study: Study, agenda: Agenda, folder: StudyFolder) -> EncoderAnalysis | None:
    """Returns the figures of all confirmed trials; None if the study has no analysis, or no run was analysed."""
    if study.analysis is None or study.confirm is None:
        return None
    runs = {
        trial.name: [
            _analysed(folder, run)
            for run in agenda.runs(trial).confirm
            if (result := agenda.results.get(run.id)) and result.is_analysed
        ]
        for trial in agenda.confirmed()
    }
    runs = {name: same for name, same in runs.items() if same}
    if not runs:
        return None
    baselines = study.analysis.similarity.against if study.analysis.similarity else ()
    against = study.confirm.against
    found = [
        _similarities(name, same, other)
        for name, same in runs.items()
        for other in (dict.fromkeys((*baselines, name)) if baselines else ())
    ]
    return EncoderAnalysis(
        against=against,
        similarities=tuple(each for each in found if each),
        tasks=tuple(_compared(_tasks(runs), against)),
    )


def _analysed(folder: StudyFolder, run: Run) -> _Analysed:
    points: dict[int, dict[str, float]] = {}
    for step, metrics in read_curves(folder.run(run.id)):
        points.setdefault(step, {}).update(metrics)
    return _Analysed(run.experiment.seed, points, {task.task: task for task in read_probed(folder.run(run.id))})


def _similarities(trial: str, runs: Sequence[_Analysed], against: str) -> Similarities | None:
    """Returns the similarities of a trial to another one; None if no run was compared."""
    name = similarity_name(against, "cka", is_final=True)
    compared = [run for run in runs if run.last(name) is not None]
    if not compared:
        return None
    curve = {measure: similarity_name(against, measure, is_final=False) for measure in MEASURES}
    steps = sorted(set.intersection(*(run.steps(curve["cka"]) for run in compared)))
    return Similarities(
        trial=trial,
        against=against,
        seeds=tuple(run.seed for run in compared),
        steps=tuple(steps),
        over_training={
            measure: tuple(tuple(run.points[step][own] for run in compared) for step in steps) for measure, own in curve.items()
        },
        final={measure: _finals(compared, similarity_name(against, measure, is_final=True)) for measure in MEASURES},
    )


def _finals(runs: Sequence[_Analysed], name: str) -> Values:
    return tuple(value for run in runs if (value := run.last(name)) is not None)


def _tasks(runs: Mapping[str, Sequence[_Analysed]]) -> list[TaskRow]:
    """Returns the accuracies of all tasks, without comparisons."""
    probed = [task for same in runs.values() for run in same for task in run.probed.values()]
    return [
        TaskRow(
            task=task.task,
            sentences=task.sentences,
            classes=task.classes,
            updates=task.updates,
            majority=task.majority,
            bag_of_words=task.bag_of_words,
            trials=tuple(_probed(name, same, task.task) for name, same in runs.items()),
        )
        for task in probed
        if task.majority is not None and task.bag_of_words is not None
    ]


def _probed(trial: str, runs: Sequence[_Analysed], task: str) -> Probed:
    curve = probing_name(task, is_final=False)
    probed = [run for run in runs if task in run.probed]
    steps = sorted(set.intersection(*(run.steps(curve) for run in probed))) if probed else []
    is_curve = len(steps) > 1  # all runs are probed before the training
    return Probed(
        trial=trial,
        seeds=tuple(run.seed for run in probed),
        untrained=tuple(run.probed[task].untrained for run in probed),
        final=tuple(run.probed[task].final for run in probed),
        steps=tuple(steps) if is_curve else (),
        over_training=tuple(tuple(run.points[step][curve] for run in probed) for step in steps) if is_curve else (),
    )


def _compared(rows: Sequence[TaskRow], against: str) -> list[TaskRow]:
    """Returns the rows with the tests against a baseline."""
    baselines = [next((each for each in row.trials if each.trial == against), None) for row in rows]
    tested = {
        (place, number): seed_t_test(each.final, baseline.final)
        for place, (row, baseline) in enumerate(zip(rows, baselines, strict=True))
        for number, each in enumerate(row.trials)
        if baseline and each.trial != against and min(len(each.seeds), len(baseline.seeds)) > 1
    }
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))

    def with_test(place: int, number: int, probed: Probed) -> Probed:
        baseline = baselines[place]
        if baseline is None or probed.trial == against or not probed.seeds or not baseline.seeds:
            return probed
        difference = _mean(probed.final) - _mean(baseline.final)
        p_value = adjusted.get((place, number))
        mark: Mark = "" if p_value is None else mark_of(difference, p_value)
        return probed.model_copy(update={"difference": difference, "p_value_adjusted": p_value, "mark": mark})

    return [
        row.model_copy(update={"trials": tuple(with_test(place, number, each) for number, each in enumerate(row.trials))})
        for place, row in enumerate(rows)
    ]


def _mean(accuracies: Sequence[Folds]) -> float:
    return fmean(map(fmean, accuracies))
