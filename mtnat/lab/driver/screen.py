"""The progress of a study: a live table on a terminal, plain lines otherwise."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table as RichTable
from rich.text import Text

from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.results.words import duration

SECONDS_BETWEEN_PICTURES = 0.5
NARROW = 100
"""Width of a terminal in characters below which progress bars are short."""


class Screen(Protocol):
    """The port to whatever shows the progress of a study."""

    def say(self, text: str) -> None:
        """Shows one line of text."""

    def started(self, run: Run) -> None: ...

    def progressed(self, run: Run, step: int, total_steps: int, metrics: Mapping[str, float]) -> None: ...

    def died(self, run: Run, step: int, reason: str) -> None:
        """A run's process has died; the run starts again at this step."""

    def ended(self, run: Run, result: Result) -> None: ...

    def tick(self) -> None:
        """Called regularly, so that the display can be redrawn."""


@dataclass
class _View:
    """The last known state of a run in progress."""

    run: Run
    started: float
    first_step: int | None = None
    first_time: float = 0.0
    step: int = 0
    total_steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)

    def update(self, step: int, total_steps: int, metrics: Mapping[str, float]) -> None:
        if self.first_step is None:
            self.first_step, self.first_time = step, time.monotonic()
        self.step, self.total_steps = step, total_steps
        self.metrics |= metrics

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the speed since the first report; None before the second report."""
        if self.first_step is None or self.step <= self.first_step:
            return None
        pace = (time.monotonic() - self.first_time) / (self.step - self.first_step)
        return pace * (self.total_steps - self.step)

    @property
    def seconds(self) -> float | None:
        """The time that the run will take in all, from the speed since the first report; None before the second report."""
        return None if self.seconds_left is None else time.monotonic() - self.started + self.seconds_left


class TerminalScreen:
    """Draws a live table on a terminal, and prints lines otherwise."""

    def __init__(self, console: Console, agenda: Agenda, most_at_once: int, *, names_hosts: bool = False) -> None:
        """
        Args:
            names_hosts: whether the lines of ended runs name their machines.
        """
        self._console, self._agenda, self._most_at_once, self._names_hosts = console, agenda, most_at_once, names_hosts
        self._views: dict[str, _View] = {}
        self._seconds: list[float] = []
        self._drawn = 0.0
        live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
        self._live = live if console.is_terminal else None

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
        self._views[run.id] = _View(run, time.monotonic())
        if not self._live:
            self.say(f"{run.name}: started ({run.phase})")

    def progressed(self, run: Run, step: int, total_steps: int, metrics: Mapping[str, float]) -> None:
        view = self._views[run.id]
        view.update(step, total_steps, metrics)
        if not self._live and "valid/bleu" in metrics:
            line = f"{run.name}: step {step}/{total_steps}, {', '.join(_values(view.metrics))}"
            # Until a run has ended, nothing else says how long the study will take.
            self.say(line if self._seconds else f"{line}; {self._study_line()}")

    def died(self, run: Run, step: int, reason: str) -> None:
        self._views.pop(run.id, None)
        self.say(f"{run.name}: its process ended ({reason}); it will continue at step {step}")

    def ended(self, run: Run, result: Result) -> None:
        view = self._views.pop(run.id, None) or _View(run, time.monotonic())
        self._seconds.append(time.monotonic() - view.started)
        host = f" on {result.host}" if self._names_hosts and result.host else ""
        self.say(f"{run.name}: {_outcome(run, result)} in {duration(self._seconds[-1])}{host}; {self._study_line()}")

    def tick(self) -> None:
        if self._live and time.monotonic() - self._drawn >= SECONDS_BETWEEN_PICTURES:
            self._drawn = time.monotonic()
            self._live.update(self._picture(), refresh=True)

    def _study_line(self) -> str:
        ended, total = self._agenda.planned
        left = self._seconds_left(ended, total)
        return f"{ended} of {total} runs" + (f", about {duration(left)} left" if left else "")

    def _seconds_left(self, ended: int, total: int) -> float | None:
        # Before the first run has ended, those in progress stand for all.
        seconds = self._seconds or [one for view in self._views.values() if (one := view.seconds) is not None]
        if not seconds or ended >= total:
            return None
        mean = sum(seconds) / len(seconds)
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


def _outcome(run: Run, result: Result) -> str:
    if result.failed:
        return f"failed ({result.failed})"
    if run.phase in ("analysis", "speed") and result.unmeasured:
        return f"not measured ({result.unmeasured})"
    if run.phase == "analysis":
        return "encoder analysed"
    if run.phase == "speed" and result.speed:
        return f"{1e3 * result.speed.latency:.3g} ms for one sentence"
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
