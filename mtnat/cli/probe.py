"""``mtnat probe``: what a classifier finds in the encodings of models."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mtnat.analysis.probing import (
    Accuracy,
    ProbeConfig,
    ProbingConfig,
    ProbingTask,
    TaskResult,
    check_packages,
    grammar_tasks,
    probe,
    read_tasks,
    text_tasks,
)
from mtnat.cli.files import lines_of
from mtnat.cli.tables import table_console
from mtnat.errors import UserError
from mtnat.lab.tracking.models import open_model

_MOST_LINES = 500_000
"""Number of lines of a text that are read."""


def run(options: argparse.Namespace) -> int:
    """Probes models on tasks."""
    check_packages()
    if options.sentences < 20:
        raise UserError(f"--sentences: must be at least 20, two for each fold; got {options.sentences}.")
    if options.epochs < 1:
        raise UserError(f"--epochs: must be at least 1; got {options.epochs}.")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed: must be from 0 to {2**32 - 1}; got {options.seed}.")
    if len(set(options.model)) < len(options.model):
        raise UserError(f"--model {options.model[-1]}: is given twice; give different models.")
    models = {name: open_model(name) for name in options.model}
    config = ProbingConfig(
        layer=options.layer,
        pooling=options.pooling,
        sentences=options.sentences,
        seed=options.seed,
        probe=ProbeConfig(epochs=options.epochs),
    )
    with _status() as report:
        results = probe(models, _tasks(options, report), config, report)
    if options.json:
        print(json.dumps(_record(results, config), ensure_ascii=False))
    else:
        _show(results, config)
    return 0


def _tasks(options: argparse.Namespace, report: Callable[[str], None]) -> list[ProbingTask]:
    if options.tasks:
        return read_tasks(options.tasks)
    if options.grammar:
        report(f"drawing sentences of the grammar: {options.sentences:,} for a task")
        return grammar_tasks(options.sentences, options.seed)
    lines = islice(lines_of("--text", options.text), _MOST_LINES)
    return text_tasks(list(lines), options.seed, options.sentences)


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """Shows what is done on standard error while the context is open, on a terminal only."""
    notes = Console(stderr=True)
    if not notes.is_terminal:
        yield lambda _: None
        return
    with notes.status("") as status:
        yield lambda text: status.update(Text(text))


def _record(results: Sequence[TaskResult], config: ProbingConfig) -> dict[str, Any]:
    """Returns all figures as the JSON object. Accuracies are from 0 to 1."""
    return {
        "settings": dataclasses.asdict(config),
        "tasks": [
            {
                "name": result.task.name,
                "sentences": len(result.task.sentences),
                "classes": len(result.task.classes),
                "updates": result.updates,
                "left_out": {
                    "repeated": result.task.repeated,
                    "contradictory": result.task.contradictory,
                    "rare": result.task.rare,
                    "undrawn": result.task.undrawn,
                },
                "majority": _figures(result.majority),
                "bag_of_words": _figures(result.bag_of_words),
                "models": _each(result.models),
                "untrained": _each(result.untrained),
                "comparisons": {name: dataclasses.asdict(each) for name, each in result.comparisons.items()},
            }
            for result in results
        ],
    }


def _each(accuracies: Mapping[str, Accuracy]) -> dict[str, dict[str, Any]]:
    return {name: _figures(accuracy) for name, accuracy in accuracies.items()}


def _figures(accuracy: Accuracy) -> dict[str, Any]:
    return {"mean": accuracy.mean, "deviation": accuracy.deviation, "folds": accuracy.folds}


def _show(results: Sequence[TaskResult], config: ProbingConfig) -> None:
    """Prints the table, and notes on what its figures mean."""
    console = table_console()
    names = list(results[0].models)
    letters = {name: chr(ord("A") + number) if number < 26 else f"model {number + 1}" for number, name in enumerate(names)}
    for name, letter in letters.items():
        console.print(f"{letter}  {name}", soft_wrap=True)
    console.print()
    console.print(_table(results, letters))
    for note in _notes(results, config, letters):
        console.print(f"\n{note}")


def _table(results: Sequence[TaskResult], letters: Mapping[str, str]) -> Table:
    """Returns a table with a row for each task."""
    first, *others = letters
    table = Table(box=None, pad_edge=False)
    table.add_column("task", overflow="fold")
    shared = all(len({result.untrained[name] for name in letters}) == 1 for result in results)
    controls = [first] if shared else list(letters)
    headings = ["sentences", "classes", "majority", "bag of words"]
    headings += ["untrained"] if shared else [f"untrained {letters[name]}" for name in controls]
    headings += [
        heading for name in letters for heading in (letters[name], *([f"p {letters[name]}"] if name in others else []))
    ]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        cells = [f"{len(result.task.sentences):,}", f"{len(result.task.classes):,}"]
        cells += [f"{100 * result.majority.mean:.1f}", f"{100 * result.bag_of_words.mean:.1f}"]
        cells += [_with_deviation(result.untrained[name]) for name in controls]
        cells.append(_with_deviation(result.models[first]))
        for name in others:
            comparison = result.comparisons[name]
            p_value = "<0.001" if comparison.adjusted < 0.001 else f"{comparison.adjusted:.3f}"
            cells += [f"{comparison.mark}{_with_deviation(result.models[name])}", p_value]
        table.add_row(result.task.name, *cells)
    return table


def _with_deviation(accuracy: Accuracy) -> str:
    return f"{100 * accuracy.mean:.1f} ± {100 * accuracy.deviation:.1f}"


def _notes(results: Sequence[TaskResult], config: ProbingConfig, letters: Mapping[str, str]) -> Iterator[str]:
    layer = "the top layer" if config.layer == -1 else f"layer {config.layer}"
    yield (
        f"Accuracy in percent: mean ± standard deviation over {config.folds} folds. Features: {layer}, {config.pooling} over "
        "the pieces. Untrained: the same architecture with random weights."
    )
    fewest, most = (choose(result.updates for result in results) for choose in (min, max))
    updates = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    yield f"Updates of a classifier: {updates}, in {config.probe.epochs} epochs. More sentences or --epochs give more."
    if len(letters) > 1:
        number = sum(len(result.comparisons) for result in results)
        yield (
            "p: corrected resampled t-test against A on the same folds (Nadeau and Bengio 2003)"
            + (f", adjusted for {number} comparisons (Holm 1979)" if number > 1 else "")
            + ". ↑ and ⇑: better than A at p < 0.05 and p < 0.01; ↓ and ⇓: worse. It compares these two models. The folds of a "
            "model say nothing about other training seeds."
        )
    else:
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
