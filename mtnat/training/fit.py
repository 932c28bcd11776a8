"""Training of one run, as a generator of its progress."""

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mtnat.config import build, read_yaml, write_yaml
from mtnat.data import Dataset, Position
from mtnat.errors import ConfigError, DivergedError, StudyError
from mtnat.experiment import Experiment
from mtnat.objective import MultiTaskObjective, weights_at
from mtnat.training.checkpoints import Checkpoints, write_whole
from mtnat.training.feed import Feed
from mtnat.training.model import EXPERIMENT, Model, save_model
from mtnat.training.optimizer import learning_rate
from mtnat.training.update import Updater
from mtnat.training.validation import evaluate_split
from mtnat.training.window import ClosedWindow, Window
from mtnat.training.workers import Alone, Workers

MODEL, TRANSLATIONS, SUMMARY = "model", "validation.txt", "summary.yaml"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A point of a run's curves."""

    step: int
    """Updates done."""
    total_steps: int
    """T."""
    metrics: Mapping[str, float]
    """By name: ``train/…`` means over the updates since the last point, ``valid/…`` at validations, ``final/…`` at the end."""
    finished: bool = False
    """Whether this is the last point; the run's folder then holds ``model/`` and ``validation.txt``."""


@dataclass
class _State:
    """What changes while a run goes on, weights and optimizer aside."""

    step: int = 0
    position: Position = field(default_factory=Position)
    tokens: int = 0
    """Target tokens trained on, by all workers."""
    seconds: float = 0.0
    """Wall-clock time of training, validation not included."""
    skipped: int = 0
    """Updates that were not taken because their gradient was not finite."""
    best_step: int = 0
    best_bleu: float = -1.0


def fit(
    experiment: Experiment, dataset: Dataset, folder: Path, *, workers: Workers | None = None
) -> Generator[Progress, None, None]:
    """Trains, or goes on from the newest checkpoint in ``folder``, and yields its progress.

    Every member of ``workers`` calls it with the same arguments and sees the same progress; ``folder`` is shared.
    A run that was interrupted and resumed yields the same losses, bit for bit, as one that was not.

    Raises:
        ConfigError: the batches of a step cannot be shared evenly among the workers.
        StudyError: the folder belongs to another experiment.
        DivergedError: the loss left the finite numbers.
    """
    workers = workers or Alone()
    summary = folder / SUMMARY
    _claim(folder, experiment, workers)
    if summary.exists():
        yield Progress(
            step=experiment.training.steps, total_steps=experiment.training.steps, metrics=read_yaml(summary), finished=True
        )
        return
    yield from _Run(experiment, dataset, folder, workers).progress()


def _claim(folder: Path, experiment: Experiment, workers: Workers) -> None:
    """Makes the folder this experiment's own."""
    batches = experiment.training.batches_per_step
    if batches % workers.size:
        raise ConfigError(f"training.batches_per_step: must be a multiple of the {workers.size} workers; got {batches}.")
    path = folder / EXPERIMENT
    if path.exists() and build(Experiment, read_yaml(path)) != experiment:
        raise StudyError(f"{folder}: holds the run of another experiment; give another folder, or remove this one.")
    workers.meet()
    if workers.leads and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, write_yaml(experiment).encode())


class _Run:
    """One training: the loop, its windows, validations and checkpoints."""

    def __init__(self, experiment: Experiment, dataset: Dataset, folder: Path, workers: Workers) -> None:
        self.experiment, self.dataset, self.folder, self.workers = experiment, dataset, folder, workers
        torch.manual_seed(experiment.seed)
        self.translator = experiment.build_translator(dataset.vocabularies).to(workers.device)
        self.model = Model(experiment, self.translator, dataset.vocabularies)
        self.updater = Updater(experiment, MultiTaskObjective(self.translator, experiment.objective), workers)
        self.checkpoints = Checkpoints(folder / "checkpoints", experiment.training.keep_checkpoints)
        self.state, self.window = _State(), Window()
        steps = self.checkpoints.steps()
        if steps:
            self._restore(self.checkpoints.read(steps[-1]))

    def progress(self) -> Generator[Progress, None, None]:
        config, state = self.experiment.training, self.state
        closed: ClosedWindow | None = None
        self.translator.train()
        with Feed(self.experiment, self.dataset.train, self.workers, step=state.step, position=state.position) as feed:
            while state.step < config.steps:
                self._update(feed)
                if closed:
                    # Read only now that the device has another update to do meanwhile.
                    yield self._point(self._read(closed, state.step - 1), state.step - 1)
                    closed = None
                is_validation = state.step == config.steps or state.step % config.validate_every == 0
                if is_validation or state.step % config.log_every == 0:
                    closed = self.window.close()
                if closed and is_validation:
                    metrics = self._read(closed, state.step) | self._validate()
                    yield self._point(metrics, state.step)
                    closed = None
        yield self._finish()

    def _update(self, feed: Feed) -> None:
        started = time.perf_counter()
        work = feed.next()
        self.window.curves.append(self.updater.step(work))
        self.state.step += 1
        self.state.position = work.position
        self.window.seconds += time.perf_counter() - started

    def _read(self, closed: ClosedWindow, step: int) -> dict[str, float]:
        """The curves of a window that ended with an update; waits for the device."""
        started = time.perf_counter()
        means = closed.read()
        waited = time.perf_counter() - started
        state, config = self.state, self.experiment
        state.skipped += means.skipped
        if means.skipped_in_a_row > config.training.most_skipped_steps or not all(map(math.isfinite, means.values.values())):
            raise DivergedError(
                f"{self.folder.name}: the gradient was not finite in {means.skipped_in_a_row} updates in a row, "
                f"until step {step}; "
                "lower training.peak_learning_rate or lengthen training.warmup_steps."
            )
        state.tokens += means.target_tokens
        state.seconds += closed.seconds + waited
        metrics = {f"train/{name}": value for name, value in means.values.items()}
        for part, weight in weights_at(config.objective, step - 1, config.training.steps).items():
            metrics["train/lambda" if part == "nat" else f"train/weight_{part}"] = weight
        metrics["train/learning_rate"] = learning_rate(step - 1, config.training)
        metrics["train/tokens_per_second"] = means.target_tokens / max(closed.seconds + waited, 1e-9)
        metrics["train/skipped_steps"] = float(state.skipped)
        return metrics

    def _validate(self) -> dict[str, float]:
        """Decodes the validation set, then writes a checkpoint."""
        scored = evaluate_split(self.model, self.dataset.valid, self.workers, self.experiment.training.valid_sentences)
        self.translator.train()
        if scored.bleu.value > self.state.best_bleu:
            self.state.best_bleu, self.state.best_step = scored.bleu.value, self.state.step
        if self.workers.leads:
            self.checkpoints.write(self.state.step, self._snapshot(), scored.translations, self.state.best_step)
        self.workers.meet()
        return {"valid/bleu": scored.bleu.value, "valid/seconds": scored.seconds}

    def _finish(self) -> Progress:
        """Settles on the run's weights and writes its model, its translations and its summary."""
        choice = self.experiment.training.model
        final_bleu = self.state.best_bleu
        translations = self.checkpoints.translations_path(self.state.best_step)
        if choice == "best":
            self.translator.load_state_dict(self.checkpoints.read(self.state.best_step)["weights"])
        else:
            if choice == "average":
                kept = self.checkpoints.steps()[-self.experiment.training.keep_checkpoints :]
                self.translator.load_state_dict(self.checkpoints.average(kept))
            scored = evaluate_split(self.model, self.dataset.valid, self.workers, self.experiment.training.valid_sentences)
            final_bleu = scored.bleu.value
        metrics = {
            "final/valid_bleu": final_bleu,
            "final/step": float(self.state.best_step if choice == "best" else self.state.step),
            "final/tokens": float(self.state.tokens),
            "final/seconds": self.state.seconds,
            "final/skipped_steps": float(self.state.skipped),
            "final/parameters": float(sum(parameter.numel() for parameter in self.translator.parameters())),
        }
        if self.workers.leads:
            save_model(self.model, self.folder / MODEL)
            text = (
                translations.read_bytes() if choice == "best" else "".join(f"{line}\n" for line in scored.translations).encode()
            )
            write_whole(self.folder / TRANSLATIONS, text)
            write_whole(self.folder / SUMMARY, "".join(f"{name}: {value!r}\n" for name, value in metrics.items()).encode())
        self.workers.meet()
        return self._point(metrics, self.state.step, finished=True)

    def _point(self, metrics: Mapping[str, float], step: int, *, finished: bool = False) -> Progress:
        return Progress(step=step, total_steps=self.experiment.training.steps, metrics=metrics, finished=finished)

    def _snapshot(self) -> dict[str, Any]:
        state = self.state
        return {
            "weights": {name: weight.detach().cpu() for name, weight in self.translator.state_dict().items()},
            "updater": self.updater.state(),
            "step": state.step,
            "position": [state.position.epoch, state.position.batch],
            "tokens": state.tokens,
            "seconds": state.seconds,
            "skipped": state.skipped,
            "best_step": state.best_step,
            "best_bleu": state.best_bleu,
        }

    def _restore(self, snapshot: Mapping[str, Any]) -> None:
        self.translator.load_state_dict(snapshot["weights"])
        self.updater.restore(snapshot["updater"])
        self.state = _State(
            step=snapshot["step"],
            position=Position(*snapshot["position"]),
            tokens=snapshot["tokens"],
            seconds=snapshot["seconds"],
            skipped=snapshot["skipped"],
            best_step=snapshot["best_step"],
            best_bleu=snapshot["best_bleu"],
        )
