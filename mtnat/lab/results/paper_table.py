"""The table of a study with columns, with the figures that papers report."""

from collections.abc import Mapping
from statistics import fmean

from mtnat.config import Record
from mtnat.evaluation import Mark
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.rows import Row
from mtnat.lab.study.record import Study


class Cell(Record):
    """The figures of one system in one column."""

    bleu: float | None = None
    """Mean sacreBLEU over seeds on the test set, or on the validation set if the study has no confirm phase."""
    mark: Mark = ""
    tokenized: float | None = None
    """Mean tokenized BLEU over seeds, the kind of figure that `published` is."""
    published: float | None = None
    """The published figure."""
    interval: float | None = None
    """Half of the 95 % interval of `bleu` over seeds (Student's t); None with one seed."""
    p_value_adjusted: float | None = None
    """p-value of the difference that `mark` shows, over seeds and sentences together, adjusted for the number of comparisons in
    the column; None with one seed."""
    seeds: int = 0


class TableRow(Record):
    """The row of one system."""

    name: str
    cells: dict[str, Cell]
    """Figures by column."""


class Column(Record):
    """How the figures of a column were measured."""

    test_set: str
    signature: str | None
    tokenized_signature: str | None


class Table(Record):
    """``table.json``."""

    study: str
    question: str
    against: str | None
    """The baseline that the marks of each column refer to."""
    published: str | None
    """Source of the published figures."""
    answers: dict[str, str]
    """The answer of each column."""
    notes: dict[str, tuple[str, ...]]
    """The notes of each column."""
    columns: dict[str, Column]
    rows: tuple[TableRow, ...]


def make_table(name: str, study: Study, leaderboards: Mapping[str, Leaderboard]) -> Table:
    """Returns the table of the columns' leaderboards, with the baselines in the order of the study file. Proposals are left
    out, because each column has different ones."""
    by_column = {column: {row.name: row for row in board.rows} for column, board in leaderboards.items()}
    published = study.published.bleu if study.published else {}
    rows = tuple(
        TableRow(
            name=name,
            cells={column: _cell(found.get(name), published.get(name, {}).get(column)) for column, found in by_column.items()},
        )
        for name in study.baselines
    )
    return Table(
        study=name,
        question=study.question,
        against=study.confirm.against if study.confirm else None,
        published=study.published.source if study.published else None,
        answers={column: board.answer for column, board in leaderboards.items()},
        notes={column: board.notes for column, board in leaderboards.items() if board.notes},
        columns={column: _column(board) for column, board in leaderboards.items()},
        rows=rows,
    )


def _cell(row: Row | None, published: float | None) -> Cell:
    if row is None:
        return Cell(published=published)
    tokenized = fmean(row.tokenized) if row.tokenized else None
    return Cell(
        bleu=row.mean,
        mark=row.mark,
        tokenized=tokenized,
        published=published,
        interval=(row.interval[1] - row.interval[0]) / 2 if row.interval else None,
        p_value_adjusted=row.p_value_adjusted,
        seeds=len(row.seeds),
    )


def _column(board: Leaderboard) -> Column:
    tokenized = next((row.tokenized_signature for row in board.rows if row.tokenized_signature), None)
    return Column(test_set=board.test_set or "validation set", signature=board.signature, tokenized_signature=tokenized)
