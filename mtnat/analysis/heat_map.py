"""Heat maps of similarities."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_INCHES, _MARGIN_INCHES = 0.55, 1.45
"""Side of a cell, and the space for titles and labels beside each map."""
_EDGE_INCHES, _LINE_INCHES = 0.12, 0.16
"""Space around the whole picture, so that no label stands at its edge, and height of a line of the title."""
_BRIGHT = 0.6
"""Text is black on colours of values above it, and white on the darker ones."""


@dataclass(frozen=True)
class Grid:
    """The similarity of each thing in the rows to each thing in the columns, by several measures."""

    rows: str
    """What the rows are."""
    columns: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    values: Mapping[str, Sequence[Sequence[float]]]
    """Rows of numbers between 0 and 1, by the name of a measure."""


def draw(grids: Sequence[Grid], title: str, path: Path) -> None:
    """Draws each grid as a row of heat maps, one for each measure, with common colours from 0 to 1."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    measures = list(grids[0].values)
    width = sum(max(len(grid.column_names) for grid in grids) * _INCHES + _MARGIN_INCHES for _ in measures)
    height = (
        sum(len(grid.row_names) * _INCHES + _MARGIN_INCHES for grid in grids) + _LINE_INCHES * len(title.splitlines()) + 0.4
    )
    figure = Figure(figsize=(width + 0.6, height), dpi=150, layout="constrained")
    figure.get_layout_engine().set(w_pad=_EDGE_INCHES, h_pad=_EDGE_INCHES)  # type: ignore[union-attr, call-arg]
    axes = figure.subplots(len(grids), len(measures), squeeze=False)
    image = None
    for grid, row in zip(grids, axes, strict=True):
        for measure, one in zip(measures, row, strict=True):
            values = grid.values[measure]
            image = one.imshow(values, vmin=0, vmax=1, cmap="viridis")
            one.set_title(measure, fontsize=10)
            one.set_xticks(range(len(grid.column_names)), grid.column_names)
            one.set_yticks(range(len(grid.row_names)), grid.row_names)
            one.set_xlabel(grid.columns)
            one.set_ylabel(grid.rows)
            for down, line in enumerate(values):
                for across, value in enumerate(line):
                    colour = "black" if value > _BRIGHT else "white"
                    one.text(across, down, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=8)
    assert image is not None
    figure.colorbar(image, ax=axes, shrink=0.8)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    with rc_context({"svg.fonttype": "none"}):  # keeps text as text, which can be searched and edited
        figure.savefig(path)
