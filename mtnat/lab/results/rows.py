"""A row of the leaderboard: the result of one trial, and its uncertainty."""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import Protocol

from pydantic import Field
from scipy import special

from mtnat.config import Record
from mtnat.evaluation import Comparison, Mark, Score, holm, mark_of
from mtnat.lab.outputs.runs import Kind, Result, Run, Trial
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.results.costs import Spent, spent
from mtnat.lab.results.seeds_needed import FEWEST_SEEDS, Seeds, seeds_needed
from mtnat.lab.study.record import Settings, Study
from mtnat.lab.study.searching import METRICS
from mtnat.training import Speed


class Row(Record):
    """The result of one trial."""

    name: str
    kind: Kind
    settings: Settings
    """Settings in which the trial differs from the study's experiment."""
    text: str | None = None
    """The training text of the trial, such as raw or distilled; None in files of version 0.1."""
    is_reference: bool = False
    """Whether the trial translates with another decoder than the study's experiment; such a trial never wins."""
    confirmed: bool
    """Whether the scores are BLEU on the test set."""
    pruned: int | None = None
    """The step at which a pruner ended the trial; its score is from this step and not comparable with those of full runs."""
    rung: int | None = None
    """T of the trial's last rung, if it has no full run; its score is from that rung and not comparable with those of full
    runs."""
    seeds: tuple[int, ...]
    """Seeds of the runs that have a score."""
    scores: tuple[float, ...]
    """BLEU by seed, on the test set if confirmed, otherwise on the validation set."""
    mean: float | None
    interval: tuple[float, float] | None
    """95 % interval of the mean over seeds (Student's t), within 0 and 100; None with one seed."""
    tokenized: tuple[float, ...] = ()
    """Tokenized BLEU on the test set by seed, as papers report it; not comparable with `scores`. Empty if the target language
    is not known."""
    tokenized_signature: str | None = None
    valid: float | None
    """Mean BLEU on the validation set over the same seeds, by which the winner is chosen."""
    valid_scores: tuple[float, ...] = ()
    """BLEU on the validation set by seed."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """Means of the other metrics, if the study has several, over the same seeds."""
    on_front: bool = False
    """Whether the trial is on the Pareto front of the trials that can win."""
    speed: Speed | None = None
    """Means over the seeds, if the study measures speed."""
    against: str | None
    difference: float | None = None
    """Mean difference to ``against`` over the seeds that both have."""
    p_value: float | None = None
    """p-value of the difference to ``against`` over sentences (paired bootstrap), as in Hao et al. 2021, A.4. It compares these
    models and says nothing about other seeds. None if nothing is compared."""
    difference_interval: tuple[float, float] | None = None
    """95 % interval of the difference over seeds and sentences together; None with one seed."""
    p_value_over_seeds: float | None = None
    """p-value of the difference over seeds and sentences together (hierarchical bootstrap); None with one seed."""
    p_value_adjusted: float | None = None
    """`p_value_over_seeds`, adjusted for the number of rows that are compared with ``against`` (Holm 1979), and for
    `Confirm.looks`."""
    mark: Mark = ""
    """Mark for `p_value_adjusted`. A difference that rounds to 0.0 has no mark."""
    seeds_needed: Seeds | None = None
    """Number of seeds with which a paired t-test finds such a difference at p < 0.05 with a power of 0.8; None with fewer than
    four seeds, from which it cannot be estimated."""
    spent: Spent = Spent()
    """The costs of all runs of the trial."""
    signature: str | None
    failed: str | None
    """Why a run of the trial has no score."""

    @property
    def described(self) -> str:
        """The name, which for a proposal says nothing without its settings."""
        if self.kind == "baseline" or not self.settings:
            return self.name
        settings = (
            f"{path} = {value:.3g}" if isinstance(value, float) else f"{path} = {value}"
            for path, value in self.settings.items()
        )
        return f"{self.name} ({', '.join(settings)})"

    @property
    def is_full(self) -> bool:
        """Whether the trial was trained to its end."""
        return self.pruned is None and self.rung is None


class Judge(Protocol):
    """Compares the runs' translations of the test set."""

    def compare(self, run: Run, other: Run) -> float:
        """Returns the p-value of the difference between two runs."""

    def compare_over_seeds(self, runs: Sequence[Run], others: Sequence[Run]) -> Comparison:
        """Returns the difference between two systems with several seeds each."""

    def tokenized(self, run: Run) -> Score | None:
        """Returns tokenized BLEU; None if the target language is not known."""


def make_row(trial: Trial, study: Study, agenda: Agenda, judge: Judge, *, confirmed: bool) -> Row:
    """Returns a trial's row without a comparison."""
    runs = ended_runs(trial, agenda, confirmed=confirmed)
    good = [(run, result) for run, result in runs if (result.test if confirmed else result.valid) is not None]
    scores = tuple(score for _, result in good if (score := result.test if confirmed else result.valid) is not None)
    tokenized = [found for run, _ in good if (found := judge.tokenized(run))] if confirmed else []
    ended = all_results(trial, agenda)
    others = {name: _mean(name, [result for _, result in good]) for name in study.objectives if name != "valid.bleu"}
    valid_scores = tuple(result.valid or 0.0 for _, result in good)
    return Row(
        name=trial.name,
        kind=trial.kind,
        settings=trial.settings,
        text=trial.experiment.data.text,
        is_reference=trial.experiment.decoder != study.experiment.decoder,
        confirmed=confirmed,
        pruned=next((result.pruned for _, result in good), None),
        rung=next((run.rung for run, _ in good), None),
        seeds=tuple(run.experiment.seed for run, _ in good),
        scores=scores,
        mean=fmean(scores) if scores else None,
        interval=interval(scores),
        tokenized=tuple(score.value for score in tokenized),
        tokenized_signature=tokenized[0].signature if tokenized else None,
        valid=fmean(valid_scores) if valid_scores else None,
        valid_scores=valid_scores,
        metrics={name: value for name, value in others.items() if value is not None},
        speed=_mean_speed([result.speed for _, result in good if result.speed]) if confirmed else None,
        against=None,
        spent=spent(ended),
        signature=next((result.signature for _, result in good), None),
        failed=next((result.failed for result in ended if result.failed), None),
    )


def compared(row: Row, against: str, rows: Sequence[Row], agenda: Agenda, judge: Judge) -> Row:
    """Returns the row with its difference to a baseline over the seeds that both have."""
    baseline = next(other for other in rows if other.name == against)
    seeds = [seed for seed in row.seeds if seed in baseline.seeds]
    if not row.confirmed or row.name == against or not seeds:
        return row
    runs, others = (
        {run.experiment.seed: run for run in agenda.runs(agenda.trials[name]).confirm} for name in (row.name, against)
    )
    scores, other_scores = (dict(zip(each.seeds, each.scores, strict=True)) for each in (row, baseline))
    differences = [scores[seed] - other_scores[seed] for seed in seeds]
    difference = fmean(differences)
    # A seed whose difference has the opposite sign is no evidence for the mean difference, however small its p-value.
    p_value = combined_p(
        [
            judge.compare(runs[seed], others[seed]) if own * difference > 0 else 1.0
            for seed, own in zip(seeds, differences, strict=True)
        ]
    )
    found = {"against": against, "difference": difference, "p_value": p_value}
    if len(seeds) > 1:
        over_seeds = judge.compare_over_seeds([runs[seed] for seed in seeds], [others[seed] for seed in seeds])
        found |= {
            "difference_interval": (over_seeds.low, over_seeds.high),
            "p_value_over_seeds": over_seeds.p_value,
            "seeds_needed": seeds_needed(differences) if len(seeds) >= FEWEST_SEEDS else None,
        }
    return row.model_copy(update=found)


def marked(rows: Sequence[Row], factor: float = 1.0) -> list[Row]:
    """Returns the rows with the marks of their differences; all rows are compared with the same baseline.

    Args:
        factor: what the p-values are multiplied with because the test was, or could have been, made at several looks.
    """
    adjusted = iter(holm([row.p_value_over_seeds for row in rows if row.p_value_over_seeds is not None]))
    return [row if row.p_value_over_seeds is None else _marked(row, min(1.0, factor * next(adjusted))) for row in rows]


def _marked(row: Row, p_value: float) -> Row:
    assert row.difference is not None
    mark = mark_of(row.difference, p_value) if abs(round(row.difference, 1)) > 0 else ""
    return row.model_copy(update={"p_value_adjusted": p_value, "mark": mark})


def ended_runs(trial: Trial, agenda: Agenda, *, confirmed: bool) -> list[tuple[Run, Result]]:
    """Returns the runs that a trial's row summarizes, as far as they have ended."""
    last = agenda.last_run(trial)
    runs = [run for run in agenda.runs(trial).confirm if run.experiment.seed in agenda.seeds] if confirmed else [last]
    ended = [(run, agenda.results[run.id]) for run in runs if run.id in agenda.results]
    return ended or ([(last, agenda.results[last.id])] if last.id in agenda.results else [])


def all_results(trial: Trial, agenda: Agenda) -> list[Result]:
    """Returns the results of all runs of a trial that have ended."""
    ids = dict.fromkeys(run.id for run in agenda.runs(trial).all if run.id in agenda.results)
    return [agenda.results[run_id] for run_id in ids]


def interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """Returns the 95 % confidence interval of the mean (Student's t over seeds), within the bounds of BLEU; None for fewer than
    two scores."""
    if len(scores) < 2:
        return None
    half = float(special.stdtrit(len(scores) - 1, 0.975)) * stdev(scores) / math.sqrt(len(scores))
    return max(0.0, fmean(scores) - half), min(100.0, fmean(scores) + half)


def combined_p(p_values: Sequence[float]) -> float:
    """Returns one p-value for several on the same sentences: twice their median (Meinshausen, Meier and Bühlmann 2009)."""
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * median(p_values))


def _mean_speed(speeds: Sequence[Speed]) -> Speed | None:
    """Returns the mean of each figure over the runs; None if no run was measured."""
    if not speeds:
        return None
    figures = [speed.model_dump() for speed in speeds]
    return Speed(**{name: fmean(each[name] for each in figures) for name in Speed.model_fields})


def _mean(metric: str, results: Sequence[Result]) -> float | None:
    """Returns the mean of a metric over the runs that report it; None if no run does."""
    values = [value for result in results if (value := getattr(result, METRICS[metric].field)) is not None]
    return fmean(values) if values else None
