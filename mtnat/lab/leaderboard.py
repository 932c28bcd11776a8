"""What a study found: rows with intervals and significance, the winner, and the answer in a sentence."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median, stdev
from typing import Protocol

from scipy import stats

from mtnat.config import Record
from mtnat.evaluation import Comparison, Mark, Score, mark_of
from mtnat.lab.agenda import Agenda, Kind, Result, Run, Trial
from mtnat.lab.study import Settings, Study


class Row(Record):
    """One trial."""

    name: str
    kind: Kind
    settings: Settings
    """In which it differs from the study's experiment."""
    confirmed: bool
    """Whether the scores are BLEU on the test set."""
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
    """The metric on the validation set: mean over the same seeds, by which the winner is chosen."""
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
    seconds: float
    """Wall-clock time of all its runs."""
    signature: str | None
    failed: str | None
    """Why runs of it have no score."""


class Leaderboard(Record):
    """A study's end: ``leaderboard.json``."""

    study: str
    question: str
    answer: str
    metric: str
    test_set: str | None
    signature: str | None
    winner: str | None
    """Chosen on the validation set, so that the test set stays untouched by choices, among the trials that translate with the
    same decoder as the study's experiment."""
    best_seed: int | None
    """The winner's seed that is best on the validation set, whose model is in ``best/``."""
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    """What else a reader must know, a sentence each."""
    seconds: float
    """Wall-clock time of the study since it was last started."""


class Judge(Protocol):
    """Who knows the runs' translations of the test set."""

    def compare(self, run: Run, other: Run) -> float:
        """The p-value of the difference between two runs."""

    def compare_over_seeds(self, runs: Sequence[Run], others: Sequence[Run]) -> Comparison:
        """The difference between two systems with several seeds each."""

    def tokenized(self, run: Run) -> Score | None:
        """Tokenized BLEU; None where the target language is not known."""


def make_leaderboard(
    name: str, study: Study, agenda: Agenda, judge: Judge, *, test_set: str, seconds: float, notes: Sequence[str] = ()
) -> Leaderboard:
    """The leaderboard of an agenda that is finished: confirmed rows by their mean, then the others by the metric."""
    confirmed = agenda.confirmed()
    rows = [_row(trial, agenda, judge, confirmed=trial in confirmed) for trial in agenda.trials.values()]
    if study.confirm:
        rows = [_compared(row, study.confirm.against, rows, agenda, judge) for row in rows]
    rows.sort(key=lambda row: (not row.confirmed, row.mean is None, -(row.mean or 0.0), row.name))
    # A baseline that translates with the other decoder is a reference point: the question is asked of this one.
    candidates = [
        row
        for row in rows
        if row.valid is not None
        and row.confirmed == bool(study.confirm)
        and agenda.trials[row.name].experiment.decoder == study.experiment.decoder
    ]
    winner = max(candidates, key=lambda row: row.valid or 0.0, default=None)
    return Leaderboard(
        study=name,
        question=study.question,
        answer=answer(winner, rows, study),
        metric=study.metric,
        test_set=test_set if study.confirm else None,
        signature=next((row.signature for row in rows if row.signature), None),
        winner=winner.name if winner else None,
        best_seed=_best_seed(winner, agenda) if winner else None,
        rows=tuple(rows),
        notes=tuple(notes),
        seconds=seconds,
    )


def interval(scores: Sequence[float]) -> tuple[float, float] | None:
    """95 % confidence interval of the mean (Student's t over seeds); None for fewer than two scores."""
    if len(scores) < 2:
        return None
    half = float(stats.t.ppf(0.975, len(scores) - 1)) * stdev(scores) / math.sqrt(len(scores))
    return fmean(scores) - half, fmean(scores) + half


def combined_p(p_values: Sequence[float]) -> float:
    """One p-value of several on the same sentences: twice their median (Meinshausen, Meier and Bühlmann 2009)."""
    return p_values[0] if len(p_values) == 1 else min(1.0, 2 * median(p_values))


def _runs(trial: Trial, agenda: Agenda, *, confirmed: bool) -> list[tuple[Run, Result]]:
    """The runs that a trial's row is about, as far as they have ended."""
    runs = agenda.confirm_runs(trial) if confirmed else [agenda.search_run(trial)]
    ended = [(run, agenda.results[run.id]) for run in runs if run.id in agenda.results]
    search = agenda.search_run(trial)
    return ended or [(search, agenda.results[search.id])] if search.id in agenda.results else ended


def _row(trial: Trial, agenda: Agenda, judge: Judge, *, confirmed: bool) -> Row:
    runs = _runs(trial, agenda, confirmed=confirmed)
    good = [(run, result) for run, result in runs if (result.test if confirmed else result.valid) is not None]
    scores = tuple(score for _, result in good if (score := result.test if confirmed else result.valid) is not None)
    tokenized = [found for run, _ in good if (found := judge.tokenized(run))] if confirmed else []
    all_results = {
        run.id: agenda.results[run.id]
        for run in [agenda.search_run(trial), *agenda.confirm_runs(trial)]
        if run.id in agenda.results
    }
    return Row(
        name=trial.name,
        kind=trial.kind,
        settings=trial.settings,
        confirmed=confirmed,
        seeds=tuple(run.experiment.seed for run, _ in good),
        scores=scores,
        mean=fmean(scores) if scores else None,
        interval=interval(scores),
        tokenized=tuple(score.value for score in tokenized),
        tokenized_signature=tokenized[0].signature if tokenized else None,
        valid=fmean([result.valid or 0.0 for _, result in good]) if good else None,
        against=None,
        seconds=sum(result.seconds for result in all_results.values()),
        signature=next((result.signature for _, result in good), None),
        failed=next((result.failed for result in all_results.values() if result.failed), None),
    )


def _compared(row: Row, against: str, rows: Sequence[Row], agenda: Agenda, judge: Judge) -> Row:
    """The row with its difference to a baseline, over the seeds that both have."""
    baseline = next(other for other in rows if other.name == against)
    seeds = [seed for seed in row.seeds if seed in baseline.seeds]
    if not row.confirmed or row.name == against or not seeds:
        return row
    runs, others = (
        {run.experiment.seed: run for run in agenda.confirm_runs(agenda.trials[name])} for name in (row.name, against)
    )
    scores, other_scores = (
        dict(zip(row.seeds, row.scores, strict=True)),
        dict(zip(baseline.seeds, baseline.scores, strict=True)),
    )
    difference = fmean(scores[seed] - other_scores[seed] for seed in seeds)
    # A seed that says the opposite of the mean is no evidence for it, however clearly it says so.
    p_value = combined_p(
        [
            judge.compare(runs[seed], others[seed]) if (scores[seed] - other_scores[seed]) * difference > 0 else 1.0
            for seed in seeds
        ]
    )
    found = {"against": against, "difference": difference, "p_value": p_value, "mark": mark_of(difference, p_value)}
    if len(seeds) > 1:
        over_seeds = judge.compare_over_seeds([runs[seed] for seed in seeds], [others[seed] for seed in seeds])
        found |= {"difference_interval": (over_seeds.low, over_seeds.high), "p_value_over_seeds": over_seeds.p_value}
    return row.model_copy(update=found)


def _best_seed(row: Row, agenda: Agenda) -> int:
    """The seed that is best on the validation set, the first of equals."""
    trial = agenda.trials[row.name]
    valid = {run.experiment.seed: result.valid or 0.0 for run, result in _runs(trial, agenda, confirmed=row.confirmed)}
    return max(row.seeds, key=lambda seed: valid[seed])


def answer(winner: Row | None, rows: Sequence[Row], study: Study) -> str:
    """The study's answer, in a sentence or two that claim no more than the numbers do."""
    if winner is None or winner.mean is None:
        return "There is no answer: no run ended well; leaderboard.json has the reasons."
    if not winner.confirmed:
        return (
            f"{winner.name} is best on the validation set with {winner.mean:.1f} BLEU; that was one seed and no test set, "
            "so add `confirm` to the study to know whether it holds."
        )
    seeds = f"{len(winner.seeds)} seeds" if len(winner.seeds) > 1 else "1 seed"
    score = f"{winner.mean:.1f} BLEU on the test set ({seeds})"
    assert study.confirm is not None
    against = study.confirm.against
    if winner.name == against:
        return f"{against} itself is best on the validation set, with {score}; nothing that was tried does better there."
    if winner.difference is None or winner.p_value is None:
        return f"{winner.name} is best on the validation set, with {score}; {against} has no score to compare with."
    over_seeds = f"; over seeds {_p(winner.p_value_over_seeds)}" if winner.p_value_over_seeds is not None else ""
    mark = f"{winner.mark}, " if winner.mark else ""
    compared = f"{winner.difference:+.1f} against {against} ({mark}{_p(winner.p_value)}{over_seeds})"
    if winner.mark in ("⇑", "↑"):
        if (winner.p_value_over_seeds or 0.0) >= 0.05:
            return (
                f"{winner.name}, best on the validation set, translates these sentences better than {against}, but other seeds "
                f"might not: {score}, {compared}."
            )
        return f"{winner.name}, best on the validation set, translates better than {against}: {score}, {compared}."
    if winner.mark:
        return f"{winner.name} is best on the validation set, but worse than {against} on the test set: {score}, {compared}."
    others = "No difference" if not any(row.mark for row in rows) else "Its difference"
    lead = (
        f"{others} to {against} is significant at 0.05"
        if others == "No difference"
        else f"Its difference to {against} is not significant at 0.05"
    )
    return f"{lead}; {winner.name} is best on the validation set, with {score}, {compared}."


def _p(p_value: float) -> str:
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def markdown(leaderboard: Leaderboard) -> str:
    """The leaderboard as a page for people."""
    lines = [
        f"# {leaderboard.study}",
        "",
        f"**{leaderboard.question}**",
        "",
        leaderboard.answer,
        "",
        f"| {' | '.join(('', *TITLES[1:]))} |",
        "|---" * len(TITLES) + "|",
    ]
    lines += [f"| {' | '.join(cells(row).values())} |" for row in leaderboard.rows]
    tokenized = next((row.tokenized_signature for row in leaderboard.rows if row.tokenized_signature), None)
    against = next((row.against for row in leaderboard.rows if row.against), None)
    notes = [
        f"BLEU on {leaderboard.test_set or 'the validation set'}: {leaderboard.signature}." if leaderboard.signature else "",
        f"Tokenized BLEU, for comparison with papers that print it: {tokenized}." if tokenized else "",
        f"Compared with {against}: ↑ better at p < 0.05, ⇑ at p < 0.01, ↓ ⇓ worse (paired bootstrap, 1000 resamples per seed, "
        "twice the median p over seeds, of those that point the other way 1). p over seeds and the difference's interval: the "
        "sentences resampled, the seeds as in a t-test."
        if against
        else "",
        "Rows marked (valid) were not confirmed: one seed, validation set."
        if any(not row.confirmed for row in leaderboard.rows)
        else "",
        *leaderboard.notes,
        *(f"{row.name} failed: {row.failed}" for row in leaderboard.rows if row.failed),
    ]
    notes += [
        f"{row.name}: {', '.join(f'{path} = {value}' for path, value in row.settings.items())}"
        for row in leaderboard.rows
        if row.kind == "trial"
    ]
    return "\n".join([*lines, "", *(f"{note}\n" for note in notes if note)])


TITLES = (
    "name",
    "kind",
    "BLEU",
    "95 %",
    "tokenized",
    "difference",
    "p",
    "95 % of difference",
    "p over seeds",
    "valid",
    "seeds",
    "seconds",
)
"""Of what `cells` has."""


def cells(row: Row) -> Mapping[str, str]:
    """A row as text, by title."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    mean = "failed" if row.mean is None else f"{row.mean:.2f}{row.mark}" if row.confirmed else f"{row.mean:.2f} (valid)"
    values = (
        row.name,
        row.kind,
        mean,
        f"{row.interval[0]:.1f} … {row.interval[1]:.1f}" if row.interval else "",
        number(fmean(row.tokenized) if row.tokenized else None, ".2f"),
        number(row.difference, "+.2f"),
        number(row.p_value, ".3f"),
        f"{row.difference_interval[0]:+.1f} … {row.difference_interval[1]:+.1f}" if row.difference_interval else "",
        number(row.p_value_over_seeds, ".3f"),
        number(row.valid, ".2f"),
        " ".join(map(str, row.seeds)),
        f"{row.seconds:.0f}",
    )
    return dict(zip(TITLES, values, strict=True))
