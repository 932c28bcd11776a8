"""The table of a study with columns, as a paper prints it: Markdown, LaTeX, JSON."""

from collections.abc import Mapping
from statistics import fmean

from mtnat.config import Record
from mtnat.evaluation import Mark
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.rows import Row
from mtnat.lab.study.record import Study


class Cell(Record):
    """A system in a column."""

    bleu: float | None = None
    """sacreBLEU on the test set, mean over seeds; on the validation set where the study has no confirm phase."""
    mark: Mark = ""
    tokenized: float | None = None
    """Tokenized BLEU, mean over seeds: what `published` may be looked at beside."""
    published: float | None = None
    """The figure that others printed."""
    interval: float | None = None
    """Half of the 95 % interval of `bleu` over seeds (Student's t); None with one seed."""
    p_value_over_seeds: float | None = None
    """Of the difference that `mark` is about, over seeds and sentences together; None with one seed."""
    seeds: int = 0


class TableRow(Record):
    """A system."""

    name: str
    cells: dict[str, Cell]
    """By column."""


class Column(Record):
    """What a column's figures are."""

    test_set: str
    signature: str | None
    tokenized_signature: str | None


class Table(Record):
    """``table.json``."""

    study: str
    question: str
    against: str | None
    """The baseline that marks refer to, in the same column."""
    published: str | None
    """Where the figures in grey are from."""
    answers: dict[str, str]
    """Each column's answer."""
    notes: dict[str, tuple[str, ...]]
    """Each column's."""
    columns: dict[str, Column]
    rows: tuple[TableRow, ...]


def make_table(name: str, study: Study, leaderboards: Mapping[str, Leaderboard]) -> Table:
    """The table of leaderboards by column: baselines in the order of the file. Each column has proposals of its own, which it
    leaves out."""
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
        p_value_over_seeds=row.p_value_over_seeds,
        seeds=len(row.seeds),
    )


def _column(board: Leaderboard) -> Column:
    tokenized = next((row.tokenized_signature for row in board.rows if row.tokenized_signature), None)
    return Column(test_set=board.test_set or "validation set", signature=board.signature, tokenized_signature=tokenized)
