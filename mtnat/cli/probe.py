"""``mtnat probe``: what a classifier finds in the encodings of models."""

import argparse
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from mtnat.analysis.probing import (
    Accuracy,
    GroupAccuracy,
    LayerResult,
    ProbeConfig,
    ProbingConfig,
    ProbingTask,
    TaskResult,
    check_groups,
    check_packages,
    grammar_tasks,
    known_words,
    probe,
    published,
    read_tasks,
    text_tasks,
)
from mtnat.analysis.probing.pictures import draw_layers, draw_table
from mtnat.bench.picture import check_picture
from mtnat.cli.files import lines_of
from mtnat.cli.probe_table import letters_of, show
from mtnat.errors import UserError
from mtnat.lab.tracking.models import open_model
from mtnat.training import Model

_MOST_LINES = 500_000
"""Number of lines of a text that are read."""
_LONGEST_LABEL = 14
"""Characters of a group's name from which a picture has its letter instead."""
Groups = Mapping[str, Sequence[str]]
"""The folders or addresses of the models of each group, by its name."""


def run(options: argparse.Namespace) -> int:
    """Probes models on tasks."""
    check_packages()
    config = _config(options)
    groups = _groups(options.model)
    if options.picture:
        check_picture(options.picture)
    models = {name: {each: open_model(each) for each in members} for name, members in groups.items()}
    for note in check_groups(models):
        _note(note)
    with _status() as report:
        tasks = _tasks(options, report)
        report("reading words of the models' corpora")
        warnings = list(_warnings(models, tasks))
    for warning in warnings:
        _note(f"warning: {warning}")
    with _status() as report:
        results = probe({name: list(members.values()) for name, members in models.items()}, tasks, config, report)
    if options.json:
        print(json.dumps(_record(groups, results, config, options.published), ensure_ascii=False))
    else:
        show(groups, results, config, with_published=options.published)
    if options.picture:
        _draw(groups, results, options)
        _note(f"picture: {options.picture}")
    return 0


def _config(options: argparse.Namespace) -> ProbingConfig:
    if options.sentences < 20:
        raise UserError(f"--sentences: must be at least 20, two for each fold; got {options.sentences}.")
    if options.epochs < 1:
        raise UserError(f"--epochs: must be at least 1; got {options.epochs}.")
    if not 0 <= options.seed < 2**32:
        raise UserError(f"--seed: must be from 0 to {2**32 - 1}; got {options.seed}.")
    return ProbingConfig(
        layer=_layer(options.layers),
        pooling=options.pooling,
        sentences=options.sentences,
        seed=options.seed,
        probe=ProbeConfig(epochs=options.epochs),
    )


def _layer(text: str) -> int | Literal["all"]:
    if text == "all":
        return "all"
    if text == "top":
        return -1
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--layers: must be the number of a layer, top or all; got {text!r}.") from None


def _groups(given: Sequence[str]) -> dict[str, list[str]]:
    """Returns the models of each group; one without a name is a group of its own, named by its folder."""
    groups: dict[str, list[str]] = {}
    unnamed = set()
    for text in given:
        name, equals, model = text.partition("=")
        if not equals or "/" in name or ":" in name or Path(text).exists():
            name = model = text
            unnamed.add(text)
        if not name or not model:
            raise UserError(f"--model {text}: must be MODEL or NAME=MODEL; give both sides of the equals sign.")
        if any(model in members for members in groups.values()):
            raise UserError(f"--model {text}: {'' if text == model else f'{model} '}is given twice; give different models.")
        groups.setdefault(name, []).append(model)
    for name in unnamed:
        if len(groups[name]) > 1:
            raise UserError(f"--model {name}: is a model and the name of a group; give the group another name.")
    return groups


def _tasks(options: argparse.Namespace, report: Callable[[str], None]) -> list[ProbingTask]:
    if options.tasks:
        return read_tasks(options.tasks)
    if options.grammar:
        report(f"drawing sentences of the grammar: {options.sentences:,} for a task")
        return grammar_tasks(options.sentences, options.seed)
    lines = islice(lines_of("--text", options.text), _MOST_LINES)
    return text_tasks(list(lines), options.seed, options.sentences)


def _warnings(models: Mapping[str, Mapping[str, Model]], tasks: Sequence[ProbingTask]) -> Iterator[str]:
    """Yields a sentence for each group whose models do not know the words of the tasks."""
    sentences = [sentence for task in tasks for sentence in task.sentences]
    for name, members in models.items():
        found = known_words(next(iter(members.values())).experiment.data, sentences)
        if found and (warning := found.warning()):
            yield f"{name}: {warning}"


def _note(text: str) -> None:
    Console(stderr=True).print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """Shows what is done on standard error while the context is open, on a terminal only."""
    notes = Console(stderr=True)
    if not notes.is_terminal:
        yield lambda _: None
        return
    with notes.status("") as status:
        yield lambda text: status.update(Text(text))


def _draw(groups: Groups, results: Sequence[TaskResult], options: argparse.Namespace) -> None:
    letters = letters_of(groups)
    labels = {name: name if len(name) < _LONGEST_LABEL and "/" not in name else letter for name, letter in letters.items()}
    sizes = [len(members) for members in groups.values()]
    several = "between seeds" if min(sizes) > 1 else "between seeds, or over folds" if max(sizes) > 1 else "over folds"
    title = [f"{letters[name]} = {name}" for name, label in labels.items() if label != name]
    if options.layers == "all":
        draw_layers(
            results, labels, "\n".join([f"Probing accuracy; bars: ± standard deviation {several}", *title]), options.picture
        )
    else:
        where = f"Probing, {'top layer' if options.layers == 'top' else f'layer {options.layers}'}"
        draw_table(results, labels, "\n".join([where, *title]), options.picture, with_published=options.published)


def _record(groups: Groups, results: Sequence[TaskResult], config: ProbingConfig, with_published: bool) -> dict[str, Any]:
    """Returns all figures as the JSON object. Accuracies are from 0 to 1."""
    record: dict[str, Any] = {
        "settings": dataclasses.asdict(config),
        "groups": groups,
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
                **(_layer_figures(result.layers[0]) if config.layer != "all" else {}),
                "layers": [{"layer": each.layer, **_layer_figures(each)} for each in result.layers],
            }
            for result in results
        ],
    }
    if with_published:
        record["published"] = {
            "source": published.SOURCE,
            "caveat": published.CAVEAT,
            "percent": {
                task: dict(zip(published.COLUMNS, figures, strict=True)) for task, (_, figures) in published.ACCURACIES.items()
            },
        }
    return record


def _layer_figures(layer: LayerResult) -> dict[str, Any]:
    return {
        "models": {name: _group_figures(accuracy) for name, accuracy in layer.models.items()},
        "untrained": {name: _figures(accuracy) for name, accuracy in layer.untrained.items()},
        "comparisons": {name: dataclasses.asdict(each) for name, each in layer.comparisons.items()},
    }


def _group_figures(accuracy: GroupAccuracy) -> dict[str, Any]:
    """Returns the figures of a group; its deviation is between the seeds if there are several."""
    return {
        "mean": accuracy.mean,
        "deviation": accuracy.deviation,
        "folds": accuracy.folds,
        "seeds": [_figures(seed) for seed in accuracy.seeds],
    }


def _figures(accuracy: Accuracy) -> dict[str, Any]:
    return {"mean": accuracy.mean, "deviation": accuracy.deviation, "folds": accuracy.folds}
