"""Probes models on tasks, with the figures that tell what a number means."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from statistics import fmean, stdev

from torch import Tensor

from mtnat.analysis.probing.baselines import bag_of_words, majority
from mtnat.analysis.probing.comparison import FoldComparison, corrected_t_test
from mtnat.analysis.probing.features import Pooling, architecture, sentence_features, untrained
from mtnat.analysis.probing.tasks import FOLDS, SENTENCES, ProbingTask, ready
from mtnat.analysis.probing.trainer import ProbeConfig, accuracies, folds_of, steps_of_an_epoch
from mtnat.errors import UserError
from mtnat.evaluation import holm
from mtnat.training import Model


@dataclass(frozen=True, kw_only=True)
class ProbingConfig:
    """Settings of a probing experiment."""

    layer: int = -1
    """Number of the encoder layer, from 0 (the embeddings); −1 is the top layer."""
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
    models: Mapping[str, Accuracy]
    """Each model, by name."""
    untrained: Mapping[str, Accuracy]
    """For each model, the encoder of the same architecture with random weights."""
    comparisons: Mapping[str, FoldComparison] = field(default_factory=dict)
    """Each model after the first one, against the first one."""


def probe(
    models: Mapping[str, Model],
    tasks: Sequence[ProbingTask],
    config: ProbingConfig | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> list[TaskResult]:
    """Trains and tests classifiers of each task on the encodings of each model.

    All models have the same sentences, folds, initial weights and batches. Each model after the first is compared with the
    first; Holm's correction is over all tasks and models of the comparison.

    Args:
        report: is called with what is done next.

    Raises:
        UserError: a task cannot be split into folds, a model has no such layer, or scikit-learn is missing.
    """
    config = config or ProbingConfig()
    check_packages()
    if config.sentences < 2 * config.folds:
        raise UserError(f"sentences: must be at least {2 * config.folds}, two for each fold; got {config.sentences}.")
    chosen = [ready(task, config.sentences, config.folds, config.seed) for task in tasks]
    for model in models.values():
        sentence_features(model, [], config.layer)  # raises for a layer that the model lacks, before any work
    controls = {name: architecture(model) for name, model in models.items()}
    random_models = {kind: untrained(models[name], config.seed) for name, kind in controls.items()}
    measured = [_measured(models, controls, random_models, task, config, report) for task in chosen]
    first, *others = models
    pairs = [(number, name) for number in range(len(measured)) for name in others]
    p_values = [
        corrected_t_test(measured[number].models[name].folds, measured[number].models[first].folds) for number, name in pairs
    ]
    comparisons: list[dict[str, FoldComparison]] = [{} for _ in measured]
    for (number, name), p_value, adjusted in zip(pairs, p_values, holm(p_values), strict=True):
        difference = measured[number].models[name].mean - measured[number].models[first].mean
        comparisons[number][name] = FoldComparison(difference, p_value, adjusted)
    return [replace(each, comparisons=comparison) for each, comparison in zip(measured, comparisons, strict=True)]


def check_packages() -> None:
    """Checks that scikit-learn can be imported.

    Raises:
        UserError: it is not installed.
    """
    if find_spec("sklearn") is None:
        raise UserError("probe: needs scikit-learn; install it: pip install 'mtnat[analysis]'.")


def _measured(
    models: Mapping[str, Model],
    controls: Mapping[str, tuple[object, ...]],
    random_models: Mapping[tuple[object, ...], Model],
    task: ProbingTask,
    config: ProbingConfig,
    report: Callable[[str], None],
) -> TaskResult:
    """Returns the accuracies of a task, without comparisons."""
    folds = folds_of(task.labels, config.folds, config.seed)

    def accuracy(model: Model, name: str) -> Accuracy:
        report(f"{task.name}: encoding {len(task.sentences):,} sentences with {name}")
        features_ND: Tensor = sentence_features(model, task.sentences, config.layer, config.pooling)
        report(f"{task.name}: training {config.folds} classifiers on {name}")
        return Accuracy(accuracies(features_ND, task.labels, folds, config.probe, config.seed))

    report(f"{task.name}: baselines")
    words = Accuracy(bag_of_words(task.sentences, task.labels, folds))
    by_kind = {kind: accuracy(model, "an untrained encoder") for kind, model in random_models.items()}
    return TaskResult(
        task=task,
        updates=config.probe.epochs * steps_of_an_epoch(folds, config.probe.batch_size)[0],
        majority=Accuracy(majority(task.labels, folds)),
        bag_of_words=words,
        models={name: accuracy(model, name) for name, model in models.items()},
        untrained={name: by_kind[kind] for name, kind in controls.items()},
    )
