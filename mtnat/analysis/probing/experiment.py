"""Probes models on tasks, with the figures that tell what a number means."""

# F folds

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from statistics import fmean, stdev
from typing import Literal

from mtnat.analysis.encoding import layers_of
from mtnat.analysis.probing.baselines import bag_of_words, majority
from mtnat.analysis.probing.comparison import ProbeComparison, corrected_t_test, seed_t_test
from mtnat.analysis.probing.features import Pooling, architecture, layer_features, sentence_features, untrained
from mtnat.analysis.probing.tasks import FOLDS, SENTENCES, ProbingTask, ready
from mtnat.analysis.probing.trainer import ProbeConfig, accuracies, folds_of, steps_of_an_epoch
from mtnat.errors import UserError
from mtnat.evaluation import holm
from mtnat.training import Model

TOP = -1
"""The number of the top layer of any model."""


@dataclass(frozen=True, kw_only=True)
class ProbingConfig:
    """Settings of a probing experiment."""

    layer: int | Literal["all"] = TOP
    """Number of the encoder layer, from 0 (the embeddings); −1 is the top layer. "all" probes each layer."""
    pooling: Pooling = "mean"
    """How the states of a sentence become one vector."""
    sentences: int = SENTENCES
    """Largest number of sentences of a task."""
    folds: int = FOLDS
    """Folds of the cross-validation."""
    seed: int = 1
    """Draws the sentences, the folds, the weights of the classifiers, their batches, and the untrained encoders."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    """The classifier."""


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of each fold, from 0 to 1."""

    folds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return fmean(self.folds)

    @property
    def deviation(self) -> float:
        """Standard deviation between the folds, which says nothing about other trainings of the model."""
        return stdev(self.folds)


@dataclass(frozen=True)
class GroupAccuracy:
    """The accuracy of the models of a group, which differ in their training seed."""

    seeds: tuple[Accuracy, ...]
    """That of each model."""

    @property
    def folds(self) -> tuple[float, ...]:
        """Mean over the seeds for each fold."""
        return tuple(fmean(each) for each in zip(*(seed.folds for seed in self.seeds), strict=True))

    @property
    def mean(self) -> float:
        """Mean over seeds and folds."""
        return fmean(seed.mean for seed in self.seeds)

    @property
    def deviation(self) -> float:
        """Standard deviation between the seeds, or between the folds of a single one."""
        return stdev(seed.mean for seed in self.seeds) if self.seeds[1:] else self.seeds[0].deviation


@dataclass(frozen=True, kw_only=True)
class LayerResult:
    """The figures of a task in one layer. A group whose encoders lack the layer has none."""

    layer: int
    """Number of the layer; −1 is the top layer of each model."""
    models: Mapping[str, GroupAccuracy]
    """Each group of models, by name."""
    untrained: Mapping[str, Accuracy]
    """For each group, the encoder of the same architecture with random weights."""
    comparisons: Mapping[str, ProbeComparison] = field(default_factory=dict)
    """Each group after the first one, against the first one."""


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """The figures of a task."""

    task: ProbingTask
    """The sentences that were used."""
    updates: int
    """Number of updates of each classifier."""
    majority: Accuracy
    """The most frequent label."""
    bag_of_words: Accuracy
    """A linear classifier of word counts."""
    layers: tuple[LayerResult, ...]
    """Each layer that was probed, from the lowest."""


def probe(
    groups: Mapping[str, Sequence[Model]],
    tasks: Sequence[ProbingTask],
    config: ProbingConfig | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> list[TaskResult]:
    """Trains and tests classifiers of each task on the encodings of each model.

    All models have the same sentences, folds, initial weights and batches. Each group after the first is compared with the
    first, layer by layer; Holm's correction is over all tasks, layers and groups of the comparison. A sentence is encoded once
    by each model for all layers. The features of one model for one task are held in memory at a time, 4 bytes times the
    sentences, the width and the number of layers.

    Args:
        groups: models of one training method that differ in their training seed, by name; see `check_groups`.
        report: is called with what is done next.

    Raises:
        UserError: a task cannot be split into folds, a model has no such layer, or scikit-learn is missing.
    """
    config = config or ProbingConfig()
    check_packages()
    if config.sentences < 2 * config.folds:
        raise UserError(f"sentences: must be at least {2 * config.folds}, two for each fold; got {config.sentences}.")
    chosen = [ready(task, config.sentences, config.folds, config.seed) for task in tasks]
    if config.layer != "all":
        for model in (model for models in groups.values() for model in models):
            sentence_features(model, [], config.layer)  # raises for a layer that the model lacks, before any work
    controls = {name: architecture(models[0]) for name, models in groups.items()}
    random_models = {kind: untrained(groups[name][0], config.seed) for name, kind in controls.items()}
    return _compared([_measured(groups, controls, random_models, task, config, report) for task in chosen])


def shared_controls(results: Sequence[TaskResult]) -> list[tuple[str, ...]]:
    """Returns the names of the groups that share an untrained encoder, because their architectures are equal."""
    names: dict[tuple[Accuracy | None, ...], list[str]] = {}
    for name in dict.fromkeys(name for layer in results[0].layers for name in layer.untrained):
        figures = tuple(layer.untrained.get(name) for result in results for layer in result.layers)
        names.setdefault(figures, []).append(name)
    return [tuple(each) for each in names.values()]


def check_packages() -> None:
    """Checks that scikit-learn can be imported.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("sklearn") is None:
        raise UserError("probe: needs scikit-learn; install it: pip install 'mtnat[analysis]'.")


def _measured(
    groups: Mapping[str, Sequence[Model]],
    controls: Mapping[str, tuple[object, ...]],
    random_models: Mapping[tuple[object, ...], Model],
    task: ProbingTask,
    config: ProbingConfig,
    report: Callable[[str], None],
) -> TaskResult:
    """Returns the accuracies of a task, without comparisons."""
    folds = folds_of(task.labels, config.folds, config.seed)

    def by_layer(model: Model, name: str) -> dict[int, Accuracy]:
        layers = list(range(layers_of(model) + 1)) if config.layer == "all" else [config.layer]
        report(f"{task.name}: encoding {len(task.sentences):,} sentences with {name}")
        found = {}
        for layer, features_ND in zip(layers, layer_features(model, task.sentences, layers, config.pooling), strict=True):
            where = f", layer {layer} of {layers[-1]}" if layers[1:] else ""
            report(f"{task.name}: training {config.folds} classifiers on {name}{where}")
            found[layer] = Accuracy(accuracies(features_ND, task.labels, folds, config.probe, config.seed))
        return found

    report(f"{task.name}: baselines")
    words = Accuracy(bag_of_words(task.sentences, task.labels, folds))
    by_kind = {kind: by_layer(model, "an untrained encoder") for kind, model in random_models.items()}
    seeds = {
        name: [
            by_layer(model, f"{name}, model {number + 1} of {len(models)}" if models[1:] else name)
            for number, model in enumerate(models)
        ]
        for name, models in groups.items()
    }
    numbers = sorted({layer for found in by_kind.values() for layer in found})
    return TaskResult(
        task=task,
        updates=config.probe.epochs * steps_of_an_epoch(folds, config.probe.batch_size)[0],
        majority=Accuracy(majority(task.labels, folds)),
        bag_of_words=words,
        layers=tuple(
            LayerResult(
                layer=layer,
                models={
                    name: GroupAccuracy(tuple(each[layer] for each in found))
                    for name, found in seeds.items()
                    if layer in found[0]
                },
                untrained={name: by_kind[kind][layer] for name, kind in controls.items() if layer in by_kind[kind]},
            )
            for layer in numbers
        ),
    )


def _compared(results: Sequence[TaskResult]) -> list[TaskResult]:
    """Adds the comparisons, with p-values that are adjusted for the number of all of them."""
    found = list(_comparisons(results))
    adjusted = holm([comparison.p_value for *_, comparison in found])
    comparisons: dict[tuple[int, int], dict[str, ProbeComparison]] = {}
    for (task, layer, name, comparison), p_value in zip(found, adjusted, strict=True):
        comparisons.setdefault((task, layer), {})[name] = replace(comparison, adjusted=p_value)
    return [
        replace(
            result,
            layers=tuple(
                replace(each, comparisons=comparisons.get((task, layer), {})) for layer, each in enumerate(result.layers)
            ),
        )
        for task, result in enumerate(results)
    ]


def _comparisons(results: Sequence[TaskResult]) -> Iterator[tuple[int, int, str, ProbeComparison]]:
    """Yields indices of a task and a layer, and the comparison of each group with the first one, if both have the layer."""
    for task, result in enumerate(results):
        first = next(iter(result.layers[0].models))  # layer 0, or the top layer, is one of all encoders
        for layer, each in enumerate(result.layers):
            baseline = each.models.get(first)
            for name, system in each.models.items():
                if baseline is None or name == first:
                    continue
                seeds = len(system.seeds), len(baseline.seeds)
                if min(seeds) > 1:
                    p_value = seed_t_test([seed.folds for seed in system.seeds], [seed.folds for seed in baseline.seeds])
                else:
                    p_value = corrected_t_test(system.folds, baseline.folds)
                yield task, layer, name, ProbeComparison(system.mean - baseline.mean, p_value, p_value, seeds)
