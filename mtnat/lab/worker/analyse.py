"""The figures of a run's encoder: its similarity to those of other runs, and what classifiers find in it."""

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from statistics import fmean

from mtnat.analysis.encoders import compare_encoders, readable_sentences
from mtnat.analysis.probing import (
    Fold,
    ProbeConfig,
    ProbingTask,
    accuracies,
    bag_of_words,
    folds_of,
    grammar_tasks,
    majority,
    read_tasks,
    ready,
    sentence_features,
    steps_of_an_epoch,
    text_tasks,
    untrained,
)
from mtnat.data.config import DataConfig
from mtnat.data.corpus import data_root
from mtnat.lab.outputs.analysis_curves import MEASURES, probing_name, similarity_name
from mtnat.lab.outputs.probed import Folds, ProbedTask, read_probed, write_probed
from mtnat.lab.outputs.runs import AnalysisPlan, Run
from mtnat.lab.study.analysing import ProbingInTheEnd, SimilarityOverTraining
from mtnat.training import Model, load_model, training_sources
from mtnat.training.fit import MODEL
from mtnat.training.kept_encoders import ENCODERS, KeptEncoders

Point = tuple[int, dict[str, float]]
"""A step, and metrics by name."""
_MOST_LINES = 500_000
"""Number of lines of the training text that tasks are made of."""
_SEED = 1
"""Draws the sentences of the tasks, the folds, and the classifiers' weights and batches: the same for all runs of a study."""


def analysed(
    run: Run, model: Model, folder: Path, bring: Callable[[str], Path], known: Collection[tuple[int, str]], last_step: int
) -> Iterator[Point]:
    """Yields points with the figures of a run's encoder: before the first step, at each step whose encoder was kept, and, with
    names that begin with ``final/``, at the end.

    Args:
        model: the final model of the run.
        folder: the folder of the run.
        bring: returns the folder of another run.
        known: steps and names of figures that the run has reported before; they are not computed again.
        last_step: the step of the final model.

    Raises:
        UserError: the encoders cannot be compared, or a task cannot be used.
    """
    plan = run.analysis
    assert plan is not None
    own = _Encoder(model, folder)
    if plan.settings.similarity and any(plan.others.values()):
        yield from _similarity(run, plan, plan.settings.similarity, own, bring, known, last_step)
    if plan.settings.probing:
        yield from _probing(run, plan, plan.settings.probing, own, folder, known, last_step)


class _Encoder:
    """The encoder of a run over training, in a model."""

    def __init__(self, model: Model, folder: Path) -> None:
        """Args: folder: of the run."""
        self.model, self._kept = model, KeptEncoders(folder / ENCODERS)
        self.steps = [0, *self._kept.steps()]
        """Steps after which the encoder is known; 0 is before the training."""

    def after(self, step: int | None) -> Model:
        """Returns the model with the encoder after a step; None is the final one."""
        if step is None:
            return self.model
        return self._kept.read(step, self.model) if step else self._untrained

    @cached_property
    def _untrained(self) -> Model:
        return untrained(self.model, self.model.experiment.seed)


def _similarity(
    run: Run,
    plan: AnalysisPlan,
    config: SimilarityOverTraining,
    own: _Encoder,
    bring: Callable[[str], Path],
    known: Collection[tuple[int, str]],
    last_step: int,
) -> Iterator[Point]:
    device = own.model.translator.target_tokens.weight.device
    others: dict[str, _Encoder] = {}
    for other in dict.fromkeys(other for same in plan.others.values() for other in same):
        folder = bring(other)
        others[other] = _Encoder(load_model(folder / MODEL, device), folder)
    names = [run.id, *others]
    lines = list(islice(training_sources(run.experiment.data).read(), config.sentences))
    sentences = readable_sentences([own.model, *(each.model for each in others.values())], names, lines, config.unit)
    for step in [*own.steps, None]:
        reached = [other for other, encoder in others.items() if step is None or step in encoder.steps]
        trials = {name: both for name, same in plan.others.items() if (both := [other for other in same if other in reached])}
        place = last_step if step is None else step
        wanted = [name for name in trials if (place, similarity_name(name, "cka", is_final=step is None)) not in known]
        compared = [other for other in reached if any(other in trials[name] for name in wanted)]
        if not compared:
            continue
        found = compare_encoders(
            [own.after(step), *(others[other].after(step) for other in compared)],
            [run.id, *compared],
            sentences,
            unit=config.unit,
            pairs=[(0, number) for number in range(1, len(compared) + 1)],
        )
        by_run = {compared[each.models[1] - 1]: each.similarity for each in found}
        metrics: dict[str, float] = {}
        for name in wanted:
            for measure, value in MEASURES.items():
                metrics[similarity_name(name, measure, is_final=step is None)] = fmean(
                    value(by_run[other]) for other in trials[name]
                )
        yield place, metrics


def _probing(
    run: Run,
    plan: AnalysisPlan,
    config: ProbingInTheEnd,
    own: _Encoder,
    folder: Path,
    known: Collection[tuple[int, str]],
    last_step: int,
) -> Iterator[Point]:
    probed = {task.task: task for task in read_probed(folder)}
    probe = ProbeConfig(epochs=config.epochs)
    for task in (ready(each, config.sentences, seed=_SEED) for each in tasks_of(config, run.experiment.data)):
        folds = folds_of(task.labels, seed=_SEED)

        def accuracies_after(step: int | None, task: ProbingTask = task, folds: Sequence[Fold] = folds) -> Folds:
            features_ND = sentence_features(own.after(step), task.sentences, config.layer, config.pooling)
            return accuracies(features_ND, task.labels, folds, probe, _SEED)

        if task.name not in probed:
            probed[task.name] = ProbedTask(
                task=task.name,
                sentences=len(task.sentences),
                classes=len(task.classes),
                updates=config.epochs * steps_of_an_epoch(folds, probe.batch_size)[0],
                untrained=accuracies_after(0),
                final=accuracies_after(None),
                majority=majority(task.labels, folds) if plan.has_context else None,
                bag_of_words=bag_of_words(task.sentences, task.labels, folds) if plan.has_context else None,
            )
            write_probed(folder, tuple(probed.values()))
        curve = probing_name(task.name, is_final=False)
        if (0, curve) not in known:
            yield 0, {curve: fmean(probed[task.name].untrained)}
        for step in own.steps[1:] if config.over_training else ():
            if (step, curve) not in known:
                yield step, {curve: fmean(accuracies_after(step))}
        if (last_step, final := probing_name(task.name, is_final=True)) not in known:
            yield last_step, {final: fmean(probed[task.name].final)}


def tasks_of(config: ProbingInTheEnd, data: DataConfig) -> list[ProbingTask]:
    """Returns the tasks of a study.

    Raises:
        DataError: the folder of tasks cannot be read or has no tasks.
    """
    if config.tasks is not None:
        return read_tasks(data_root() / config.tasks)
    if data.corpus == "grammar-en-de":
        return grammar_tasks(config.sentences, _SEED)
    return text_tasks(list(islice(training_sources(data).read(), _MOST_LINES)), _SEED, config.sentences)
