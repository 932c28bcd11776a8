"""The plots of the analysis of encoders."""

from pathlib import Path
from statistics import fmean
from textwrap import fill
from typing import TYPE_CHECKING

from mtnat.analysis.probing import Accuracy, GroupAccuracy, LayerResult, ProbingTask, TaskResult, published
from mtnat.analysis.probing.experiment import TOP
from mtnat.analysis.probing.pictures import draw_table
from mtnat.files import whole_file
from mtnat.lab.results.analysis import EncoderAnalysis, Similarities, TaskRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MEASURES = {"pwcca": "PWCCA", "cka": "CKA"}
"""The measures that are drawn, a row of panels for each, with their titles."""
_PANEL_INCHES = (5.0, 3.4)
_MARKERS = "osD^vPX*"
_LINE_CHARACTERS = 12


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
    """Draws the accuracies on probing tasks as a heat map (Hao et al. 2021, Tables 1 and 4), with the published figures of the
    tasks below."""
    results = [_task_result(row) for row in analysis.tasks]
    labels = {name: fill(name, _LINE_CHARACTERS) for name in results[0].layers[0].models}
    partial = path.with_name(f".{path.name}")  # the suffix decides the format
    draw_table(
        results,
        labels,
        "Probing tasks: mean accuracy over seeds and folds",
        partial,
        with_published=any(row.task in published.ACCURACIES for row in analysis.tasks),
    )
    partial.replace(path)


def _task_result(row: TaskRow) -> TaskResult:
    """Returns a row as `mtnat probe` has it. The untrained encoders of all trials and seeds count as those of each trial."""
    untrained = Accuracy(tuple(map(fmean, zip(*(folds for each in row.trials for folds in each.untrained), strict=True))))
    models = {each.trial: GroupAccuracy(tuple(map(Accuracy, each.final))) for each in row.trials if each.final}
    return TaskResult(
        task=ProbingTask(name=row.task, sentences=(), labels=()),
        updates=row.updates,
        majority=Accuracy(row.majority),
        bag_of_words=Accuracy(row.bag_of_words),
        layers=(LayerResult(layer=TOP, models=models, untrained=dict.fromkeys(models, untrained)),),
    )
