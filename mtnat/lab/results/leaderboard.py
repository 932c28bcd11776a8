"""The leaderboard of a study: its rows, the winner, the front, and the answer."""

import math
from collections.abc import Iterator, Sequence

from pydantic import Field

from mtnat.config import Record
from mtnat.evaluation import cross_fitted, look_factors
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.pareto import pareto_front
from mtnat.lab.results.analysis import EncoderAnalysis
from mtnat.lab.results.answer import answer, metric_of
from mtnat.lab.results.costs import Spent, spent
from mtnat.lab.results.fidelity import Fidelity
from mtnat.lab.results.rows import Judge, Row, all_results, compared, make_row, marked
from mtnat.lab.study.record import Study
from mtnat.lab.study.searching import Direction
from mtnat.training.fit import skipped_of, skips_many


class Leaderboard(Record):
    """The result of a study: ``leaderboard.json``."""

    study: str
    question: str
    answer: str
    metric: str
    objectives: dict[str, Direction] = Field(default_factory=dict)
    """The direction of each metric of the search; with several metrics the rows say which trials are on the front."""
    test_set: str | None
    signature: str | None
    winner: str | None
    """The best trial on the validation set, so that nothing is chosen on the test set. Only trials that were trained to their
    end and translate with the study's decoder can win."""
    winner_cross_fitted: float | None = None
    """The winner's mean on the test set without the advantage of the choice: see `cross_fitted`. None if there is no choice
    or only one seed."""
    best_seed: int | None
    """The winner's best seed on the validation set; its model is in ``best/``."""
    rows: tuple[Row, ...]
    fidelity: Fidelity | None = None
    """How well shorter trainings rank the trials; only of a study with `horizon`."""
    analysis: EncoderAnalysis | None = None
    """What the encoders represent; only of a study with `analysis`."""
    notes: tuple[str, ...] = ()
    """Further notes for the reader, one sentence each."""
    seconds: float
    """Running time of the study, over all its starts."""
    spent: Spent = Spent()
    """The costs of all runs, including the teacher's."""

    @property
    def is_settled(self) -> bool:
        """Whether the winner differs significantly from the baseline that it is compared with."""
        return any(row.mark for row in self.rows if row.name == self.winner)


def make_leaderboard(
    name: str,
    study: Study,
    agenda: Agenda,
    judge: Judge,
    *,
    test_set: str,
    seconds: float,
    notes: Sequence[str] = (),
    fidelity: Fidelity | None = None,
    analysis: EncoderAnalysis | None = None,
) -> Leaderboard:
    """Returns the leaderboard of a finished agenda: the confirmed rows by their mean, then the others by the metric, and last
    those that were not trained to their end."""
    confirmed = agenda.confirmed()
    rows = [make_row(trial, study, agenda, judge, confirmed=trial in confirmed) for trial in agenda.trials.values()]
    if study.confirm:
        rows = [compared(row, study.confirm.against, rows, agenda, judge) for row in rows]
        rows = marked(rows, _factor(study.confirm.looks, len(agenda.seeds)))
    # A baseline with the other decoder is only a reference, because the study's question is about its own decoder.
    candidates = {
        row.name
        for row in rows
        if row.valid is not None and row.is_full and row.confirmed == bool(study.confirm) and not row.is_reference
    }
    front = _front([row for row in rows if row.name in candidates], study)
    rows = [row.model_copy(update={"on_front": row.name in front}) for row in rows]
    rows.sort(key=_place)
    can_win = [row for row in rows if row.name in candidates]
    winner = max(can_win, key=lambda row: (_quality(row, study), row.on_front), default=None)
    without_choice = _without_choice(can_win) if study.confirm else None
    return Leaderboard(
        study=name,
        question=study.question,
        answer=answer(winner, rows, study),
        metric=study.metric,
        objectives=study.objectives,
        test_set=test_set if study.confirm else None,
        signature=next((row.signature for row in rows if row.signature), None),
        winner=winner.name if winner else None,
        winner_cross_fitted=without_choice,
        best_seed=_best_seed(winner) if winner else None,
        rows=tuple(rows),
        fidelity=fidelity,
        analysis=analysis,
        notes=(
            *notes,
            *_text_notes(rows),
            *_look_notes(study, agenda),
            *_choice_notes(winner, without_choice),
            *_front_notes(study, agenda, rows),
            *_memory_notes(agenda),
            *_skip_notes(agenda),
            *_unmeasured_notes(agenda),
        ),
        seconds=seconds,
        spent=spent(agenda.results.values()),
    )


def _quality(row: Row, study: Study) -> float:
    """Returns the figure by which the winner is chosen. Without a confirm phase it is that of the search, because only the
    models of the best proposals by it are kept."""
    if study.confirm or study.metric == "valid.bleu":
        return row.valid or 0.0
    return -row.metrics.get(study.metric, math.inf)


def _place(row: Row) -> tuple[bool, bool, int, int, float]:
    """Returns the sort key of a row. Scores after equal training stand together, and among equal rows the trial that was
    proposed first comes first, as in `Agenda.ranked`, which decides whose models are kept."""
    extent = 2 if row.pruned is not None else 1 if row.rung is not None else 0
    steps = row.pruned or row.rung or 0
    return not row.confirmed, row.mean is None, extent, -steps, -(row.mean or 0.0)


def _front(rows: Sequence[Row], study: Study) -> set[str]:
    """Returns the names on the front of the study's metrics; none if the study has one metric."""
    if not study.metrics:
        return set()
    measured = [row for row in rows if all(name in {"valid.bleu", *row.metrics} for name in study.objectives)]
    values = [[metric_of(row, name) for name in study.objectives] for row in measured]
    is_on_front = pareto_front(values, list(study.objectives.values()))
    return {row.name for row, is_on in zip(measured, is_on_front, strict=True) if is_on}


def _factor(looks: Sequence[int], seeds: int) -> float:
    """Returns what p-values are multiplied with at the look with this number of seeds."""
    return dict(zip(looks, look_factors(looks), strict=True))[seeds] if looks else 1.0


def _without_choice(rows: Sequence[Row]) -> float | None:
    """Returns `cross_fitted` for the trials that can win, over the seeds that all of them have."""
    seeds = [seed for seed in rows[0].seeds if all(seed in row.seeds for row in rows)] if rows else []

    def by_seed(row: Row, scores: Sequence[float]) -> list[float]:
        return [scores[row.seeds.index(seed)] for seed in seeds]

    return cross_fitted([by_seed(row, row.valid_scores) for row in rows], [by_seed(row, row.scores) for row in rows])


def _text_notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yields which trials were trained on which text, if it is not the corpus's own for all of them."""
    names: dict[str, list[str]] = {}
    for row in rows:
        names.setdefault(row.text or "raw", []).append(row.name)
    if len(names) > 1:
        texts = [f"{text} for {', '.join(same)}" for text, same in names.items()]
        yield f"Training text: {'; '.join(texts)}."
    elif "raw" not in names:
        yield from (f"Training text of all trials: {text}." for text in names)


def _look_notes(study: Study, agenda: Agenda) -> Iterator[str]:
    """Yields how many seeds a study with looks needed."""
    confirm = study.confirm
    if not confirm or not confirm.looks:
        return
    all_seeds, used = len(confirm.seeds), len(agenda.seeds)
    saved = (all_seeds - used) * len(agenda.confirmed())
    *first, last = map(str, confirm.looks)
    looks = f"{', '.join(first)} and {last}" if first else last
    adjusted = f"p is adjusted for the looks after {looks} seeds (Lan and DeMets 1983)."
    if saved:
        yield f"The answer was settled after {used} of {all_seeds} seeds, which saved {saved} runs; {adjusted}"
    else:
        yield f"All {all_seeds} seeds were needed; {adjusted}"


def _choice_notes(winner: Row | None, without_choice: float | None) -> Iterator[str]:
    """Yields how much of the winner's score is the advantage of the choice, if it shows in the first decimal."""
    if winner is None or winner.mean is None or without_choice is None:
        return
    if round(winner.mean, 1) != round(without_choice, 1):
        yield (
            f"{winner.name} was chosen with the seeds that are tested, which favours it. If the winner for each seed is chosen "
            f"with the other seeds, the winners' mean on the test set is {without_choice:.1f} instead of {winner.mean:.1f}."
        )


def _front_notes(study: Study, agenda: Agenda, rows: Sequence[Row]) -> Iterator[str]:
    """Yields the limits of a front, and which trials were on it before the confirm phase."""
    if not any(row.on_front for row in rows):
        return
    yield (
        "●: on the front, where no other trial is at least as good in every metric and better in one. It is computed from the "
        "figures without their uncertainty, so a place on it by a small difference may be chance. Seconds depend on the "
        "machine and on everything else that ran on it at the same time."
    )
    if not study.confirm:
        return
    values = {row.name: found for row in rows if not row.is_reference and (found := agenda.values(agenda.trials[row.name]))}
    is_on_front = pareto_front(list(values.values()), list(study.objectives.values()))
    searched = {name for name, is_on in zip(values, is_on_front, strict=True) if is_on}
    if others := [row.name for row in rows if row.name in searched and not row.confirmed]:
        yield f"On the front of the search, but not confirmed: {', '.join(others)}; a higher confirm.top would include them."


def _memory_notes(agenda: Agenda) -> Iterator[str]:
    """Yields which trials were trained with smaller micro-batches for lack of memory."""
    parts: dict[int, list[str]] = {}
    for trial in agenda.trials.values():
        most = max((result.micro_batches for result in all_results(trial, agenda)), default=1)
        parts.setdefault(most, []).append(trial.name)
    for number, names in sorted(parts.items()):
        if number > 1:
            were = "was" if len(names) == 1 else "were"
            yield (
                f"{', '.join(names)} ran out of memory and {were} trained with each batch in {number} parts; "
                "the sums are the same."
            )


def _skip_notes(agenda: Agenda) -> Iterator[str]:
    """Yields which runs skipped many of their updates."""
    for trial in agenda.trials.values():
        for run in {run.id: run for run in agenda.runs(trial).all}.values():
            result = agenda.results.get(run.id)
            if result and result.updates and result.skipped_updates and skips_many(result.skipped_updates, result.updates):
                yield f"{run.name}: {skipped_of(result.skipped_updates, result.updates)}."


def _unmeasured_notes(agenda: Agenda) -> Iterator[str]:
    """Yields why the speed or the analysis of a run is missing."""
    for trial in agenda.confirmed():
        for run in agenda.runs(trial).confirm:
            if (result := agenda.results.get(run.id)) and result.unmeasured:
                yield f"{run.name}: its speed or its encoder could not be measured: {result.unmeasured}"


def _best_seed(row: Row) -> int:
    """Returns the best seed on the validation set, the first one among equals."""
    valid = dict(zip(row.seeds, row.valid_scores, strict=True))
    return max(row.seeds, key=lambda seed: valid[seed])
