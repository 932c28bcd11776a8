"""Training of one run, as a generator of its progress."""

import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtnat.config import build, read_yaml, write_yaml
from mtnat.data import BatchStream, Dataset, Position
from mtnat.errors import ConfigError, DivergedError, StudyError
from mtnat.experiment import Experiment
from mtnat.objective import MultiTaskObjective, weights_at
from mtnat.training.checkpoints import Checkpoints, write_whole
from mtnat.training.model import EXPERIMENT, Model, save_model
from mtnat.training.optimizer import learning_rate
from mtnat.training.update import CURVES, Updater
from mtnat.training.validation import evaluate_split
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
    best_step: int = 0
    best_bleu: float = -1.0
    window: list[Tensor] = field(default_factory=list)
    """`CURVES` of the updates since the last point."""
    window_tokens: int = 0
    window_seconds: float = 0.0


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
        self.state = _State()
        steps = self.checkpoints.steps()
        if steps:
            self._restore(self.checkpoints.read(steps[-1]))

    def progress(self) -> Generator[Progress, None, None]:
        config = self.experiment.training
        stream = BatchStream(
            self.dataset.train,
            max_tokens=config.max_tokens_per_batch,
            seed=self.experiment.seed,
            batches_per_step=config.batches_per_step,
            rank=self.workers.rank,
            workers=self.workers.size,
            position=self.state.position,
        )
        self.translator.train()
        while self.state.step < config.steps:
            self._update(stream)
            is_last = self.state.step == config.steps
            is_validation = is_last or self.state.step % config.validate_every == 0
            if not is_validation and self.state.step % config.log_every:
                continue
            metrics = self._close_window()
            if is_validation:
                metrics |= self._validate()
            yield self._point(metrics)
        yield self._finish()

    def _update(self, stream: BatchStream) -> None:
        started = time.perf_counter()
        batches = stream.next_step()
        curves = self.updater.step(self.state.step, batches)
        self.state.step += 1
        self.state.position = stream.position
        self.state.window.append(curves)
        self.state.window_tokens += sum(batch.target_tokens for _, batch in batches)
        self.state.window_seconds += time.perf_counter() - started

    def _close_window(self) -> dict[str, float]:
        """The means since the last point; the only place of the loop that waits for the device."""
        state, step = self.state, self.state.step - 1
        started = time.perf_counter()
        means = dict(zip(CURVES, torch.stack(state.window).mean(0).tolist(), strict=True))
        state.window_seconds += time.perf_counter() - started
        if not all(abs(value) < float("inf") for value in means.values()):
            raise DivergedError(
                f"{self.folder.name}: the loss or its gradient is not finite at step {state.step} (loss {means['loss']}); "
                "lower training.peak_learning_rate or lengthen training.warmup_steps."
            )
        tokens = int(self.workers.sum(torch.tensor(state.window_tokens, device=self.workers.device)).item())
        config = self.experiment.objective
        untrained = (set() if config.trains_at else {"loss_at"}) | (set() if config.trains_nat else {"loss_nat", "loss_length"})
        metrics = {f"train/{name}": value for name, value in means.items() if name not in untrained}
        for part, weight in weights_at(config, step, self.experiment.training.steps).items():
            metrics["train/lambda" if part == "nat" else f"train/weight_{part}"] = weight
        metrics["train/learning_rate"] = learning_rate(step, self.experiment.training)
        metrics["train/tokens_per_second"] = tokens / max(state.window_seconds, 1e-9)
        state.tokens += tokens
        state.seconds += state.window_seconds
        state.window, state.window_tokens, state.window_seconds = [], 0, 0.0
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
        return self._point(metrics, finished=True)

    def _point(self, metrics: Mapping[str, float], *, finished: bool = False) -> Progress:
        return Progress(step=self.state.step, total_steps=self.experiment.training.steps, metrics=metrics, finished=finished)

    def _snapshot(self) -> dict[str, Any]:
        state = self.state
        return {
            "weights": {name: weight.detach().cpu() for name, weight in self.translator.state_dict().items()},
            "updater": self.updater.state(),
            "step": state.step,
            "position": [state.position.epoch, state.position.batch],
            "tokens": state.tokens,
            "seconds": state.seconds,
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
            best_step=snapshot["best_step"],
            best_bleu=snapshot["best_bleu"],
        )
