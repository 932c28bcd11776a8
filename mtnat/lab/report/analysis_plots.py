"""The plots of the analysis of encoders."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import TYPE_CHECKING

from mtnat.files import whole_file
from mtnat.lab.report.analysis import percent
from mtnat.lab.results.analysis import EncoderAnalysis, Similarities, TaskRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURES = {"pwcca": "PWCCA", "cka": "CKA"}
"""The measures that are drawn, a row of panels for each, with their titles."""
_PANEL_INCHES = (5.0, 3.4)
_MARKERS = "osD^vPX*"
_BRIGHT = 0.6
"""Text is black on colours of shares above it, and white on the darker ones."""
_LINE_CHARACTERS = 14
_WITHOUT_ENCODER, _PLAIN = ("majority", "bag of words"), "#eeeeee"
"""Columns of figures without an encoder, and their colour."""


def draw_similarity(analysis: EncoderAnalysis, path: Path) -> None:
    """Plots the similarity of encoders over training, with a panel for each baseline that they are compared with (Hao et al.
    2021, Figure 2). The last panel shows the similarity of each trial to its own other seeds. A line is the mean over seeds,
    and its band is from the lowest to the highest seed."""
    from matplotlib.figure import Figure  # its import takes a second

    curves = [each for each in analysis.similarities if len(each.steps) > 1]
    own = [each for each in curves if each.trial == each.against]
    baselines = dict.fromkeys(each.against for each in curves if each.trial != each.against)
    panels = {f"compared with {name}": [each for each in curves if each.against == name] for name in baselines}
    if own:
        panels["compared with its own other seeds"] = own
    trials = list(dict.fromkeys(each.trial for each in curves))
    across, up = _PANEL_INCHES
    figure = Figure(figsize=(across * len(panels), up * len(_MEASURES) + 0.8), dpi=150, layout="constrained")
    axes = figure.subplots(len(_MEASURES), len(panels), squeeze=False, sharex=True, sharey="row")
    for row, (measure, label) in zip(axes, _MEASURES.items(), strict=True):
        for one, (title, members) in zip(row, panels.items(), strict=True):
            for each in members:
                _draw(one, each, measure, trials.index(each.trial))
            one.set_title(title, fontsize=10)
            one.grid(alpha=0.3)
        row[0].set_ylabel(label)
    for one in axes[-1]:
        one.set_xlabel("step")
    handles = {name: handle for one in axes.flat for handle, name in zip(*one.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)), frameon=False)
    figure.suptitle("Similarity of the top encoder layers", fontsize=11, x=0.01, ha="left")
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def _draw(axes: "Axes", similarities: Similarities, measure: str, number: int) -> None:
    """Draws one curve with its band."""
    values = similarities.over_training[measure]
    colour = f"C{number}"
    axes.plot(
        similarities.steps,
        [fmean(seeds) for seeds in values],
        color=colour,
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=4,
        label=similarities.trial,
    )
    axes.fill_between(similarities.steps, list(map(min, values)), list(map(max, values)), color=colour, alpha=0.15)


def draw_probing(analysis: EncoderAnalysis, path: Path) -> None:
    """Draws the accuracies on probing tasks as a heat map (Hao et al. 2021, Tables 1 and 4), a row for each task. The colours
    of a row are from the lowest to the highest accuracy of its encoders, so that small differences show."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    trials = [each.trial for each in analysis.tasks[0].trials]
    columns = [*_WITHOUT_ENCODER, "untrained", *trials]
    texts, values = zip(*(_accuracies(task) for task in analysis.tasks), strict=True)
    figure = Figure(figsize=(2.4 + 1.35 * len(columns), 1.8 + 0.5 * len(values)), dpi=150, layout="constrained")
    axes = figure.subplots()
    shades = [_shades(row) for row in values]
    axes.imshow(shades, vmin=0, vmax=1, cmap=colormaps["viridis"].with_extremes(bad=_PLAIN), aspect="auto")
    axes.set_xticks(range(len(columns)), [fill(name, _LINE_CHARACTERS) for name in columns], fontsize=9)
    axes.set_yticks(range(len(values)), [f"{task.task}\n{task.classes} classes" for task in analysis.tasks], fontsize=9)
    for down, row in enumerate(texts):
        for across, text in enumerate(row):
            colour = "white" if shades[down][across] <= _BRIGHT else "black"  # black where there is no shade
            axes.text(across, down, text, ha="center", va="center", color=colour, fontsize=9)
    figure.suptitle("Accuracy on probing tasks in percent, mean ± deviation over seeds", fontsize=11, x=0.01, ha="left")
    with whole_file(path) as file:
        figure.savefig(file, format="png")


def _accuracies(task: TaskRow) -> tuple[list[str], list[float]]:
    """Returns the cells of a task as texts and as numbers."""
    untrained = [value for each in task.trials for value in each.untrained]
    cells = [(task.majority,), (task.bag_of_words,), untrained, *(each.final for each in task.trials)]
    marks = ["", "", "", *(each.mark for each in task.trials)]
    texts = [percent(values) + mark for values, mark in zip(cells, marks, strict=True)]
    return texts, [fmean(values) if values else math.nan for values in cells]


def _shades(row: Sequence[float]) -> list[float]:
    """Returns the place of each value between the lowest and the highest of the encoders; NaN without an encoder."""
    known = [value for value in row[len(_WITHOUT_ENCODER) :] if not math.isnan(value)]
    low, high = min(known), max(known)
    shades = [(value - low) / (high - low) if high > low else 0.0 for value in row]
    return [math.nan] * len(_WITHOUT_ENCODER) + shades[len(_WITHOUT_ENCODER) :]
