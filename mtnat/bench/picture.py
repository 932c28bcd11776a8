"""Plot of quality against speed."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mtnat.bench.report import Row
from mtnat.errors import UserError
from mtnat.files import check_writable
from mtnat.plot_labels import Label, Point, write_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")

_STYLES = {
    "AT": ("#444444", "D"),
    "NAT": ("#1f77b4", "o"),
    "NAT, reranked by AT": ("#d95f02", "s"),
}
"""Kind of system → colour and marker."""
_MARKER_POINTS, _STAR_POINTS = 7, 13


def check_picture(path: Path) -> None:
    """Checks that a plot can be drawn, before the time for its figures is spent.

    Raises:
        UserError: if the suffix is unknown, the file cannot be written, or matplotlib is missing.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--picture {path}: must end with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}; give another name.")
    if find_spec("matplotlib") is None:  # an optional dependency
        raise UserError("--picture: needs matplotlib; install mtnat[study], or leave the option out.")
    check_writable("--picture", path)


def draw(rows: Sequence[Row], title: str, path: Path) -> None:
    """Plots BLEU over sentences per second for the rows of `bench_decode`."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    lines = []
    for kind, (colour, marker) in _STYLES.items():
        members = [row for row in rows if _kind(row) == kind]
        # A line joins searches that differ in one number, the passes or the beam. A preset that differs in more is a star.
        joined = [row for row in members if row["length_candidates"] == members[0]["length_candidates"]]
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
    figure.draw_without_rendering()  # fixes the layout, so that the positions of all markers are known
    _label(axes, rows, lines)
    with rc_context({"svg.fonttype": "none"}):  # keeps text as text, which can be searched and edited
        figure.savefig(path)


def _kind(row: Row) -> str:
    decoder = str(row["decoder"]).upper()
    return f"{decoder}, reranked by AT" if row["rerank"] == "at" else decoder


def _text(row: Row) -> str:
    """Returns the label of a marker, without what the legend states."""
    return str(row["search"])


def _places(rows: Sequence[Row]) -> tuple[list[float], list[float]]:
    return [_number(row, "sentences_per_second") for row in rows], [_number(row, "bleu") for row in rows]


def _number(row: Row, name: str) -> float:
    value = row[name]
    assert isinstance(value, int | float)
    return value


def _scale(axes: "Axes") -> None:
    """Makes the x axis logarithmic, with plain numbers even if all speeds lie within one power of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.12)
    axes.grid(alpha=0.3)


def _label(axes: "Axes", rows: Sequence[Row], lines: Sequence[Sequence[Row]]) -> None:
    """Labels each marker."""
    labels = [Label(_text(row), place, _STYLES[_kind(row)][0]) for row, place in zip(rows, _points(rows), strict=True)]
    write_labels(axes, labels, _points(rows), [_points(line) for line in lines], marker_points=_MARKER_POINTS)


def _points(rows: Sequence[Row]) -> list[Point]:
    return list(zip(*_places(rows), strict=True))
