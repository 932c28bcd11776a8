"""The plot of quality against speed."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mtnat.files import whole_file
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.rows import Row
from mtnat.plot_labels import Label, Point, scale_axes, write_labels
from mtnat.training import Speed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWN, _REFERENCE = "the study's decoder", "the other decoder"
_STYLES = {_OWN: ("#1f77b4", "o"), _REFERENCE: ("#444444", "D")}
"""Colour and marker by kind of row."""
_MARKER_POINTS = 7
_PANELS: dict[str, Callable[[Speed], float]] = {
    "ms for one sentence (less is better)": lambda speed: speed.latency * 1e3,
    "sentences/s in batches (more is better)": lambda speed: speed.sentences_per_second,
}


def draw_speed(leaderboard: Leaderboard, path: Path) -> None:
    """Plots BLEU on the test set with its 95 % interval over the speed for one sentence and in batches."""
    from matplotlib.figure import Figure  # its import takes a second

    rows = [row for row in leaderboard.rows if row.speed and row.mean is not None]
    figure = Figure(figsize=(14, 7), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(_PANELS), sharey=True)
    for axes, (title, value) in zip(panels, _PANELS.items(), strict=True):
        _draw(axes, rows, value)
        axes.set_xlabel(title)
    panels[0].set_ylabel(f"BLEU on {leaderboard.test_set}")
    figure.suptitle(leaderboard.question, fontsize=10, x=0.01, ha="left", wrap=True)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(_STYLES), frameon=False)
    figure.draw_without_rendering()  # so that all positions are known
    for axes, value in zip(panels, _PANELS.values(), strict=True):
        labels = [Label(row.name, _place(row, value), _STYLES[_kind(row)][0]) for row in rows]
        intervals = [_interval(row, value) for row in rows if row.interval]
        write_labels(axes, labels, [label.place for label in labels], intervals, marker_points=_MARKER_POINTS)
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def _draw(axes: "Axes", rows: Sequence[Row], value: Callable[[Speed], float]) -> None:
    """Draws the markers of one panel."""
    for kind, (colour, marker) in _STYLES.items():
        members = [row for row in rows if _kind(row) == kind]
        if not members:
            continue
        across_N, up_N = zip(*(_place(row, value) for row in members), strict=True)
        axes.plot(across_N, up_N, marker, color=colour, markersize=_MARKER_POINTS, label=kind, zorder=3)
        for row in members:
            if row.interval:
                axes.plot(*zip(*_interval(row, value), strict=True), color=colour, alpha=0.4)
    scale_axes(axes, [_place(row, value) for row in rows])


def _kind(row: Row) -> str:
    return _REFERENCE if row.is_reference else _OWN


def _place(row: Row, value: Callable[[Speed], float]) -> Point:
    assert row.speed is not None
    assert row.mean is not None
    return value(row.speed), row.mean


def _interval(row: Row, value: Callable[[Speed], float]) -> list[Point]:
    """Returns the ends of the line that shows a row's interval."""
    across, _ = _place(row, value)
    assert row.interval is not None
    return [(across, bound) for bound in row.interval]
