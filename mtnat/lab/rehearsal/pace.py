"""Measures the speed of this machine with a kind of system, by a few real steps and translations."""

import time

import torch

from mtnat.data import Dataset, prepare
from mtnat.decoding import TranslatedLine
from mtnat.experiment import Experiment
from mtnat.lab.rehearsal.estimate import MEASURED_STEPS, Pace
from mtnat.lab.study.resources import Resources
from mtnat.model import Translator
from mtnat.objective import MultiTaskObjective
from mtnat.training import Alone, Feed, Model, Updater
from mtnat.training.moving_average import MovingAverage
from mtnat.training.teacher import stand_in_teacher

WARM_UP_STEPS, WARM_UP_STEPS_COMPILED = 4, 10
"""Steps before the measurement, in which memory is allocated and shapes are compiled."""
WARM_UP_SENTENCES, SENTENCES_ON_CPU, SENTENCES_ON_GPU = 4, 64, 512


def measure(kinds: list[Experiment], resources: Resources, workers: int) -> list[Pace]:
    """Returns the pace of each kind, measured in this process as one of the workers of a run.

    Args:
        kinds: see `kind_of`.
        workers: number of workers of a run. Each has its share of a step's batches and of the sentences; the communication
            between them is not considered.
    """
    torch.set_num_threads(resources.cpus_per_worker)
    alone = Alone("auto" if resources.gpus_per_worker else "cpu")
    return [_pace(kind, prepare(kind.data), alone, workers) for kind in kinds]


def _pace(kind: Experiment, dataset: Dataset, alone: Alone, workers: int) -> Pace:
    share = kind.training.model_copy(update={"batches_per_step": max(1, kind.training.batches_per_step // workers)})
    experiment = kind.model_copy(update={"training": share})
    torch.manual_seed(experiment.seed)

    def new(experiment: Experiment) -> Translator:
        return experiment.build_translator(dataset.vocabularies).to(alone.device).train()

    translator = new(experiment)
    stand_in_teacher(experiment, translator, new)
    step = _seconds_per_step(experiment, dataset, experiment.build_objective(translator, dataset), alone)
    sentence = _seconds_per_sentence(Model(experiment, translator, dataset.vocabularies), dataset, alone)
    return Pace(step, sentence / workers, len(dataset.valid.sources), len(dataset.test.sources))


def _seconds_per_step(experiment: Experiment, dataset: Dataset, module: MultiTaskObjective, alone: Alone) -> float:
    decay = experiment.training.ema_decay
    average = MovingAverage(module.translator, decay) if decay else None
    updater = Updater(experiment, module, alone)

    def seconds(first: int, steps: int) -> float:
        with Feed(experiment, module, dataset.train, alone, step=first) as feed:
            _wait_for(alone.device)
            started = time.perf_counter()
            for number in range(steps):
                updater.step(feed.next())
                if average:
                    average.update(first + number + 1)
            _wait_for(alone.device)
            return time.perf_counter() - started

    for _ in range(WARM_UP_STEPS_COMPILED if experiment.training.compile else WARM_UP_STEPS):
        seconds(experiment.training.steps // 2, 1)
    return seconds(1, MEASURED_STEPS) / MEASURED_STEPS


def _seconds_per_sentence(model: Model, dataset: Dataset, alone: Alone) -> float:
    """Returns the seconds per sentence, scaled to translations as long as the references: a model that has hardly been trained
    writes translations of any length."""
    most = SENTENCES_ON_GPU if alone.device.type == "cuda" else SENTENCES_ON_CPU
    every = -(-len(dataset.valid.sources) // most)
    sources, references = dataset.valid.sources[::every], dataset.valid.references[::every]
    with torch.compiler.set_stance("force_eager"):
        model.translate(sources[:WARM_UP_SENTENCES])
        _wait_for(alone.device)
        started = time.perf_counter()
        translated = model.translate(sources)
        _wait_for(alone.device)
        seconds = time.perf_counter() - started
    wanted = sum(len(pieces) + 1 for pieces in dataset.vocabularies.target.encode(references))
    return seconds / len(sources) * wanted / sum(_pieces(line, model) for line in translated)


def _pieces(line: TranslatedLine, model: Model) -> int:
    """Returns the number of pieces that were decoded for a line, including the end; the AT decoder has one pass for each."""
    best = line.translations[0]
    return max(1, best.passes) if model.search().is_stepwise else len(best.tokens) + 1


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
