"""What a person sees while a study runs and when it ends: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from mtnat.lab.accounting import Spent
from mtnat.lab.agenda import Agenda
from mtnat.lab.fidelity import sentences
from mtnat.lab.folder import StudyFolder
from mtnat.lab.leaderboard import Leaderboard
from mtnat.lab.page import grid
from mtnat.lab.runs import Result, Run
from mtnat.lab.table import Table, figures, published_note, titles_of

SECONDS_BETWEEN_PICTURES = 0.5
NARROW = 100
"""Columns of a terminal below which bars are short."""
LEFT_OUT = frozenset({"95 % of difference", "tokens", "Wh"})
"""Of a leaderboard's columns; the file has all of them."""
FIRST_LEFT_OUT = ("GPU-hours", "kind", "seconds", "tokenized", "95 %", "seeds needed", "p over seeds", "seeds", "valid", "p")
"""Where they do not all fit on the terminal, in this order."""


class Screen(Protocol):
    """Who is told what goes on."""

    def say(self, text: str) -> None:
        """One line."""

    def started(self, run: Run) -> None: ...

    def progressed(self, run: Run, step: int, total_steps: int, metrics: Mapping[str, float]) -> None: ...

    def died(self, run: Run, step: int, reason: str) -> None:
        """Its process ended; it will start again at a step."""

    def ended(self, run: Run, result: Result) -> None: ...

    def tick(self) -> None:
        """A moment in which nothing need have happened."""


@dataclass
class _View:
    """A run under way, as last heard of."""

    run: Run
    started: float = field(default_factory=time.monotonic)
    first_step: int | None = None
    first_heard: float = 0.0
    step: int = 0
    total_steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def hear(self, step: int, total_steps: int, metrics: Mapping[str, float]) -> None:
        if self.first_step is None:
            self.first_step, self.first_heard = step, time.monotonic()
        self.step, self.total_steps = step, total_steps
        self.metrics |= metrics

    @property
    def seconds_left(self) -> float | None:
        """By the pace since the first point; None before the second."""
        if self.first_step is None or self.step <= self.first_step:
            return None
        pace = (time.monotonic() - self.first_heard) / (self.step - self.first_step)
        return pace * (self.total_steps - self.step)


class TerminalScreen:
    """Draws on a terminal, writes lines elsewhere."""

    def __init__(self, console: Console, agenda: Agenda, most_at_once: int) -> None:
        self._console, self._agenda, self._most_at_once = console, agenda, most_at_once
        self._views: dict[str, _View] = {}
        self._seconds: list[float] = []
        self._drawn = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> "TerminalScreen":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def started(self, run: Run) -> None:
        self._views[run.id] = _View(run)
        if not self._live:
            self.say(f"{run.name}: started ({run.phase})")

    def progressed(self, run: Run, step: int, total_steps: int, metrics: Mapping[str, float]) -> None:
        view = self._views[run.id]
        view.hear(step, total_steps, metrics)
        if not self._live and "valid/bleu" in metrics:
            self.say(f"{run.name}: step {step}/{total_steps}, {', '.join(_values(view.metrics))}")

    def died(self, run: Run, step: int, reason: str) -> None:
        self._views.pop(run.id, None)
        self.say(f"{run.name}: its process ended ({reason}); it will go on at step {step}")

    def ended(self, run: Run, result: Result) -> None:
        view = self._views.pop(run.id, None) or _View(run)
        self._seconds.append(time.monotonic() - view.started)
        self.say(f"{run.name}: {_outcome(result)} in {duration(self._seconds[-1])}; {self._study_line()}")

    def tick(self) -> None:
        if self._live and time.monotonic() - self._drawn >= SECONDS_BETWEEN_PICTURES:
            self._drawn = time.monotonic()
            self._live.update(self._picture(), refresh=True)

    def _study_line(self) -> str:
        ended, total = self._agenda.planned
        left = self._seconds_left(ended, total)
        return f"{ended} of {total} runs" + (f", about {duration(left)} left" if left else "")

    def _seconds_left(self, ended: int, total: int) -> float | None:
        if not self._seconds or ended >= total:
            return None
        mean = sum(self._seconds) / len(self._seconds)
        spent = sum(min(mean, time.monotonic() - view.started) for view in self._views.values())
        return (mean * (total - ended) - spent) / self._most_at_once

    def _picture(self) -> Group:
        table = RichTable(expand=False, pad_edge=False, box=None)
        for title in ("run", "phase", "step", "", "loss", "λ", "valid BLEU", "left"):
            table.add_column(title, justify="left" if title in ("run", "phase", "") else "right", no_wrap=True)
        for view in self._views.values():
            metrics, left = view.metrics, view.seconds_left
            table.add_row(
                Text(view.run.name),
                view.run.phase,
                f"{view.step}/{view.total_steps}" if view.total_steps else "starting",
                ProgressBar(total=view.total_steps or 1, completed=view.step, width=20 if self._console.width >= NARROW else 5),
                _shown(metrics, "train/loss", ".3f"),
                _shown(metrics, "train/lambda", ".2f"),
                _shown(metrics, "valid/bleu", ".2f"),
                duration(left) if left is not None else "",
            )
        return Group(table, Text(self._study_line(), style="bold"))


def show_end(console: Console, leaderboard: Leaderboard, folder: StudyFolder, tracking: str) -> None:
    """The leaderboard, the answer, what both took, and what to do with them."""
    rows = grid(leaderboard)
    shown = _fitting(rows, console.width)
    table = RichTable(title=leaderboard.question, title_justify="left", pad_edge=False, box=None)
    for title in shown:
        is_text = title in ("name", "kind")
        table.add_column("" if title == "name" else title, justify="left" if is_text else "right", no_wrap=title != "name")
    for row in rows:
        table.add_row(*(Text(row[title]) for title in shown))
    console.print()
    console.print(table)
    said = [leaderboard.answer, *(sentences(leaderboard.fidelity) if leaderboard.fidelity else [])]
    lines = ["", *said, "", f"leaderboard  {folder.report}"]
    if folder.pareto.exists():
        lines.append(f"front        {folder.pareto}")
    if leaderboard.winner:
        lines += [
            f"best         {folder.best_experiment}",
            f"translate    python -m mtnat translate --model {folder.best_model} < input.txt",
        ]
    lines += [f"compare      {tracking}", f"spent        {_spent(leaderboard.spent)}", f"disk         {_disk(folder)}"]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def show_table(console: Console, table: Table, folder: StudyFolder, tracking: str) -> None:
    """The table of a study with columns, each column's answer, and where all of it lies."""
    styles = dict(zip(titles_of(table), ("", "", "bright_black"), strict=False))
    shown = RichTable(pad_edge=False, box=None)
    shown.add_column("")
    for column in table.columns:
        for number, (title, style) in enumerate(styles.items()):
            shown.add_column(Text(f"{'' if number else column}\n{title}", style=style), justify="right", style=style)
    for row in table.rows:
        texts = [text for column in table.columns for text in figures(row.cells[column], table).values()]
        shown.add_row(Text(row.name), *map(Text, texts))
    console.print(f"\n{table.question}\n", markup=False, highlight=False, soft_wrap=True)
    console.print(shown)
    lines = [
        *([f"In grey, {published_note(table.published)}"] if table.published else []),
        "",
        *(f"{column}: {answer}" for column, answer in table.answers.items()),
        "",
        f"table        {folder.table_markdown}",
        f"for a paper  {folder.table_latex}",
        f"compare      {tracking}",
        f"disk         {_disk(folder)}",
    ]
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 90:
        return f"{max(0, seconds):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _fitting(rows: Sequence[Mapping[str, str]], width: int) -> list[str]:
    """The titles of the columns that matter and fit side by side; names may take several lines."""
    shown = [title for title in (rows[0] if rows else ()) if title not in LEFT_OUT]
    words = [word for row in rows for word in row["name"].split()]
    widths = {title: max(len(title), *(len(row[title]) for row in rows)) for title in shown}
    widths["name"] = max(map(len, words), default=0)
    for title in FIRST_LEFT_OUT:
        if sum(widths[each] + 2 for each in shown) > width and title in shown:
            shown.remove(title)
    return shown


def _spent(spent: Spent) -> str:
    """What runs took, as a person says it; what was not used or is not known is left out."""
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


def size(count: int) -> str:
    """Bytes as a person says them."""
    for power, unit in ((9, "GB"), (6, "MB")):
        if count >= 10**power:
            return f"{count / 10**power:.0f} {unit}" if count >= 10 ** (power + 1) else f"{count / 10**power:.1f} {unit}"
    return f"{count / 1000:.0f} kB"


def _outcome(result: Result) -> str:
    if result.failed:
        return f"failed ({result.failed})"
    if result.pruned is not None:
        return f"ended at step {result.pruned}, valid BLEU {result.valid or 0:.2f}"
    test = f", test BLEU {result.test:.2f}" if result.test is not None else ""
    return f"valid BLEU {result.valid or 0:.2f}{test}"


def _values(metrics: Mapping[str, float]) -> list[str]:
    named: dict[str, tuple[str, str]] = {
        "train/loss": ("loss", ".3f"),
        "train/lambda": ("λ", ".2f"),
        "valid/bleu": ("valid BLEU", ".2f"),
    }
    return [f"{label} {metrics[name]:{form}}" for name, (label, form) in named.items() if name in metrics]


def _shown(metrics: Mapping[str, float], name: str, form: str) -> str:
    return format(metrics[name], form) if name in metrics else ""
