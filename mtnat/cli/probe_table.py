"""The tables of ``mtnat probe``, and notes on what their figures mean."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from mtnat.analysis.probing import Accuracy, GroupAccuracy, LayerResult, ProbingConfig, TaskResult, published, shared_controls
from mtnat.console import OutputConsole

_ENOUGH_SEEDS = 3
"""With fewer seeds on a side, a note says that differences are rarely found."""


def letters_of(names: Mapping[str, object] | Sequence[str]) -> dict[str, str]:
    """Returns the letter that stands for each group in tables."""
    return {name: chr(ord("A") + number) if number < 26 else f"model {number + 1}" for number, name in enumerate(names)}


def show(
    groups: Mapping[str, Sequence[str]], results: Sequence[TaskResult], config: ProbingConfig, *, with_published: bool = False
) -> None:
    """Prints the table, and notes on what its figures mean."""
    console = OutputConsole(highlight=False)
    letters = letters_of(groups)
    for name, models in groups.items():
        if list(models) == [name]:
            console.print(f"{letters[name]}  {name}", soft_wrap=True)
            continue
        console.print(f"{letters[name]}  {name}, {len(models)} model{'s' if models[1:] else ''}:", soft_wrap=True)
        for model in models:
            console.print(f"   {model}", soft_wrap=True)
    console.print()
    console.print(_table(results, letters, by_layer=config.layer == "all"))
    if with_published:
        console.print(f"\nPublished, in percent: {published.SOURCE}; {published.CAVEAT}")
        console.print()
        console.print(_published())
    for note in _notes(groups, results, config, letters):
        console.print(f"\n{note}")


def _table(results: Sequence[TaskResult], letters: Mapping[str, str], *, by_layer: bool) -> Table:
    """Returns a table with a row for each task, or for each layer of each task."""
    table = Table(box=None, pad_edge=False)
    table.add_column("task", no_wrap=True, overflow="fold")
    controls = shared_controls(results)
    headings = ["sentences", "classes", "majority", "bag of words", *(["layer"] if by_layer else [])]
    headings += (
        ["untrained"] if len(controls) == 1 else [f"untrained {', '.join(letters[name] for name in each)}" for each in controls]
    )
    headings += [
        heading
        for name in letters
        for heading in (letters[name], *([f"p {letters[name]}"] if name != next(iter(letters)) else []))
    ]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        cells = [result.task.name, f"{len(result.task.sentences):,}", f"{len(result.task.classes):,}"]
        cells += [f"{100 * result.majority.mean:.1f}", f"{100 * result.bag_of_words.mean:.1f}"]
        for layer in result.layers:
            own = _cells(layer, list(letters), [each[0] for each in controls])
            table.add_row(*cells, *([str(layer.layer)] if by_layer else []), *own)
            cells = [""] * len(cells)  # what holds for all layers stands in the first row
        if by_layer and result is not results[-1]:
            table.add_row()
    return table


def _cells(layer: LayerResult, names: Sequence[str], controls: Sequence[str]) -> list[str]:
    """Returns the cells of a layer; those of a group without the layer are empty.

    Args:
        controls: groups with different untrained encoders.
    """
    cells = [_with_deviation(layer.untrained[name]) if name in layer.untrained else "" for name in controls]
    for name in names:
        comparison = layer.comparisons.get(name)
        mark = comparison.mark if comparison else ""
        cells.append(f"{mark}{_with_deviation(layer.models[name])}" if name in layer.models else "")
        if name != names[0]:
            cells.append(_p_value(comparison.adjusted) if comparison else "")
    return cells


def _p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _with_deviation(accuracy: Accuracy | GroupAccuracy) -> str:
    return f"{100 * accuracy.mean:.1f} ± {100 * accuracy.deviation:.1f}"


def _published() -> Table:
    """Returns the figures of the paper."""
    table = Table(box=None, pad_edge=False)
    table.add_column("task")
    table.add_column("name in the paper")
    for column in published.COLUMNS:
        table.add_column(column, justify="right")
    for task, (short, figures) in published.ACCURACIES.items():
        table.add_row(task, short, *(f"{figure:.1f}" for figure in figures))
    return table


def _notes(
    groups: Mapping[str, Sequence[str]], results: Sequence[TaskResult], config: ProbingConfig, letters: Mapping[str, str]
) -> Iterator[str]:
    layer = {-1: "the top layer", "all": "each layer (0 is the embeddings)"}.get(config.layer, f"layer {config.layer}")
    yield (
        f"Accuracy in percent: mean ± standard deviation {_deviation_of(groups, config.folds)}. Features: {layer}, "
        f"{config.pooling} over the pieces. Untrained: the same architecture with random weights; ± is over the folds."
    )
    fewest, most = (choose(result.updates for result in results) for choose in (min, max))
    updates = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    yield f"Updates of a classifier: {updates}, in {config.probe.epochs} epochs. More sentences or --epochs give more."
    if len(groups) > 1:
        yield from _notes_on_tests(results, letters)
    elif len(next(iter(groups.values()))) == 1:
        yield "The folds of one model say nothing about other training seeds."
    for result in results:
        parts = {
            "repeated": result.task.repeated,
            "with several labels": result.task.contradictory,
            "of rare labels": result.task.rare,
            "of labels that were not drawn": result.task.undrawn,
        }
        if any(parts.values()):
            listed = ", ".join(f"{count:,} {reason}" for reason, count in parts.items() if count)
            yield f"{result.task.name}: sentences left out: {listed}."


def _deviation_of(groups: Mapping[str, Sequence[str]], folds: int) -> str:
    if all(len(models) == 1 for models in groups.values()):
        return f"over {folds} folds"
    if all(len(models) > 1 for models in groups.values()):
        return "between training seeds"
    return f"between training seeds, or over {folds} folds for a single model"


def _notes_on_tests(results: Sequence[TaskResult], letters: Mapping[str, str]) -> Iterator[str]:
    """Yields what p speaks of: of training methods where both sides have several seeds, or else of the models."""
    found = [(name, each) for result in results for layer in result.layers for name, each in layer.comparisons.items()]
    adjusted = f", adjusted for {len(found)} comparisons (Holm 1979)" if len(found) > 1 else ""
    by_seeds = sorted({letters[name] for name, each in found if each.speaks_of_seeds})
    by_folds = sorted({letters[name] for name, each in found if not each.speaks_of_seeds})
    if by_seeds:
        of = f" of {', '.join(by_seeds)}" if by_folds else ""
        yield (
            f"p{of}: Welch's t-test against A over training seeds, with the variance over the folds added{adjusted}. ↑ and ⇑: "
            "better than A at p < 0.05 and p < 0.01; ↓ and ⇓: worse."
        )
        if any(min(each.seeds) < _ENOUGH_SEEDS for _, each in found if each.speaks_of_seeds):
            yield "Two seeds rarely settle a difference; give three or more of each."
    if by_folds:
        of = f" of {', '.join(by_folds)}" if by_seeds else ""
        yield (
            f"p{of}: corrected resampled t-test against A on the same folds (Nadeau and Bengio 2003){adjusted}. It speaks of "
            "these models only: the folds say nothing about other training seeds, so no difference has a mark. Give several "
            "seeds of each as --model NAME=MODEL."
        )
