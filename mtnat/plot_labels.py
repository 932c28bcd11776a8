"""The labels and the scales of a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

Point = tuple[float, float]

_WIDE = 8.0
"""An axis is logarithmic if the largest value is at least this many times the smallest."""
_FONT_POINTS = 9
_SIDES = ((0, 1), (1, 0.4), (-1, 0.4), (0, -1), (1, -0.6), (-1, -0.6), (0.7, 1), (-0.7, 1), (0.7, -1), (-0.7, -1))
_OFFSETS = [(distance * across, distance * up) for distance in (9, 16, 26, 38, 52) for across, up in _SIDES]
"""Where a label may stand beside its marker, in points, the best place first."""
_FAR_POINTS = 20
"""From here a line leads to the marker."""
_LINE_STEPS = 200
"""Points of a line that a label must not cover."""


@dataclass(frozen=True)
class Label:
    """What stands beside a marker."""

    text: str
    place: Point
    """The marker's, in the units of the axes."""
    colour: str


def write_labels(
    axes: "Axes", labels: Sequence[Label], markers: Sequence[Point], lines: Sequence[Sequence[Point]], *, marker_points: float
) -> None:
    """Writes each label where neither a marker nor another label stands and no line passes.

    Args:
        axes: of a figure that was laid out, so that every place is known.
        markers: all of them, also those without a label.
        lines: the corners of each.
        marker_points: the width of a marker.
    """
    from matplotlib.transforms import Bbox

    half = axes.figure.dpi / 72 * marker_points / 2
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in _pixels(axes, markers)]
    passed = np.concatenate([_along(_pixels(axes, line)) for line in lines] or [np.empty((0, 2))])
    for label in labels:
        note = axes.annotate(
            label.text,
            label.place,
            xytext=(0, 0),
            textcoords="offset points",
            color=label.colour,
            fontsize=_FONT_POINTS,
            zorder=5,
        )
        obstacles = [_obstacles(_moved(note, offset), axes, taken, passed) for offset in _OFFSETS]
        across, up = _OFFSETS[obstacles.index(min(obstacles))]
        taken.append(_moved(note, (across, up)))
        if max(abs(across), abs(up)) > _FAR_POINTS:
            arrow = {"arrowstyle": "-", "color": label.colour, "alpha": 0.5}
            axes.annotate("", label.place, xytext=(across, up), textcoords="offset points", arrowprops=arrow)


def _moved(note: "Annotation", offset: Point) -> "Bbox":
    """Where a label stands when it is put there."""
    across, up = offset
    note.set_position(offset)
    note.set_horizontalalignment("center" if not across else "left" if across > 0 else "right")
    note.set_verticalalignment("bottom" if up >= abs(across) else "top" if up < 0 else "center")
    return note.get_window_extent()


def _obstacles(label: "Bbox", axes: "Axes", taken: Sequence["Bbox"], passed_N2: NDArray[np.float64]) -> int:
    """How much is in a label's way."""
    room = label.padded(2)
    inside = axes.get_window_extent()
    leaves = not (inside.contains(room.x0, room.y0) and inside.contains(room.x1, room.y1))
    return 10 * (leaves + sum(room.overlaps(other) for other in taken)) + room.count_contains(passed_N2)


def _pixels(axes: "Axes", points: Sequence[Point]) -> NDArray[np.float64]:
    """Where points of the axes are in the picture, [N, 2]."""
    return np.asarray(axes.transData.transform(np.asarray(points, dtype=np.float64).reshape(-1, 2)))


def _along(corners_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points along a line from corner to corner."""
    steps = np.linspace(0, len(corners_N2) - 1, _LINE_STEPS * len(corners_N2))
    return np.column_stack([np.interp(steps, np.arange(len(corners_N2)), corners_N2[:, axis]) for axis in (0, 1)])


def scale_axes(axes: "Axes", places: Sequence[Point]) -> None:
    """Sets plain numbers as ticks, and a logarithmic scale for an axis with a wide range."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    for axis, scale, values in zip(
        (axes.xaxis, axes.yaxis), (axes.set_xscale, axes.set_yscale), zip(*places, strict=True), strict=True
    ):
        if min(values) > 0 and max(values) > _WIDE * min(values):
            scale("log")
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.margins(0.12)
    axes.grid(alpha=0.3)
