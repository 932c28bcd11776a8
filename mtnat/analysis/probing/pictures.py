"""Pictures of probing results: accuracy against layer, and a heat map of one layer."""

from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mtnat.analysis.probing import published
from mtnat.analysis.probing.experiment import TaskResult, shared_controls

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_COLUMNS = 5
"""Panels side by side."""
_PANEL_INCHES = 2.6, 2.3
_MARGIN_INCHES = 0.12
"""Space around the whole picture, so that no label stands at its edge."""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Colours that people with colour blindness can tell apart (Okabe and Ito 2008)."""
_MARKERS = "osD^vP"
_GREY = "#777777"
_APART = 0.08
"""Distance between the bars of two groups, in layers."""
_CELL_INCHES = 0.95, 0.36
_LEAST_SPAN = 2.0
"""Points of accuracy that the colours of a row span at least, so that noise does not look like a difference."""
_DARK = 0.6
"""Text is white on colours from this share of the scale."""


def draw_layers(results: Sequence[TaskResult], labels: Mapping[str, str], title: str, path: Path) -> None:
    """Draws a panel for each task: accuracy against layer, a line with bars of ± one deviation for each group of models.

    Dashed lines are the majority and the untrained encoders. A group with fewer layers has a shorter line.

    Args:
        labels: what the legend calls each group.
    """
    from matplotlib.figure import Figure

    columns = min(_MOST_COLUMNS, len(results))
    rows = ceil(len(results) / columns)
    figure = Figure(figsize=(max(6, columns * _PANEL_INCHES[0]), rows * _PANEL_INCHES[1] + 1.3), dpi=150, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for panel, result in zip(panels, results, strict=False):
        _draw_panel(panel, result, labels, shared_controls(results))
    for panel in panels[len(results) :]:
        panel.set_axis_off()
    for number, panel in enumerate(panels[: len(results)]):
        if number % columns == 0:
            panel.set_ylabel("accuracy, %", fontsize=9)
        if number + columns >= len(results):
            panel.set_xlabel("encoder layer", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    _save(figure, title, path)


def _draw_panel(panel: "Axes", result: TaskResult, labels: Mapping[str, str], controls: Sequence[tuple[str, ...]]) -> None:
    """Draws a task."""
    from matplotlib.ticker import MaxNLocator

    colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(labels)}
    for number, (name, label) in enumerate(labels.items()):
        own = [each for each in result.layers if name in each.models]
        panel.errorbar(
            # Side by side, so that the bars of a layer do not cover each other.
            [each.layer + _APART * (number - (len(labels) - 1) / 2) for each in own],
            [100 * each.models[name].mean for each in own],
            [100 * each.models[name].deviation for each in own],
            color=colours[name],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=4,
            linewidth=1.5,
            elinewidth=0.8,
            label=label,
        )
    for names in controls:
        own = [each for each in result.layers if names[0] in each.untrained]
        panel.plot(
            [each.layer for each in own],
            [100 * each.untrained[names[0]].mean for each in own],
            color="black" if len(names) == len(labels) else colours[names[0]],
            linestyle="--",
            linewidth=1.1,
            label="untrained" if len(controls) == 1 else f"untrained {', '.join(labels[name] for name in names)}",
        )
    panel.axhline(100 * result.majority.mean, color=_GREY, linestyle=(0, (6, 3)), linewidth=1, label="majority")
    panel.set_title(result.task.name, fontsize=9)
    panel.set_xlim(result.layers[0].layer - 0.4, result.layers[-1].layer + 0.4)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25)


class _Block(NamedTuple):
    """A heat map: tasks in rows."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    coloured: Sequence[Sequence[float]]
    """Accuracies in percent whose colours are those of the row's scale, a row for each task."""
    plain: Sequence[Sequence[float]]
    """More columns, without colours."""


def draw_table(
    results: Sequence[TaskResult], labels: Mapping[str, str], title: str, path: Path, *, with_published: bool = False
) -> None:
    """Draws a heat map of one layer: tasks in rows, groups of models and baselines in columns, the accuracy in each cell.

    The colours of a row are between the lowest and the highest group of models. The baselines have none, because their
    distance would hide the differences between models.

    Args:
        labels: what the columns call each group.
        with_published: adds the figures of the paper as a block of their own.
    """
    from matplotlib.figure import Figure

    layers = [result.layers[-1] for result in results]
    controls = shared_controls(results)
    blocks = [
        _Block(
            title="Accuracy in percent; the colours of a row span its models",
            rows=[result.task.name for result in results],
            columns=[
                *labels.values(),
                *(
                    "untrained" if len(controls) == 1 else "untrained\n" + ", ".join(labels[name] for name in each)
                    for each in controls
                ),
                "bag of\nwords",
                "majority",
            ],
            coloured=[[100 * layer.models[name].mean for name in labels] for layer in layers],
            plain=[
                [
                    100 * each.mean
                    for each in (*(layer.untrained[names[0]] for names in controls), result.bag_of_words, result.majority)
                ]
                for result, layer in zip(results, layers, strict=True)
            ],
        )
    ]
    if with_published:
        figures = published.ACCURACIES
        blocks.append(
            _Block(
                title=f"Published: {published.SOURCE};\n{published.CAVEAT}",
                rows=[f"{name} ({short})" for name, (short, _) in figures.items()],
                columns=[name.replace(" ", "\n") for name in published.COLUMNS],
                coloured=[list(accuracies) for _, accuracies in figures.values()],
                plain=[[] for _ in figures],
            )
        )
    longest = max(len(name) for block in blocks for name in block.rows)
    width = max(len(block.columns) for block in blocks) * _CELL_INCHES[0] + 0.08 * longest + 0.5
    heights = [len(block.rows) * _CELL_INCHES[1] + 1.0 for block in blocks]
    figure = Figure(figsize=(max(width, 6.5), sum(heights) + 0.2 + 0.17 * title.count("\n")), dpi=150, layout="constrained")
    axes = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=heights).flatten()
    for one, block in zip(axes, blocks, strict=True):
        _draw_block(one, block, most_columns=max(len(each.columns) for each in blocks))
    _save(figure, title, path)


def _draw_block(axes: "Axes", block: _Block, most_columns: int) -> None:
    """Draws a block at the left of its axes, so that the cells of all blocks are equally wide."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    for down, (coloured, plain) in enumerate(zip(block.coloured, block.plain, strict=True)):
        middle, span = (max(coloured) + min(coloured)) / 2, max(max(coloured) - min(coloured), _LEAST_SPAN)
        for across, value in enumerate([*coloured, *plain]):
            share = (value - middle) / span + 0.5
            colour = colormaps["Blues"](0.1 + 0.75 * share) if across < len(coloured) else "#f2f2f2"
            dark = across < len(coloured) and share > _DARK
            axes.add_patch(Rectangle((across, down), 1, 1, facecolor=colour, edgecolor="white"))
            axes.text(
                across + 0.5,
                down + 0.5,
                f"{value:.1f}",
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else "black",
            )
    axes.set_xlim(0, most_columns)
    axes.set_ylim(len(block.rows), 0)
    axes.set_xticks([number + 0.5 for number in range(len(block.columns))], block.columns, fontsize=9)
    axes.set_yticks([number + 0.5 for number in range(len(block.rows))], block.rows, fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(block.title, fontsize=10, loc="left", pad=8)


def _save(figure: "Figure", title: str, path: Path) -> None:
    """Writes a figure with a margin around it."""
    from matplotlib import rc_context

    figure.suptitle(title, fontsize=9, x=0.01, ha="left")
    figure.get_layout_engine().set(w_pad=_MARGIN_INCHES, h_pad=_MARGIN_INCHES)  # type: ignore[union-attr, call-arg]
    with rc_context({"svg.fonttype": "none"}):  # keeps text as text, which can be searched and edited
        figure.savefig(path)
