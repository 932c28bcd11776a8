"""A row of the leaderboard: what became of one trial, and how sure that is."""

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import Protocol

from pydantic import Field
from scipy import stats

from mtnat.config import Record
from mtnat.evaluation import Comparison, Mark, Score, mark_of
from mtnat.lab.outputs.runs import Kind, Result, Run, Trial
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.results.costs import Spent, spent
from mtnat.lab.results.seeds_needed import Seeds, seeds_needed
from mtnat.lab.study.record import Settings, Study
from mtnat.lab.study.searching import METRICS


class Row(Record):
    """One trial."""

    name: str
    kind: Kind
    settings: Settings
    """In which it differs from the study's experiment."""
    is_reference: bool = False
    """Whether it translates with the other decoder than the study's experiment: something to look at, and never the winner."""
    confirmed: bool
    """Whether the scores are BLEU on the test set."""
    pruned: int | None = None
    """The step at which it was ended early; the score is that of this step, and comparable with no full run's."""
    rung: int | None = None
    """T of the shorter run after which it was not trained further; the score is that one's, comparable with no full run's."""
    seeds: tuple[int, ...]
    """Of the runs that ended well."""
    scores: tuple[float, ...]
    """BLEU by seed, on the test set where confirmed, else on the validation set."""
    mean: float | None
    interval: tuple[float, float] | None
    """95 % of the mean over seeds (Student's t); None with one seed."""
    tokenized: tuple[float, ...] = ()
    """Tokenized BLEU on the test set by seed, which the field's papers print and nobody may compare with `scores`; none where
    the target language is not known."""
    tokenized_signature: str | None = None
    valid: float | None
    """BLEU on the validation set: mean over the same seeds, by which the winner is chosen."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """The other metrics of a study with several: means over the same seeds."""
    on_front: bool = False
    """Whether no other trial is at least as good in every metric and better in one, among those that could win."""
    against: str | None
    difference: float | None = None
    """Mean over the seeds both have, minus that of ``against``."""
    p_value: float | None = None
    """Of the difference to ``against`` over sentences (paired bootstrap); None where nothing is compared."""
    mark: Mark = ""
    """By `p_value`, as in Hao et al. 2021, A.4."""
    difference_interval: tuple[float, float] | None = None
    """95 % of the difference over seeds and sentences together; None with one seed."""
    p_value_over_seeds: float | None = None
    """Of the difference over seeds and sentences together (hierarchical bootstrap); None with one seed."""
    seeds_needed: Seeds | None = None
    """With which a paired t-test over seeds finds such a difference at p < 0.05 with a power of 0.8; None with one seed."""
    spent: Spent = Spent()
    """By all its runs."""
    signature: str | None
    failed: str | None
    """Why runs of it have no score."""

    @property
    def is_full(self) -> bool:
        """Whether it was trained to its end."""
        return self.pruned is None and self.rung is None


class Judge(Protocol):
    """Who knows the runs' translations of the test set."""

    def compare(self, run: Run, other: Run) -> float:
        """The p-value of the difference between two runs."""

    def compare_over_seeds(self, runs: Sequence[Run], others: Sequence[Run]) -> Comparison:
        """The difference between two systems with several seeds each."""

    def tokenized(self, run: Run) -> Score | None:
        """Tokenized BLEU; None where the target language is not known."""


def make_row(trial: Trial, study: Study, agenda: Agenda, judge: Judge, *, confirmed: bool) -> Row:
    """A trial's row, compared with nothing yet."""
    runs = ended_runs(trial, agenda, confirmed=confirmed)
    good = [(run, result) for run, result in runs if (result.test if confirmed else result.valid) is not None]
    scores = tuple(score for _, result in good if (score := result.test if confirmed else result.valid) is not None)
    tokenized = [found for run, _ in good if (found := judge.tokenized(run))] if confirmed else []
    ended = all_results(trial, agenda)
    others = {name: _mean(name, [result for _, result in good]) for name in study.objectives if name != "valid.bleu"}
    return Row(
        name=trial.name,
        kind=trial.kind,
        settings=trial.settings,
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
        valid=fmean([result.valid or 0.0 for _, result in good]) if good else None,
        metrics={name: value for name, value in others.items() if value is not None},
        against=None,
        spent=spent(ended),
        signature=next((result.signature for _, result in good), None),
        failed=next((result.failed for result in ended if result.failed), None),
    )


def compared(row: Row, against: str, rows: Sequence[Row], agenda: Agenda, judge: Judge) -> Row:
    """The row with its difference to a baseline, over the seeds that both have."""
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
    # A seed that says the opposite of the mean is no evidence for it, however clearly it says so.
    p_value = combined_p(
        [
            judge.compare(runs[seed], others[seed]) if own * difference > 0 else 1.0
            for seed, own in zip(seeds, differences, strict=True)
        ]
    )
    found = {"against": against, "difference": difference, "p_value": p_value, "mark": mark_of(difference, p_value)}
    if len(seeds) > 1:
        over_seeds = judge.compare_over_seeds([runs[seed] for seed in seeds], [others[seed] for seed in seeds])
        found |= {
            "difference_interval": (over_seeds.low, over_seeds.high),
            "p_value_over_seeds": over_seeds.p_value,
            "seeds_needed": seeds_needed(differences),
        }
    return row.model_copy(update=found)


def ended_runs(trial: Trial, agenda: Agenda, *, confirmed: bool) -> list[tuple[Run, Result]]:
    """The runs that a trial's row is about, as far as they have ended."""
    last = agenda.last_run(trial)
    runs = agenda.runs(trial).confirm if confirmed else [last]
    ended = [(run, agenda.results[run.id]) for run in runs if run.id in agenda.results]
    return ended or ([(last, agenda.results[last.id])] if last.id in agenda.results else [])


def all_results(trial: Trial, agenda: Agenda) -> list[Result]:
    """What came of all a trial's runs that have ended."""
    ids = dict.fromkeys(run.id for run in agenda.runs(trial).all if run.id in agenda.results)
    return [agenda.results[run_id] for run_id in ids]


def interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """95 % confidence interval of the mean (Student's t over seeds); None for fewer than two scores."""
    if len(scores) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(scores) - 1)) * stdev(scores) / math.sqrt(len(scores))
    return fmean(scores) - half, fmean(scores) + half


def combined_p(p_values: Sequence[float]) -> float:
    """One p-value of several on the same sentences: twice their median (Meinshausen, Meier and Bühlmann 2009)."""
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * median(p_values))


def _mean(metric: str, results: Sequence[Result]) -> float | None:
    """Of the runs that it is known of."""
    values = [value for result in results if (value := getattr(result, METRICS[metric].field)) is not None]
    return fmean(values) if values else None
