"""The figures of a leaderboard and of a table as text, for every kind of report."""

from statistics import fmean

from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.paper_table import Cell, Table
from mtnat.lab.results.rows import Row
from mtnat.lab.results.words import plain
from mtnat.training import Speed

_NOTHING = "–"
TITLES = ("sacreBLEU", "tokenized")
"""Titles of the figures in each column of a table."""


def leaderboard_rows(leaderboard: Leaderboard) -> list[dict[str, str]]:
    """Returns the rows as text by title; columns that are empty in every row are left out."""
    rows = [_cells(row, leaderboard) for row in leaderboard.rows]
    return [{title: text for title, text in row.items() if any(each[title] for each in rows)} for row in rows]


def figures(cell: Cell) -> list[str]:
    """Returns the figures of a cell as text, in the order of `TITLES`."""
    interval = f" ± {cell.interval:.1f}" if cell.interval is not None else ""
    return [f"{_number(cell.bleu)}{cell.mark}{interval}", _number(cell.tokenized)]


def published_rows(table: Table) -> list[list[str]]:
    """Returns the published figures as text, a row for each system that has any: its name, and its figure for each column.

    They are shown apart from the study's own, because they are of other text and other training.
    """
    rows = [(row.name, [row.cells[column].published for column in table.columns]) for row in table.rows]
    return [[name, *map(_number, values)] for name, values in rows if any(value is not None for value in values)]


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:.2f}"


def _cells(row: Row, leaderboard: Leaderboard) -> dict[str, str]:
    """Returns a row as text by title."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    others = [name for name in leaderboard.objectives if name != "valid.bleu"]
    return {
        "name": row.name,
        "kind": row.kind,
        "BLEU": _score(row),
        "95 %": f"{row.interval[0]:.1f} … {row.interval[1]:.1f}" if row.interval else "",
        "tokenized": number(fmean(row.tokenized) if row.tokenized else None, ".2f"),
        "difference": number(row.difference, "+.2f"),
        "95 % of difference": f"{row.difference_interval[0]:+.1f} … {row.difference_interval[1]:+.1f}"
        if row.difference_interval
        else "",
        "p": _p_value(row.p_value_adjusted),
        "p, these models only": _p_value(row.p_value),
        "seeds needed": "" if row.seeds_needed is None else str(row.seeds_needed).replace("more than ", "> "),
        "valid": number(row.valid, ".2f") if row.is_full else "",
        **{name: plain(name, row.metrics[name]) if name in row.metrics else "" for name in others},
        **_speed(row.speed),
        "front": "●" if row.on_front else "",
        "seeds": " ".join(map(str, row.seeds)),
        "seconds": f"{row.spent.seconds:.0f}",
        "GPU-hours": number(row.spent.gpu_seconds / 3600 or None, ".2f"),
        "tokens": number(row.spent.tokens, ",d") if row.spent.tokens is not None else "",
        "Wh": number(None if row.spent.joules is None else row.spent.joules / 3600, ".1f"),
    }


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _speed(speed: Speed | None) -> dict[str, str]:
    titles = ("sentences/s", "ms for one", "passes", "layers in sequence")
    if speed is None:
        return dict.fromkeys(titles, "")
    figures = (
        f"{speed.sentences_per_second:,.{0 if speed.sentences_per_second >= 10 else 1}f}",
        f"{speed.latency * 1e3:.1f}",
        f"{speed.passes:.1f}",
        f"{speed.layers:.1f}",
    )
    return dict(zip(titles, figures, strict=True))


def _score(row: Row) -> str:
    if row.mean is None:
        return "failed"
    if row.pruned is not None:
        return f"{row.mean:.2f} (pruned at step {row.pruned})"
    if row.rung is not None:
        return f"{row.mean:.2f} (valid, T = {row.rung})"
    return f"{row.mean:.2f}{row.mark}" if row.confirmed else f"{row.mean:.2f} (valid)"
