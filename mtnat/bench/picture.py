"""A picture of quality against speed."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mtnat.bench.report import Row
from mtnat.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

SUFFIXES = (".png", ".svg", ".pdf")

_STYLES = {
    "AT": ("#444444", "D"),
    "NAT": ("#1f77b4", "o"),
    "NAT, reranked by AT": ("#d95f02", "s"),
}
"""By kind of system, colour and marker."""
_MARKER_POINTS, _STAR_POINTS, _LABEL_POINTS = 7, 13, 9
_SIDES = ((0, 1), (1, 0.4), (-1, 0.4), (0, -1), (1, -0.6), (-1, -0.6), (0.7, 1), (-0.7, 1), (0.7, -1), (-0.7, -1))
_OFFSETS = [(distance * across, distance * up) for distance in (9, 16, 26, 38, 52) for across, up in _SIDES]
"""Where a label may stand beside its marker, in points, the best place first."""
_FAR_POINTS = 20
"""From here a line leads to the marker."""
_LINE_STEPS = 200
"""Points of a line that a label must not cover."""


def check_picture(path: Path) -> None:
    """Says what would keep a picture from being drawn, before the time for its figures is spent.

    Raises:
        UserError: the suffix is unknown, the file cannot be written, or matplotlib is missing.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--picture {path}: must end with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; give another name.")
    if find_spec("matplotlib") is None:  # which the core runs without
        raise UserError("--picture: needs matplotlib; install mtnat[study], or leave the option out.")
    was_there = path.exists()
    try:
        path.open("ab").close()
    except OSError as error:
        raise UserError(f"--picture {path}: cannot be written ({error.strerror}); give another path.") from None
    if not was_there:
        path.unlink()


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """BLEU over sentences a second of the rows of `bench_decode`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    lines = []
    for kind, (colour, marker) in _STYLES.items():
        members = [row for row in rows if _kind(row) == kind]
        joined = [row for row in members if row["preset"] in (None, "paper")]
        single = [row for row in members if row not in joined]
        if joined:
            style = "none" if kind == "AT" else "-"
            axes.plot(*_places(joined), marker, linestyle=style, color=colour, markersize=_MARKER_POINTS, label=kind)
            axes.plot(*_places(single), "*", color=colour, markersize=_STAR_POINTS)
            if kind != "AT":
                lines.append(joined)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel("sentences per second")
    axes.set_ylabel("BLEU (sacreBLEU)")
    _scale(axes)
    figure.legend(loc="outside lower center", ncols=len(_STYLES), frameon=False)
    figure.draw_without_rendering()  # so that every place is known
    _label(axes, rows, lines)
    with rc_context({"svg.fonttype": "none"}):  # text that can be searched and edited
        figure.savefig(path)


def _kind(row: Row) -> str:
    if row["decoder"] == "at":
        return "AT"
    return "NAT, reranked by AT" if row["rerank"] == "at" else "NAT"


def _text(row: Row) -> str:
    """What the legend does not say."""
    if row["decoder"] == "at":
        return "greedy" if row["beam"] == 1 else f"beam {row['beam']}"
    if row["preset"] != "paper":
        return str(row["preset"])
    return "1 pass" if row["passes"] == 1 else f"{row['passes']} passes"


def _places(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    return [_number(row, "sentences_per_second") for row in rows], [_number(row, "bleu") for row in rows]


def _number(row: Row, name: str) -> float:
    value = row[name]
    assert isinstance(value, int | float)
    return value


def _scale(axes: "Axes") -> None:
    """A logarithmic axis with plain numbers, also where all speeds lie within one power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.12)
    axes.grid(alpha=0.3)


def _label(axes: "Axes", rows: Sequence[Row], lines: Sequence[Sequence[Row]]) -> None:
    """Writes beside each marker what it is, where neither a marker nor another label stands and no line passes."""
    from matplotlib.transforms import Bbox

    half = axes.figure.dpi / 72 * _MARKER_POINTS / 2
    taken = [Bbox.from_extents(x - half, y - half, x + half, y + half) for x, y in _pixels(axes, rows)]
    passed = np.concatenate([_along(_pixels(axes, line)) for line in lines] or [np.empty((0, 2))])
    for row, x, y in zip(rows, *_places(rows), strict=True):
        colour, _ = _STYLES[_kind(row)]
        note = axes.annotate(
            _text(row), (x, y), xytext=(0, 0), textcoords="offset points", color=colour, fontsize=_LABEL_POINTS, zorder=5
        )
        obstacles = [_obstacles(_moved(note, offset), axes, taken, passed) for offset in _OFFSETS]
        across, up = _OFFSETS[obstacles.index(min(obstacles))]
        taken.append(_moved(note, (across, up)))
        if max(abs(across), abs(up)) > _FAR_POINTS:
            arrow = {"arrowstyle": "-", "color": colour, "alpha": 0.5}
            axes.annotate("", (x, y), xytext=(across, up), textcoords="offset points", arrowprops=arrow)


def _moved(note: "Annotation", offset: tuple[float, float]) -> "Bbox":
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


def _pixels(axes: "Axes", rows: Sequence[Row]) -> NDArray[np.float64]:
    """Where their markers stand, [N, 2]."""
    return np.asarray(axes.transData.transform(np.column_stack(_places(rows))))


def _along(corners_N2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points along a line from corner to corner."""
    steps = np.linspace(0, len(corners_N2) - 1, _LINE_STEPS * len(corners_N2))
    return np.column_stack([np.interp(steps, np.arange(len(corners_N2)), corners_N2[:, axis]) for axis in (0, 1)])
