"""What a study found: its rows, the winner, the front, and the answer in a sentence or two."""

from collections.abc import Iterator, Sequence

from pydantic import Field

from mtnat.config import Record
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.pareto import pareto_front
from mtnat.lab.results.answer import answer, metric_of
from mtnat.lab.results.costs import Spent, spent
from mtnat.lab.results.fidelity import Fidelity
from mtnat.lab.results.rows import Judge, Row, all_results, compared, ended_runs, make_row
from mtnat.lab.study.record import Study
from mtnat.lab.study.searching import Direction


class Leaderboard(Record):
    """A study's end: ``leaderboard.json``."""

    study: str
    question: str
    answer: str
    metric: str
    objectives: dict[str, Direction] = Field(default_factory=dict)
    """What was searched on: direction by metric, of a study with several; the rows say who is on their front."""
    test_set: str | None
    signature: str | None
    winner: str | None
    """Chosen by BLEU on the validation set, so that the test set stays untouched by choices, among the trials that were trained
    to their end and translate with the same decoder as the study's experiment."""
    best_seed: int | None
    """The winner's seed that is best on the validation set, whose model is in ``best/``."""
    rows: tuple[Row, ...]
    fidelity: Fidelity | None = None
    """How well scores of less training told which trials are the best; of a study with `horizon`."""
    notes: tuple[str, ...] = ()
    """What else a reader must know, a sentence each."""
    seconds: float
    """Wall-clock time of the study since it was last started."""
    spent: Spent = Spent()
    """By all runs, the teacher's among them."""


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
) -> Leaderboard:
    """The leaderboard of an agenda that is finished: confirmed rows by their mean, then the others by the metric, those that
    were not trained to their end last."""
    confirmed = agenda.confirmed()
    rows = [make_row(trial, study, agenda, judge, confirmed=trial in confirmed) for trial in agenda.trials.values()]
    if study.confirm:
        rows = [compared(row, study.confirm.against, rows, agenda, judge) for row in rows]
    # A baseline that translates with the other decoder is a reference point: the question is asked of this one.
    candidates = {
        row.name
        for row in rows
        if row.valid is not None and row.is_full and row.confirmed == bool(study.confirm) and not row.is_reference
    }
    front = _front([row for row in rows if row.name in candidates], study)
    rows = [row.model_copy(update={"on_front": row.name in front}) for row in rows]
    rows.sort(key=_place)
    winner = max(
        (row for row in rows if row.name in candidates), key=lambda row: (row.valid or 0.0, row.on_front), default=None
    )
    return Leaderboard(
        study=name,
        question=study.question,
        answer=answer(winner, rows, study),
        metric=study.metric,
        objectives=study.objectives if study.metrics else {},
        test_set=test_set if study.confirm else None,
        signature=next((row.signature for row in rows if row.signature), None),
        winner=winner.name if winner else None,
        best_seed=_best_seed(winner, agenda) if winner else None,
        rows=tuple(rows),
        fidelity=fidelity,
        notes=(*notes, *_front_notes(study, agenda, rows), *_memory_notes(agenda)),
        seconds=seconds,
        spent=spent(agenda.results.values()),
    )


def _place(row: Row) -> tuple[bool, bool, int, int, float]:
    """By which rows are sorted: scores after equally much training stand together, and of equals the one proposed first comes
    first, as in `Agenda.ranked`, which decides whose model is kept."""
    extent = 2 if row.pruned is not None else 1 if row.rung is not None else 0
    steps = row.pruned or row.rung or 0
    return not row.confirmed, row.mean is None, extent, -steps, -(row.mean or 0.0)


def _front(rows: Sequence[Row], study: Study) -> set[str]:
    """The names on the front of the study's metrics; nobody where it has only one."""
    if not study.metrics:
        return set()
    measured = [row for row in rows if all(name in {"valid.bleu", *row.metrics} for name in study.objectives)]
    values = [[metric_of(row, name) for name in study.objectives] for row in measured]
    is_on_front = pareto_front(values, list(study.objectives.values()))
    return {row.name for row, is_on in zip(measured, is_on_front, strict=True) if is_on}


def _front_notes(study: Study, agenda: Agenda, rows: Sequence[Row]) -> Iterator[str]:
    """What a front is worth, and who else was on it before the confirm phase."""
    if not any(row.on_front for row in rows):
        return
    yield (
        "●: on the front, where nothing else is at least as good in every metric and better in one. It is drawn by the "
        "figures as they are, so a place won by a small difference may be chance; seconds are those of this machine, with all "
        "that ran on it meanwhile."
    )
    if not study.confirm:
        return
    values = {row.name: found for row in rows if not row.is_reference and (found := agenda.values(agenda.trials[row.name]))}
    is_on_front = pareto_front(list(values.values()), list(study.objectives.values()))
    searched = {name for name, is_on in zip(values, is_on_front, strict=True) if is_on}
    if others := [row.name for row in rows if row.name in searched and not row.confirmed]:
        yield f"On the front of the search, but not confirmed: {', '.join(others)}; a higher confirm.top takes them in."


def _memory_notes(agenda: Agenda) -> Iterator[str]:
    """Who was trained in smaller parts for want of memory."""
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


def _best_seed(row: Row, agenda: Agenda) -> int:
    """The seed that is best on the validation set, the first of equals."""
    runs = ended_runs(agenda.trials[row.name], agenda, confirmed=row.confirmed)
    valid = {run.experiment.seed: result.valid or 0.0 for run, result in runs}
    return max(row.seeds, key=lambda seed: valid[seed])
