"""The terminal output at the end of a study."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from mtnat.lab.outputs.folder import StudyFolder
from mtnat.lab.report.cells import TITLES, figures, leaderboard_rows, published_rows
from mtnat.lab.report.notes import published_note
from mtnat.lab.results.costs import Spent
from mtnat.lab.results.fidelity import sentences
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.paper_table import Table
from mtnat.lab.results.words import duration, size
from mtnat.process import typed

LEFT_OUT = frozenset({"95 % of difference", "p, these models only", "tokens", "Wh"})
"""Columns of the leaderboard that the terminal never shows; the file has all columns."""
MOST_FAILED = 5
"""The most trials with failed runs whose reasons the terminal shows."""
FIRST_LEFT_OUT = ("passes", "GPU-hours", "kind", "seconds", "tokenized", "95 %", "seeds needed", "seeds", "valid", "p")
"""Columns that are left out, in this order, until the others fit on the terminal."""


def show_end(console: Console, leaderboard: Leaderboard, folder: StudyFolder, tracking: str) -> None:
    """Prints the leaderboard, the answer, the costs, and the files and commands for further use."""
    rows = leaderboard_rows(leaderboard)
    shown = _fitting(rows, console.width)
    table = RichTable(title=Text(leaderboard.question), title_justify="left", pad_edge=False, box=None)
    for title in shown:
        is_text = title in ("name", "kind")
        table.add_column("" if title == "name" else title, justify="left" if is_text else "right", no_wrap=title != "name")
    for row in rows:
        table.add_row(*(Text(row[title]) for title in shown))
    console.print()
    console.print(table)
    said = [leaderboard.answer, *(sentences(leaderboard.fidelity) if leaderboard.fidelity else [])]
    failed = [f"failed       {row.name}: {row.failed}" for row in leaderboard.rows if row.failed]
    if len(failed) > MOST_FAILED:
        failed[MOST_FAILED:] = [f"             and {len(failed) - MOST_FAILED} more; the leaderboard has their reasons"]
    lines = ["", *said, "", *failed, f"leaderboard  {folder.report}"]
    if folder.pareto.exists():
        lines.append(f"front        {folder.pareto}")
    if folder.speed.exists():
        lines.append(f"speed        {folder.speed}")
    lines += [f"encoders     {path}" for path in (folder.similarity, folder.probing) if path.exists()]
    if leaderboard.winner:
        lines += [
            f"best         {folder.best_experiment}",
            f"translate    {typed('mtnat')} translate --model {folder.best_model} < input.txt",
        ]
    lines += [f"compare      {tracking}", f"spent        {_spent(leaderboard.spent)}", f"disk         {_disk(folder)}"]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def show_table(console: Console, table: Table, folder: StudyFolder, tracking: str) -> None:
    """Prints the table of a study with columns, the answer of each column, and the files."""
    shown = RichTable(pad_edge=False, box=None)
    shown.add_column("")
    for column in table.columns:
        for number, title in enumerate(TITLES):
            shown.add_column(Text(f"{'' if number else column}\n{title}"), justify="right")
    for row in table.rows:
        texts = [text for column in table.columns for text in figures(row.cells[column])]
        shown.add_row(Text(row.name), *map(Text, texts))
    console.print(f"\n{table.question}\n", markup=False, highlight=False, soft_wrap=True)
    console.print(shown)
    if table.published:
        console.print(f"\n{published_note(table.published)}", markup=False, highlight=False, soft_wrap=True)
        published = RichTable("", pad_edge=False, box=None)
        for column in table.columns:
            published.add_column(Text(column))
        for name, *texts in published_rows(table):
            published.add_row(Text(name), *map(Text, texts))
        console.print(published)
    lines = [
        "",
        *(f"{column}: {answer}" for column, answer in table.answers.items()),
        "",
        f"table        {folder.table_markdown}",
        f"for a paper  {folder.table_latex}",
        f"compare      {tracking}",
        f"disk         {_disk(folder)}",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """Returns the titles of the columns that fit on the terminal; a name may take several lines."""
    shown = [title for title in (rows[0] if rows else ()) if title not in LEFT_OUT]
    words = [word for row in rows for word in row["name"].split()]
    widths = {title: max(len(title), *(len(row[title]) for row in rows)) for title in shown}
    widths["name"] = max(map(len, words), default=0)
    for title in FIRST_LEFT_OUT:
        if sum(widths[each] + 2 for each in shown) > width and title in shown:
            shown.remove(title)
    return shown


def _spent(spent: Spent) -> str:
    """Returns the costs as text; those that are zero or not known are left out."""
    parts = [
        f"{duration(spent.seconds)} of runs",
        f"{spent.gpu_seconds / 3600:.2f} GPU-hours" if spent.gpu_seconds else "",
        "" if spent.tokens is None else f"{spent.tokens / 1e6:.1f} M target tokens",
        "" if spent.joules is None else f"{spent.joules / 3600:,.0f} Wh",
    ]
    return ", ".join(filter(None, parts))


def _disk(folder: StudyFolder) -> str:
    used = folder.disk()
    return f"{size(used.bytes)} in {folder.path} (models {size(used.models)})"
