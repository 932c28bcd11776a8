"""Training of one run, as a generator of its progress."""

import math
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from mtnat.config import build, read_yaml, write_yaml
from mtnat.data import Dataset, Position
from mtnat.errors import ConfigError, DivergedError, ModelError, OutOfMemoryError, StudyError
from mtnat.experiment import Experiment
from mtnat.files import write_whole
from mtnat.training.checkpoints import Checkpoints
from mtnat.training.feed import Feed
from mtnat.training.kept_encoders import ENCODERS, KeptEncoders
from mtnat.training.memory import running_out_raises
from mtnat.training.model import EXPERIMENT, Model, save_model
from mtnat.training.moving_average import MovingAverage
from mtnat.training.optimizer import learning_rate
from mtnat.training.saved import reason_of
from mtnat.training.selection import chosen, is_stalled, kept
from mtnat.training.teacher import give_teacher
from mtnat.training.update import Updater
from mtnat.training.validation import evaluate_split, split_losses
from mtnat.training.window import ClosedWindow, Window
from mtnat.training.workers import Alone, Workers

MODEL, TRANSLATIONS, SUMMARY, CHECKPOINTS = "model", "validation.txt", "summary.yaml", "checkpoints"
"""Contents of a run's folder. The checkpoints are not needed any more once the summary is written."""
_Found = TypeVar("_Found")
TRAINED_STEPS = "final/trained_steps"
"""Name of the metric with the number of updates done, which is less than T if the run stopped early."""
SKIPPED_STEPS = "final/skipped_steps"
"""Name of the metric with the number of updates that were skipped because their gradient was not finite."""
_USUALLY_SKIPPED = 0.02
_REMEDY = "lower training.peak_learning_rate or lengthen training.warmup_steps"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A point of a run's curves."""

    step: int
    """Updates done."""
    total_steps: int
    """T."""
    metrics: Mapping[str, float]
    """Metrics by name: ``train/…`` are means over the updates since the last point, ``valid/…`` come from a validation, and
    ``final/…`` describe the finished run."""
    finished: bool = False
    """Whether this is the last point. The run's folder then contains ``model/`` and ``validation.txt``."""


@dataclass
class _State:
    """The state of a run in training, without the weights and the optimizer."""

    step: int = 0
    position: Position = field(default_factory=Position)
    tokens: int = 0
    """Target tokens trained on by all workers."""
    seconds: float = 0.0
    """Wall-clock time of training, without validation."""
    skipped: int = 0
    """Number of updates that were skipped because their gradient was not finite."""
    decode_seconds: float = 0.0
    """Wall-clock time of decoding in the last validation."""
    scores: dict[int, float] = field(default_factory=dict)
    """Validation BLEU by step."""
    losses: dict[int, float] = field(default_factory=dict)
    """Validation loss of the branch that translates, by step."""


def skips_many(skipped: int, steps: int) -> bool:
    """Returns whether a user should know how many updates were skipped. With fp16, a few in a thousand are usual."""
    return skipped > _USUALLY_SKIPPED * steps


def skipped_of(skipped: int, steps: int) -> str:
    """Returns the clause on skipped updates."""
    return f"{skipped:,} of {steps:,} updates were skipped, because their gradient was not finite"


def fit(
    experiment: Experiment,
    dataset: Dataset,
    folder: Path,
    *,
    workers: Workers | None = None,
    micro_batches: int = 1,
    teacher: Path | None = None,
    encoder_every: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Generator[Progress, None, None]:
    """Trains, or resumes from the newest checkpoint in ``folder``, and yields the run's progress.

    Every member of ``workers`` calls this function with the same arguments and gets the same progress; ``folder`` is shared.
    On a CPU an interrupted and resumed run yields the same losses, bit for bit, as an uninterrupted one; on a GPU some kernels
    add in an order that varies. A finished run yields its last
    point again and needs no checkpoint for it.

    Args:
        micro_batches: number of micro-batches into which each batch is split, so that an update needs less memory. Masks and
            divisors do not change; only dropout draws different numbers. The number may change when a run is resumed.
        teacher: model folder of the teacher for a system that reads one and names none.
        encoder_every: number of updates between two encoders that are kept in the folder, see `KeptEncoders`; 0 keeps none.
        say: is called with a sentence about each checkpoint that is damaged, and at the end if many updates were skipped. With
            a damaged checkpoint the run continues from an older one, or from the beginning, and ends with the same result.

    Raises:
        OutOfMemoryError: an update ran out of memory. It may fit with more micro-batches.
        ResourceError: decoding ran out of memory.
        ConfigError: the batches of a step cannot be divided evenly among the workers, or the teacher is missing or unfit.
        StudyError: the folder belongs to another experiment.
        ModelError: a checkpoint in the folder is of another version.
        DivergedError: the loss or the gradient is not finite.
    """
    workers = workers or Alone()
    summary = folder / SUMMARY
    _claim(folder, experiment, workers)
    if summary.exists():
        metrics = read_yaml(summary)
        step, total_steps = int(metrics.get(TRAINED_STEPS, experiment.training.steps)), experiment.training.steps
        yield Progress(step=step, total_steps=total_steps, metrics=metrics, finished=True)
        return
    yield from _Run(experiment, dataset, folder, workers, micro_batches, teacher, encoder_every, say).progress()


def _claim(folder: Path, experiment: Experiment, workers: Workers) -> None:
    """Checks that the folder is new or belongs to this experiment, and writes the experiment into a new folder."""
    batches = experiment.training.batches_per_step
    if batches % workers.size:
        raise ConfigError(f"training.batches_per_step: must be a multiple of the {workers.size} workers; got {batches}.")
    path = folder / EXPERIMENT
    if path.exists() and build(Experiment, read_yaml(path)) != experiment:
        raise StudyError(f"{folder}: contains the run of another experiment; give another folder, or remove this one.")
    workers.meet()
    if workers.leads and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, write_yaml(experiment).encode())


class _Run:
    """The training of one run: its loop, windows of curves, validations and checkpoints."""

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        folder: Path,
        workers: Workers,
        micro_batches: int,
        teacher: Path | None,
        encoder_every: int,
        say: Callable[[str], None],
    ) -> None:
        self.experiment, self.dataset, self.folder, self.workers = experiment, dataset, folder, workers
        self.micro_batches, self.encoder_every, self.say = micro_batches, encoder_every, say
        torch.manual_seed(experiment.seed)
        self.translator = experiment.build_translator(dataset.vocabularies).to(workers.device)
        decay = experiment.training.ema_decay
        self.average = MovingAverage(self.translator, decay) if decay else None
        final = self.average.module if self.average else self.translator
        self.model = Model(experiment, final, dataset.vocabularies)
        translators = {self.translator, final}  # both compute losses: in training and in validation
        give_teacher(experiment, translators, dataset.vocabularies, workers.device, teacher)
        self.objective = experiment.build_objective(self.translator, dataset)
        self.updater = Updater(experiment, self.objective, workers, micro_batches=micro_batches)
        self.checkpoints = Checkpoints(folder / CHECKPOINTS)
        self.state = _State()
        self.window = Window(self.updater.curves, self.objective.parts, self.objective.measures)
        for sentence in self._of_leader(lambda: self.checkpoints.set_aside(write_yaml(experiment))):
            say(sentence)
        for step in self._of_leader(lambda: self.checkpoints.steps()[-1:]):
            self._resume(step)

    def progress(self) -> Generator[Progress, None, None]:
        config, state = self.experiment.training, self.state
        closed: ClosedWindow | None = None
        self.translator.train()
        with self._feed() as feed:
            while state.step < config.steps and not is_stalled(self._last_stage(), config.patience):
                self._update(feed)
                if closed:
                    # The window is read one update later, so that the device computes this update during the transfer.
                    yield self._point(self._read(closed, state.step - 1), state.step - 1)
                    closed = None
                if self.encoder_every and state.step % self.encoder_every == 0 and self.workers.leads:
                    # Before the checkpoint of this step, so that a killed run that continues from it lacks no encoder.
                    KeptEncoders(self.folder / ENCODERS).write(state.step, self.model.translator)
                is_validation = state.step == config.steps or state.step % config.validate_every == 0
                if is_validation or state.step % config.log_every == 0:
                    closed = self.window.close()
                if closed and is_validation:
                    metrics = self._validate(self._read(closed, state.step))
                    yield self._point(metrics, state.step)
                    closed = None
        yield self._finish()

    def _of_leader(self, find: Callable[[], list[_Found]]) -> list[_Found]:
        """Returns what the leading worker finds; the others may see files that it has renamed."""
        return list(chain.from_iterable(self.workers.gather(find() if self.workers.leads else [])))

    def _feed(self) -> Feed:
        state = self.state
        return Feed(
            self.experiment,
            self.objective,
            self.dataset.train,
            self.workers,
            later=self.dataset.later,
            step=state.step,
            position=state.position,
            micro_batches=self.micro_batches,
        )

    def _update(self, feed: Feed) -> None:
        started = time.perf_counter()
        too_many = (
            f"training.max_tokens_per_batch: training ran out of memory; got {self.experiment.training.max_tokens_per_batch}; "
            "lower it, or raise --micro-batches."
        )
        with running_out_raises(OutOfMemoryError(too_many)):
            work = feed.next()
            self.window.curves.append(self.updater.step(work))
        self.state.step += 1
        if self.average:
            self.average.update(self.state.step)
        self.state.position = work.position
        self.window.seconds += time.perf_counter() - started

    def _read(self, closed: ClosedWindow, step: int) -> dict[str, float]:
        """Returns the metrics of the window that ended with update `step`; waits for the device."""
        started = time.perf_counter()
        means = closed.read()
        waited = time.perf_counter() - started
        state, config = self.state, self.experiment
        state.skipped += means.skipped
        if means.skipped_in_a_row > config.training.most_skipped_steps or not all(map(math.isfinite, means.values.values())):
            what = f"the gradient was not finite in {means.skipped_in_a_row} updates in a row, until step {step}"
            if not means.skipped_in_a_row:
                what = f"the loss was not finite at an update until step {step}"
            raise self._diverged(what)
        state.tokens += means.target_tokens
        state.seconds += closed.seconds + waited
        metrics = {f"train/{name}": value for name, value in means.values.items()}
        metrics["train/lambda"] = config.objective.schedule(step - 1, config.training.steps)
        weights = self.objective.weights_at(step - 1, config.training.steps)
        metrics |= {f"train/weight_{part}": weight for part, weight in weights.items()}
        if config.data.stages:
            metrics["train/stage"] = float(1 + config.stage_of(step - 1))
        metrics["train/learning_rate"] = learning_rate(step - 1, config.training)
        metrics["train/tokens_per_second"] = means.target_tokens / max(closed.seconds + waited, 1e-9)
        metrics["train/skipped_steps"] = float(state.skipped)
        metrics["train/tokens"], metrics["train/seconds"] = float(state.tokens), state.seconds
        return metrics

    def _validate(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Decodes the validation set, then writes a checkpoint. Returns the metrics of this step, to which it adds its own."""
        state, config = self.state, self.experiment.training
        scored = evaluate_split(self.model, self.dataset.valid, self.workers, config.valid_sentences)
        state.scores[state.step], state.decode_seconds = scored.bleu.value, scored.seconds
        losses = self._valid_losses()
        self.translator.train()
        metrics = {**metrics, "valid/bleu": scored.bleu.value, "valid/seconds": scored.seconds}
        metrics |= {f"valid/{name}": loss for name, loss in losses.items()}
        if "loss" in losses:
            state.losses[state.step] = losses["loss"]
        if self.workers.leads:
            # The checkpoint holds the point of its step: a process that is killed before it reports the point does not lose it.
            snapshot = {**self._snapshot(), "metrics": metrics}
            self.checkpoints.write(state.step, snapshot, scored.translations, kept(self._last_stage() or state.scores, config))
        self.workers.meet()
        return metrics

    def _valid_losses(self) -> dict[str, float]:
        losses = split_losses(self.model, self.dataset.valid, self.workers, self.experiment.training.valid_sentences)
        if not all(map(math.isfinite, losses.values())):
            raise self._diverged(f"the loss on the validation set was not finite at step {self.state.step}")
        return losses

    def _diverged(self, what: str) -> DivergedError:
        return DivergedError(f"{self.folder.name}: {what}; {_REMEDY}.")

    def _finish(self) -> Progress:
        """Loads the run's final weights and writes its model, its translations and its summary."""
        state, config = self.state, self.experiment.training
        if skips_many(state.skipped, state.step):
            self.say(f"{skipped_of(state.skipped, state.step)}; {_REMEDY}")
        steps = chosen(self._last_stage(), config)
        self.model.translator.load_state_dict(self.checkpoints.average(steps))
        if len(steps) == 1:
            bleu, loss = state.scores[steps[0]], state.losses.get(steps[0])
            translations = self.checkpoints.translations_path(steps[0]).read_bytes()
        else:
            scored = evaluate_split(self.model, self.dataset.valid, self.workers, config.valid_sentences)
            bleu, state.decode_seconds = scored.bleu.value, scored.seconds
            loss = self._valid_losses().get("loss")
            translations = "".join(f"{line}\n" for line in scored.translations).encode()
        metrics = {
            "final/valid_bleu": bleu,
            "final/step": float(max(steps)),
            TRAINED_STEPS: float(state.step),
            "final/tokens": float(state.tokens),
            "final/seconds": state.seconds,
            "final/decode_seconds": state.decode_seconds,
            SKIPPED_STEPS: float(state.skipped),
            "final/parameters": float(sum(parameter.numel() for parameter in self.translator.parameters())),
            **({} if loss is None else {"final/valid_loss": loss}),
        }
        if self.workers.leads:
            save_model(self.model, self.folder / MODEL)
            write_whole(self.folder / TRANSLATIONS, translations)
            write_whole(self.folder / SUMMARY, "".join(f"{name}: {value!r}\n" for name, value in metrics.items()).encode())
        self.workers.meet()
        return self._point(metrics, state.step, finished=True)

    def _last_stage(self) -> dict[int, float]:
        """Returns the validation scores of the last stage of the training text; without stages, all scores. The final weights
        are from this stage, and only this stage can end early."""
        begin = (0, *self.experiment.stage_ends)[-2]
        return {step: score for step, score in self.state.scores.items() if step > begin}

    def _point(self, metrics: Mapping[str, float], step: int, *, finished: bool = False) -> Progress:
        return Progress(step=step, total_steps=self.experiment.training.steps, metrics=metrics, finished=finished)

    def _snapshot(self) -> dict[str, Any]:
        state = self.state
        return {
            "weights": _on_host(self.model.translator),
            "trained_weights": _on_host(self.translator) if self.average else None,
            "updater": self.updater.state(),
            "experiment": write_yaml(self.experiment),
            "step": state.step,
            "position": [state.position.epoch, state.position.batch],
            "tokens": state.tokens,
            "seconds": state.seconds,
            "skipped": state.skipped,
            "decode_seconds": state.decode_seconds,
            "scores": state.scores,
            "losses": state.losses,
        }

    def _resume(self, step: int) -> None:
        snapshot = self.checkpoints.read(step)
        try:
            self._restore(snapshot)
        except torch.OutOfMemoryError:
            raise
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.checkpoints.path(step)}: is of an earlier version of mtnat ({reason_of(error)}); "
                f"resume with that version, or remove {self.folder} to train from the beginning."
            ) from None

    def _restore(self, snapshot: Mapping[str, Any]) -> None:
        self.model.translator.load_state_dict(snapshot["weights"])
        if self.average:
            self.translator.load_state_dict(snapshot["trained_weights"])
        self.updater.restore(snapshot["updater"])
        self.state = _State(
            step=snapshot["step"],
            position=Position(*snapshot["position"]),
            tokens=snapshot["tokens"],
            seconds=snapshot["seconds"],
            skipped=snapshot["skipped"],
            decode_seconds=snapshot["decode_seconds"],
            scores=snapshot["scores"],
            losses=snapshot.get("losses", {}),
        )


def _on_host(module: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach().cpu() for name, weight in module.state_dict().items()}
