"""Executes one run, from its start or its newest checkpoint to its result. It uses no Ray."""

import math
import shutil
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch

from mtnat.config import write_yaml
from mtnat.data import Dataset, Split, prepare
from mtnat.errors import DiskFullError, MtnatError, OutOfMemoryError, ResourceError
from mtnat.files import FULL, disk_is_full, locked, write_whole
from mtnat.lab.outputs.curves import append_point, read_curves, write_point
from mtnat.lab.outputs.folder import HYPOTHESES_FILE, LOCK_FILE, STOP_FILE, StudyFolder, read_result, write_result
from mtnat.lab.outputs.micro_batches import MOST_MICRO_BATCHES, read_micro_batches, write_micro_batches
from mtnat.lab.outputs.runs import VALID, Result, Run
from mtnat.lab.study.resources import Resources
from mtnat.lab.worker.analyse import analysed
from mtnat.lab.worker.gpu_energy import gpu_joules
from mtnat.lab.worker.watchdog import Watchdog
from mtnat.training import Model, Speed, Workers, evaluate_split, fit, load_model, measure_speed
from mtnat.training.checkpoints import Checkpoints
from mtnat.training.fit import CHECKPOINTS, MODEL, SKIPPED_STEPS, SUMMARY, TRAINED_STEPS
from mtnat.training.memory import give_back_memory

POINT, RESULT, MICRO_BATCHES, SENTENCE, DISK_FULL = "point", "result", "micro_batches", "sentence", "disk_full"
"""Keys of reports: a point of the curves as text, because Tune keeps 2 KB for every number of every trial; the result of the
run; the number of micro-batches of an attempt, if it is more than one; a sentence for the user; where a disk is full. The last
one is no error for Tune, which writes errors to the disk."""
ERROR_FILE = "error.txt"
"""File in a run's folder: the stack of a process that failed unexpectedly or stopped responding."""


class Session(Protocol):
    """The environment of a run: its workers, their resources, and the channel to the driver."""

    workers: Workers
    resources: Resources

    def report(self, report: Mapping[str, Any], *, has_checkpoint: bool = False) -> None:
        """Sends a report to the driver. Every worker calls this with the same report.

        Args:
            has_checkpoint: whether the report follows a validation, which ends with a checkpoint.
        """

    def bring(self, run: str) -> Path:
        """Returns the folder of another run that has ended. One worker calls this."""
        ...


def execute(run: Run, study_folder: StudyFolder, session: Session) -> None:
    """Trains a run, or continues its training, scores it on the test set in the confirm phase, analyses its encoder or measures
    its speed in the phases after it, and writes and reports its result.

    An error in a run becomes its result ("failed", or "unmeasured" in the last two phases). A full disk is no fault of the run:
    it is reported, and the run has no result yet. Only two kinds of error reach Ray: the death of a process, and, if several
    workers train together, an error that may have happened in one of them only, while the others wait for it.
    """
    folder = study_folder.run(run.id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Watchdog(folder / ERROR_FILE, session.resources.silent_minutes) as watchdog, _owned(folder, session.workers):
            _execute(_Execution(run, study_folder, session, watchdog))
    except Exception as error:
        if not disk_is_full(error):
            raise
        full = DiskFullError(f"{folder}: {FULL[0]}")
        if session.workers.size > 1:
            raise full from error
        session.report({DISK_FULL: str(full)})


def _execute(execution: "_Execution") -> None:
    workers, known = execution.workers, execution.known
    try:
        result = execution.go_on()
    except Exception as error:
        is_of_all_workers = isinstance(error, MtnatError) and not isinstance(error, ResourceError)
        if disk_is_full(error) or (workers.size > 1 and not is_of_all_workers):
            raise
        if isinstance(error, MtnatError):
            result = known.failed_in(execution.run, " ".join(str(error).split()))
        else:
            (execution.folder / ERROR_FILE).write_text(traceback.format_exc(), encoding="utf-8")
            failed = f"{type(error).__name__}: {error} (see {ERROR_FILE} in its folder)"
            result = known.failed_in(execution.run, failed)
    give_back_memory()  # the process may wait for a long time, or train another run
    execution.end(result)


class _Execution:
    """A run in progress, on one of its workers."""

    def __init__(self, run: Run, study_folder: StudyFolder, session: Session, watchdog: Watchdog) -> None:
        self.run, self.study_folder, self.session, self.watchdog = run, study_folder, session, watchdog
        self.folder = study_folder.run(run.id)
        self.workers = session.workers
        self.known = read_result(self.folder) or Result(run=run.id)
        """The result of an earlier phase."""
        self.started, self.joules = time.perf_counter(), gpu_joules(self.workers.device)
        self.step, self.validated, self.newest = 0, 0, dict[str, float]()
        for step, metrics in read_curves(self.folder):
            self._see(step, metrics)

    @cached_property
    def dataset(self) -> Dataset:
        """The prepared corpus. It stays open when memory runs out: to open it again would need memory."""
        return prepare(self.run.experiment.data)

    def go_on(self) -> Result:
        """Trains and scores the run. If memory runs out, it tries again from the last checkpoint with twice as many
        micro-batches."""
        while True:
            micro_batches = read_micro_batches(self.folder)
            if micro_batches > 1:
                self.session.report({MICRO_BATCHES: micro_batches})
            try:
                return self._train_and_score(micro_batches)
            except OutOfMemoryError:
                if micro_batches >= MOST_MICRO_BATCHES:
                    raise ResourceError(
                        "training.max_tokens_per_batch: training ran out of memory even with each batch in "
                        f"{MOST_MICRO_BATCHES} parts; lower it, or take a smaller model."
                    ) from None
                write_micro_batches(self.folder, 2 * micro_batches)
                if self.workers.size > 1:  # the other workers wait for this one, so all of them have to start again
                    raise
            give_back_memory()  # outside of `except`: the error's frames hold the tensors of the failed attempt

    def end(self, result: Result) -> None:
        """Adds the costs of the run to its result, writes it and reports it."""
        # An analysis is none of the costs of the trial.
        seconds = 0.0 if self.run.phase == "analysis" else time.perf_counter() - self.started
        joules = 0.0 if self.run.phase == "analysis" else self._joules()
        result = result.model_copy(
            update={
                "seconds": self.known.seconds + seconds,
                "gpu_seconds": self.known.gpu_seconds + seconds * self.workers.size * self.session.resources.gpus_per_worker,
                "joules": None if joules is None else (self.known.joules or 0) + joules,
                "micro_batches": read_micro_batches(self.folder),
                "host": socket.gethostname(),
                "valid_loss": self.newest.get("final/valid_loss", self.newest.get("valid/loss")),
                "decode_seconds": self.newest.get("final/decode_seconds", self.newest.get("valid/seconds")),
                "train_seconds": self.newest.get("train/seconds"),
                "tokens": _whole(self.newest.get("train/tokens")),
                "updates": _whole(self.newest.get(TRAINED_STEPS)),
                "skipped_updates": _whole(self.newest.get(SKIPPED_STEPS)),
                "parameters": _whole(self.newest.get("final/parameters")),
            }
        )
        costs = {f"cost/{name}": getattr(result, name) for name in ("seconds", "gpu_seconds", "tokens", "joules")}
        self.report(self.step, {name: float(cost) for name, cost in costs.items() if cost is not None})
        if self.workers.leads:
            if result.failed is None:  # a failed run may continue from its checkpoints later
                shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
            write_result(self.folder, result)
        self.session.report({RESULT: result.model_dump_json()})

    def report(self, step: int, metrics: Mapping[str, float]) -> None:
        """Reports a point of the curves, and writes it to the run's folder in case the driver is killed before it gets the
        report."""
        self._see(step, metrics)
        self.watchdog.feed()
        point = write_point(step, metrics)
        if self.workers.leads:
            append_point(self.folder, point)
        self.session.report({POINT: point}, has_checkpoint=VALID in metrics)

    def _train_and_score(self, micro_batches: int) -> Result:
        if self._is_to_stop() and not (self.folder / SUMMARY).exists():
            return self._pruned(self.known)
        if self.run.phase != "search" and not (self.folder / MODEL).exists():
            # The model was removed while the trial was not among the best. Training is deterministic, so it gives the same
            # model.
            self.workers.meet()
            if self.workers.leads:
                (self.folder / SUMMARY).unlink(missing_ok=True)
            self.workers.meet()
        self._report_lost_point()
        dataset = self.dataset
        self.watchdog.feed()
        known = self.known.model_copy(update={"data_hash": dataset.fingerprint})
        points = fit(
            self.run.experiment,
            dataset,
            self.folder,
            workers=self.workers,
            micro_batches=micro_batches,
            teacher=self.study_folder.teacher_model(),
            encoder_every=self.run.encoder_every,
            say=lambda text: self.session.report({SENTENCE: text}),
        )
        for progress in points:
            self.report(progress.step, progress.metrics)
            if progress.step < progress.total_steps and not progress.finished and self._is_to_stop():
                points.close()
                return self._pruned(known)
        result = known.model_copy(update={"valid": self.newest["final/valid_bleu"], "pruned": None, "failed": None})
        if self.run.phase == "search":
            return result
        model = load_model(self.folder / MODEL, self.workers.device)
        if self.run.phase == "analysis":
            self._analyse(model, progress.step)
            return result.model_copy(update={"is_analysed": True, "unmeasured": None})
        if self.run.phase == "speed":
            speed = self._speed(model, dataset.test)
            self.report(progress.step, {f"test/{name}": value for name, value in speed.model_dump().items()})
            return result.model_copy(update={"speed": speed, "unmeasured": None})
        scored = evaluate_split(model, dataset.test, self.workers)
        if self.workers.leads:
            write_whole(self.folder / HYPOTHESES_FILE, "".join(f"{line}\n" for line in scored.translations).encode())
        self.report(progress.step, {"test/bleu": scored.bleu.value})
        return result.model_copy(update={"test": scored.bleu.value, "signature": scored.bleu.signature})

    def _analyse(self, model: Model, last_step: int) -> None:
        """Reports the figures of the run's encoder. The leading worker computes them while the others wait."""
        known = {(step, name) for step, metrics in read_curves(self.folder) for name in metrics}
        points = analysed(self.run, model, self.folder, self.session.bring, known, last_step)
        while True:
            self.watchdog.feed()
            found = self.workers.gather([next(points, None)] if self.workers.leads else [])
            (point,) = chain.from_iterable(found)
            if point is None:
                return
            self.report(*point)

    def _speed(self, model: Model, test: Split) -> Speed:
        """Measures the speed of the model. The leading worker measures alone while the others wait."""
        assert self.run.speed_sentences is not None
        self.watchdog.feed()
        found = [measure_speed(model, test.sources, self.run.speed_sentences)] if self.workers.leads else []
        (speed,) = chain.from_iterable(self.workers.gather(found))
        return speed

    def _report_lost_point(self) -> None:
        """Reports the point of the newest checkpoint if the process was killed after it wrote the one and before the other. The
        training continues after this step, so nothing else would report it."""
        checkpoints = Checkpoints(self.folder / CHECKPOINTS)
        lost: list[tuple[int, dict[str, float]]] = []
        sentences: list[str] = []
        # The leading worker decides, because the others may read the curves after it has added the point.
        if self.workers.leads and max(checkpoints.steps(), default=0) > self.validated:
            sentences = checkpoints.set_aside(write_yaml(self.run.experiment))
            newest = max(checkpoints.steps(), default=0)
            if newest > self.validated:
                lost.append((newest, checkpoints.read(newest).get("metrics", {})))  # those of earlier versions have none
        for sentence in chain.from_iterable(self.workers.gather(sentences)):
            self.session.report({SENTENCE: sentence})
        for step, metrics in chain.from_iterable(self.workers.gather(lost)):
            if metrics:
                self.report(step, metrics)

    def _pruned(self, known: Result) -> Result:
        return known.model_copy(update={"valid": self.newest[VALID], "pruned": self.step, "failed": None})

    def _is_to_stop(self) -> bool:
        """Returns whether the driver has requested the end of the run; the leading worker decides for all of them. A run
        without a score continues, since its result would be empty."""
        requests = self.workers.gather([(self.folder / STOP_FILE).exists()] if self.workers.leads else [])
        return any(map(any, requests)) and VALID in self.newest

    def _see(self, step: int, metrics: Mapping[str, float]) -> None:
        self.step = step
        if VALID in metrics:
            self.validated = step
        self.newest |= metrics

    def _joules(self) -> float | None:
        """Returns the energy of the workers' GPUs since the start; None if one of them does not report it."""
        now = gpu_joules(self.workers.device)
        own = math.nan if now is None or self.joules is None else now - self.joules
        total = float(self.workers.sum(torch.tensor(own, dtype=torch.float64, device=self.workers.device)))
        return None if math.isnan(total) else total


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


@contextmanager
def _owned(folder: Path, workers: Workers) -> Iterator[None]:
    """Locks a run's folder against a second process: actors survive the driver's death for a moment."""
    with locked(folder / LOCK_FILE) if workers.leads else nullcontext():
        workers.meet()
        yield
