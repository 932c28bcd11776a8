"""The plot of a study's Pareto front."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mtnat.files import whole_file
from mtnat.lab.results.answer import metric_of
from mtnat.lab.results.leaderboard import Leaderboard
from mtnat.lab.results.rows import Row
from mtnat.lab.study.searching import Direction
from mtnat.plot_labels import Label, Point, scale_axes, write_labels

_NAMES = {
    "valid.bleu": "BLEU on the validation set",
    "valid.loss": "loss on the validation set",
    "decode.seconds": "seconds to translate the validation set",
    "train.seconds": "seconds of training",
    "model.parameters": "weights of the model",
}
_FRONT, _OTHER, _UNCONFIRMED, _REFERENCE = "on the front", "not on it", "one seed only", "the other decoder"
_STYLES = {
    _FRONT: ("#1f77b4", "#1f77b4", "o"),
    _OTHER: ("#777777", "#777777", "o"),
    _UNCONFIRMED: ("#777777", "none", "o"),
    _REFERENCE: ("#444444", "#444444", "D"),
}
"""Colour, fill and marker by kind of trial."""
_MARKER_POINTS = 7


@dataclass(frozen=True)
class _Mark:
    """A trial in the plot."""

    name: str
    kind: str
    is_named: bool
    place: Point


def draw_front(leaderboard: Leaderboard, path: Path) -> None:
    """Plots the trials that were trained to their end by the study's first two metrics, the first one on the vertical axis."""
    from matplotlib.figure import Figure  # its import takes a second

    up, across, *others = leaderboard.objectives
    marks = _marks(leaderboard, across, up)
    front = sorted(mark.place for mark in marks if mark.kind == _FRONT)
    lines = [_stairs(front, leaderboard.objectives[across])] if front and not others else []  # of three it is no line
    figure = Figure(figsize=(9, 6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for line in lines:
        axes.plot(*zip(*line, strict=True), color=_STYLES[_FRONT][0], alpha=0.4)
    for kind, (colour, filling, marker) in _STYLES.items():
        if places := [mark.place for mark in marks if mark.kind == kind]:
            across_N, up_N = zip(*places, strict=True)
            axes.plot(
                across_N, up_N, marker, color=colour, markerfacecolor=filling, markersize=_MARKER_POINTS, label=kind, zorder=3
            )
    title = leaderboard.question + (f" (The front is also one of {', '.join(others)}.)" if others else "")
    axes.set_title(title, fontsize=10, loc="left", wrap=True)
    axes.set_xlabel(_axis_label(across, leaderboard.objectives))
    axes.set_ylabel(_axis_label(up, leaderboard.objectives))
    scale_axes(axes, [mark.place for mark in marks])
    figure.legend(loc="outside lower center", ncols=len(_STYLES), frameon=False)
    figure.draw_without_rendering()  # so that all positions are known
    labels = [Label(mark.name, mark.place, _STYLES[mark.kind][0]) for mark in marks if mark.is_named]
    write_labels(axes, labels, [mark.place for mark in marks], lines, marker_points=_MARKER_POINTS)
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def _marks(leaderboard: Leaderboard, across: str, up: str) -> list[_Mark]:
    """Returns the trials in the plot, the front first, so that its labels get the best positions."""
    marks = [
        _Mark(
            row.name,
            _kind(row, leaderboard),
            row.on_front or row.kind == "baseline",
            (metric_of(row, across), metric_of(row, up)),
        )
        for row in leaderboard.rows
        if row.is_full and row.valid is not None and {across, up} <= {"valid.bleu", *row.metrics}
    ]
    return sorted(marks, key=lambda mark: (mark.kind != _FRONT, mark.place))


def _stairs(front: Sequence[Point], direction: Direction) -> list[Point]:
    """Returns the corners of the staircase through the front: between two members it has the value of the worse one."""
    corners = [front[0]]
    for (before, height), (after, next_height) in pairwise(front):
        corners += [(after, height) if direction == "min" else (before, next_height), (after, next_height)]
    return corners


def _kind(row: Row, leaderboard: Leaderboard) -> str:
    if row.is_reference:
        return _REFERENCE
    if row.on_front:
        return _FRONT
    return _UNCONFIRMED if leaderboard.test_set and not row.confirmed else _OTHER


def _axis_label(metric: str, objectives: Mapping[str, str]) -> str:
    return f"{_NAMES[metric]} ({'more' if objectives[metric] == 'max' else 'less'} is better)"
