"""Output of figures: a table, or a line of JSON for each row."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from rich.table import Table

from mtnat.console import OutputConsole

Figure = str | int | float | Mapping[str, float] | None
Row = dict[str, Figure]

_FORMS = {
    "target_tokens_per_second": "{:,.0f}",
    "batches_per_second": "{:,.0f}",
    "pairs_per_second": "{:,.0f}",
    "pairs": "{:,}",
    "flops_per_target_token": "{:,}",
    "utilization": "{:.1%}",
    "padding_share": "{:.1%}",
    "sentences_per_second": "{:,.1f}",
    "latency_ms": "{:,.1f}",
    "bleu": "{:.2f}",
    "decoder_passes_mean": "{:.2f}",
    "gflop_per_sentence": "{:,.3g}",
    "matmul_gflops": "{:,.1f}",
    "models_only_per_row": "{:.1%}",
    "false_marks_per_row": "{:.1%}",
    "false_marks_per_leaderboard": "{:.1%}",
    "power": "{:.1%}",
    "seeds_used": "{:.1f}",
    "winners_advantage": "{:.2f}",
    "winners_advantage_estimated": "{:.2f}",
}


def show(rows: Iterable[Row], *, as_json: bool) -> None:
    """Prints rows on standard output; as JSON, each one as soon as it is known."""
    if as_json:
        for row in rows:
            print(json.dumps(row), flush=True)
        return
    rows = list(rows)
    OutputConsole().print(_lines(rows[0]) if len(rows) == 1 else _columns(rows))


class Texts(NamedTuple):
    """A table as text. Figures that are equal in all rows are in the title."""

    title: str
    labels: list[str]
    rows: list[list[str]]


def texts_of(rows: Sequence[Row]) -> Texts:
    """Returns several rows as text."""
    shared = [name for name, value in rows[0].items() if name != "system" and all(row[name] == value for row in rows)]
    names = [name for name in rows[0] if name not in shared]
    return Texts(
        title=", ".join(f"{_label(name)} {_shown(name, rows[0][name])}" for name in shared),
        labels=[_label(name) for name in names],
        rows=[[_shown(name, row[name]) for name in names] for row in rows],
    )


def _columns(rows: Sequence[Row]) -> Table:
    """Returns a table with a line for each row."""
    texts = texts_of(rows)
    table = Table(title=texts.title, title_justify="left", box=None, pad_edge=False)
    for label in texts.labels:
        table.add_column(label, justify="left" if label == "system" else "right")
    for row in texts.rows:
        table.add_row(*row)
    return table


def _lines(row: Row) -> Table:
    """Returns a table of one row, with a line for each figure."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in row.items():
        table.add_row(_label(name), _shown(name, value))
    return table


def _label(name: str) -> str:
    return name.removesuffix("_bytes").replace("_", " ")


def _shown(name: str, value: Figure) -> str:
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {share:.1%}" for key, share in value.items())
    if name.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**20:,.0f} MiB"
    return _FORMS.get(name, "{}").format(value)
