"""What the encoders of a study represent: the figures of its runs, collected from their curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mtnat.config import Record
from mtnat.evaluation import Mark, holm, mark_of
from mtnat.lab.outputs.analysis_curves import CONTEXT, MEASURES, context_name, probed_tasks, probing_name, similarity_name
from mtnat.lab.outputs.curves import read_curves
from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.study.record import Study

FEWEST_SEEDS = 3
"""With fewer seeds nothing is tested: a t-test over two seeds finds only differences of more than a dozen deviations."""
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
    untrained: Values
    """With the weights before the training."""
    final: Values
    """With the final models."""
    steps: tuple[int, ...] = ()
    """Steps at which the encoders of all these runs were probed."""
    over_training: tuple[Values, ...] = ()
    """The accuracies at each step."""
    difference: float | None = None
    """Mean difference to the baseline over the seeds that both have; None with fewer than three of them."""
    p_value_adjusted: float | None = None
    """Of a paired t-test over seeds, adjusted for the number of tasks and trials that are compared (Holm 1979)."""
    mark: Mark = ""


class TaskRow(Record):
    """A task with the accuracies of all trials."""

    task: str
    sentences: int
    classes: int
    majority: float
    """Accuracy of the most frequent label."""
    bag_of_words: float
    """Accuracy of a linear classifier of word counts."""
    trials: tuple[Probed, ...]


class EncoderAnalysis(Record):
    """``analysis`` in ``leaderboard.json``."""

    against: str
    """The baseline that accuracies are compared with."""
    similarities: tuple[Similarities, ...] = ()
    tasks: tuple[TaskRow, ...] = ()


@dataclass(frozen=True)
class _Analysed:
    """The figures of one run."""

    seed: int
    points: Mapping[int, Mapping[str, float]]
    """Metrics by step."""

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
            _Analysed(run.experiment.seed, _points(folder, run.id))
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


def _points(folder: StudyFolder, run: str) -> dict[int, dict[str, float]]:
    points: dict[int, dict[str, float]] = {}
    for step, metrics in read_curves(folder.run(run)):
        points.setdefault(step, {}).update(metrics)
    return points


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
    points = [point for same in runs.values() for run in same for point in run.points.values()]
    metrics = {name: value for point in points for name, value in point.items()}
    rows = []
    for task in probed_tasks(metrics):
        figures = {name: metrics[own] for name in CONTEXT if (own := context_name(task, name)) in metrics}
        if len(figures) < len(CONTEXT):
            continue  # the run with these figures was not analysed
        rows.append(
            TaskRow(
                task=task,
                sentences=int(figures["sentences"]),
                classes=int(figures["classes"]),
                majority=figures["majority"],
                bag_of_words=figures["bag_of_words"],
                trials=tuple(_probed(name, same, task) for name, same in runs.items()),
            )
        )
    return rows


def _probed(trial: str, runs: Sequence[_Analysed], task: str) -> Probed:
    final, curve = probing_name(task, is_final=True), probing_name(task, is_final=False)
    probed = [run for run in runs if run.last(final) is not None]
    steps = sorted(set.intersection(*(run.steps(curve) for run in probed))) if probed else []
    return Probed(
        trial=trial,
        seeds=tuple(run.seed for run in probed),
        untrained=tuple(run.points[0][curve] for run in probed),
        final=_finals(probed, final),
        steps=tuple(steps) if len(steps) > 1 else (),
        over_training=tuple(tuple(run.points[step][curve] for run in probed) for step in steps) if len(steps) > 1 else (),
    )


def _compared(rows: Sequence[TaskRow], against: str) -> list[TaskRow]:
    """Returns the rows with the tests against a baseline."""
    from scipy.stats import ttest_rel

    pairs: dict[tuple[int, int], tuple[float, float]] = {}
    for place, row in enumerate(rows):
        baseline = next((dict(zip(each.seeds, each.final, strict=True)) for each in row.trials if each.trial == against), {})
        for number, each in enumerate(row.trials):
            own = dict(zip(each.seeds, each.final, strict=True))
            seeds = [seed for seed in own if seed in baseline]
            if each.trial == against or len(seeds) < FEWEST_SEEDS:
                continue
            ours, theirs = [own[seed] for seed in seeds], [baseline[seed] for seed in seeds]
            # Accuracies are whole numbers of sentences, so differences can be equal, which says nothing of their deviation.
            is_equal = len({round((one - other) * row.sentences) for one, other in zip(ours, theirs, strict=True)}) == 1
            p_value = 1.0 if is_equal else float(ttest_rel(ours, theirs).pvalue)
            pairs[place, number] = (fmean(ours) - fmean(theirs), p_value)
    adjusted = dict(zip(pairs, holm([p_value for _, p_value in pairs.values()]), strict=True))

    def tested(place: int, number: int, probed: Probed) -> Probed:
        if (place, number) not in pairs:
            return probed
        difference, p_value = pairs[place, number][0], adjusted[place, number]
        found = {"difference": difference, "p_value_adjusted": p_value, "mark": mark_of(difference, p_value)}
        return probed.model_copy(update=found)

    return [
        row.model_copy(update={"trials": tuple(tested(place, number, each) for number, each in enumerate(row.trials))})
        for place, row in enumerate(rows)
    ]
