"""``mtnat similarity``: compares what the encoders of several models represent."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import combinations, islice
from string import ascii_uppercase
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from mtnat.analysis.encoders import LayerPair, Sentences, compare_encoders, readable_sentences
from mtnat.analysis.encoding import layers_of
from mtnat.analysis.heat_map import Grid, draw
from mtnat.analysis.similarity import Similarity
from mtnat.bench.picture import check_picture
from mtnat.cli.files import lines_of
from mtnat.console import OutputConsole
from mtnat.errors import UserError
from mtnat.lab.tracking.models import open_model
from mtnat.training import Model

ENOUGH = 10
"""With fewer observations for each dimension, the measures of CCA are noted to be inflated."""
_MEASURES: Mapping[str, Callable[[Similarity], float]] = {
    "mean CCA": lambda each: each.mean_cca,
    "SVCCA": lambda each: each.svcca,
    "PWCCA": lambda each: each.pwcca[0],
    "CKA": lambda each: each.cka,
}
"""What a grid shows. PWCCA has the weights of the model in the rows."""


def run(options: argparse.Namespace) -> int:
    """Compares the encoders of models, every two of them."""
    _check(options)
    lines = _lines(options)
    if options.picture:
        check_picture(options.picture)
    names: list[str] = options.model
    models = [open_model(name) for name in names]
    sentences = readable_sentences(models, names, lines, options.unit)
    _warn(models, sentences, options)
    with _progress(len(sentences.texts)) as done:
        found = compare_encoders(
            models, names, sentences, layers=options.layers, unit=options.unit, variance=options.variance, done=done
        )
    if options.json:
        print(json.dumps(_record(names, sentences, found, options)))
    else:
        _show(models, names, sentences, found, options)
    if options.picture:
        letters = [f"{letter} = {name}" for letter, name in zip(ascii_uppercase, names, strict=False)]
        grids = _layer_grids(models, found) if options.layers == "all" else [_model_grid(models, found)]
        draw(grids, "\n".join(["Similarity of encoders", *letters]), options.picture)
        _note(f"picture: {options.picture}")
    return 0


def _check(options: argparse.Namespace) -> None:
    if not 2 <= len(options.model) <= len(ascii_uppercase):
        raise UserError(f"--model: must be given 2 to {len(ascii_uppercase)} times; got {len(options.model)}.")
    if options.sentences is not None and options.sentences < 2:
        raise UserError(f"--sentences: must be at least 2; got {options.sentences}.")
    if not 0 < options.variance <= 1:
        raise UserError(f"--variance: must be above 0 and at most 1; got {options.variance:g}.")


def _lines(options: argparse.Namespace) -> list[str]:
    lines = list(islice(lines_of("--text", options.text), options.sentences))
    if not any(line.strip() for line in lines):
        raise UserError(f"--text {options.text}: contains no text; give at least two sentences.")
    return lines


def _warn(models: Sequence[Model], sentences: Sentences, options: argparse.Namespace) -> None:
    """Prints notes on sentences that are left out, and on too few observations."""
    for number, reason in ((sentences.empty, "empty"), (sentences.too_long, "longer than a model's positions")):
        if number:
            _note(
                f"left out: {number:,} of {len(sentences.texts) + sentences.empty + sentences.too_long:,} sentences, {reason}"
            )
    observations, width = sentences.observations(options.unit), max(model.experiment.model.width for model in models)
    if observations < ENOUGH * width:
        _note(
            f"few observations: {observations:,} {options.unit}s for {width:,} dimensions inflate the measures of CCA; compare "
            f"them with chance, or give text of at least {ENOUGH * width:,} {options.unit}s"
        )


def _note(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that shows the number of encoded sentences, on a terminal only."""
    notes = Console(stderr=True)
    if not notes.is_terminal:
        yield lambda sentences: None
        return
    columns = (TextColumn("encoding"), BarColumn(), MofNCompleteColumn(), TextColumn("sentences"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=notes, transient=True) as bar:
        task = bar.add_task("sentences", total=total)
        yield lambda sentences: bar.update(task, completed=sentences)


def _record(
    names: Sequence[str], sentences: Sentences, found: Sequence[LayerPair], options: argparse.Namespace
) -> dict[str, Any]:
    """Returns all figures as the JSON object."""
    return {
        "text": str(options.text),
        "sentences": len(sentences.texts),
        "empty": sentences.empty,
        "too_long": sentences.too_long,
        "unit": options.unit,
        "variance": options.variance,
        "pairs": [
            {"models": [names[model] for model in each.models], "layers": each.layers, **dataclasses.asdict(each.similarity)}
            for each in found
        ],
    }


def _show(
    models: Sequence[Model],
    names: Sequence[str],
    sentences: Sentences,
    found: Sequence[LayerPair],
    options: argparse.Namespace,
) -> None:
    """Prints all figures as tables."""
    console = OutputConsole(highlight=False)
    console.print(_heading(models, names, sentences, found, options))
    console.print()
    if options.layers == "top":
        console.print(_pairs(found))
        console.print(
            f"\nchance: the expected value for independent noise. SVCCA keeps {options.variance:.4g} of the variance, in as "
            "many directions as shown.\nPWCCA has the weights of the first and of the second model.",
            soft_wrap=True,
        )
        return
    for grid in _layer_grids(models, found):
        for measure in _MEASURES:
            console.print(f"{measure}: {grid.rows} in rows, {grid.columns} in columns", soft_wrap=True)
            console.print(_table(grid, measure))
            console.print()
    chances = [each.similarity.mean_cca_chance for each in found]
    console.print(f"chance: at most {max(chances):.3f} for mean CCA, the expected value for independent noise.", soft_wrap=True)
    console.print("PWCCA has the weights of the model in the rows. Layer 0 is the embeddings.", soft_wrap=True)


def _heading(
    models: Sequence[Model],
    names: Sequence[str],
    sentences: Sentences,
    found: Sequence[LayerPair],
    options: argparse.Namespace,
) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    observations = found[0].similarity.observations
    unit = f"{observations:,} pieces" if options.unit == "piece" else "means over the pieces of each sentence"
    table.add_row("text", f"{options.text}: {len(sentences.texts):,} sentences, compared by {unit}")
    for letter, name, model in zip(ascii_uppercase, names, models, strict=False):
        table.add_row(letter, f"{name}: {layers_of(model)} encoder layers, width {model.experiment.model.width}")
    return table


def _pairs(found: Sequence[LayerPair]) -> Table:
    """Returns a table with a row for each pair of models."""
    table = Table(box=None, pad_edge=False)
    table.add_column("pair")
    for heading in ("mean CCA", "chance", "SVCCA", "chance", "directions", "PWCCA", "CKA", "ranks"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in found:
        values = each.similarity
        table.add_row(
            "–".join(ascii_uppercase[model] for model in each.models),
            *(f"{value:.3f}" for value in (values.mean_cca, values.mean_cca_chance, values.svcca, values.svcca_chance)),
            _two(*values.svcca_directions),
            _two(*(f"{value:.3f}" for value in values.pwcca)),
            f"{values.cka:.3f}",
            _two(*values.ranks),
        )
    return table


def _two(first: object, second: object) -> str:
    return f"{first}/{second}"  # short, for a terminal of 80 columns


def _table(grid: Grid, measure: str) -> Table:
    """Returns a grid's numbers for one measure."""
    table = Table(box=None, pad_edge=False)
    table.add_column()
    for name in grid.column_names:
        table.add_column(name, justify="right", no_wrap=True)
    for name, values in zip(grid.row_names, grid.values[measure], strict=True):
        table.add_row(name, *(f"{value:.3f}" for value in values))
    return table


def _layer_grids(models: Sequence[Model], found: Sequence[LayerPair]) -> list[Grid]:
    """Returns a grid of layers × layers for each pair of models."""
    grids = []
    for pair in combinations(range(len(models)), 2):
        rows, columns = (tuple(map(str, range(layers_of(models[model]) + 1))) for model in pair)
        members = {each.layers: each.similarity for each in found if each.models == pair}
        values = {
            measure: [[value(members[row, column]) for column in range(len(columns))] for row in range(len(rows))]
            for measure, value in _MEASURES.items()
        }
        first, second = (f"layers of {ascii_uppercase[model]}" for model in pair)
        grids.append(Grid(first, second, rows, columns, values))
    return grids


def _model_grid(models: Sequence[Model], found: Sequence[LayerPair]) -> Grid:
    """Returns a grid of models × models. A model is equal to itself."""
    letters = tuple(ascii_uppercase[: len(models)])
    members = {each.models: each.similarity for each in found}
    numbers = range(len(models))

    def value(measure: str, row: int, column: int) -> float:
        if row == column:
            return 1.0
        similarity = members[min(row, column), max(row, column)]
        return similarity.pwcca[row > column] if measure == "PWCCA" else _MEASURES[measure](similarity)

    values = {measure: [[value(measure, row, column) for column in numbers] for row in numbers] for measure in _MEASURES}
    return Grid("model", "model", letters, letters, values)
