"""Ray Tune's callback, which passes on what Tune reports."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.experiment import Trial as TuneTrial

from mtnat.errors import DiskFullError
from mtnat.files import FULL, disk_is_full
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.cluster.room import Patience
from mtnat.lab.driver.runs_under_way import RunsUnderWay
from mtnat.lab.driver.screen import Screen
from mtnat.lab.driver.searcher import DriverOnly
from mtnat.lab.outputs.clock import Clock
from mtnat.lab.outputs.curves import read_point
from mtnat.lab.worker.execute import DISK_FULL, MICRO_BATCHES, POINT, SENTENCE
from mtnat.lab.worker.sessions import RUN_ID

OUT_OF_MEMORY = ("OutOfMemory", "out of memory", "low on memory")
"""Words of the errors of CUDA, of PyTorch on a CPU, and of Ray's memory monitor. Tune keeps the text of an error, and the types
differ with the process that died: an actor, a worker of Ray Train, or one of its controllers."""


class Pulse:
    """What the driver does at every step of Tune's loop, several times per second."""

    def __init__(self, interruption: Interruption, clock: Clock, patience: Patience, screen: Screen) -> None:
        self._interruption, self._clock, self._patience, self._screen = interruption, clock, patience, screen

    def __call__(self, trials: Sequence[TuneTrial]) -> None:
        self._interruption.check()
        self._clock.tick()
        self._patience.check(trials)
        self._screen.tick()


class Listener(DriverOnly, tune.Callback):
    """Translates Tune's events into those of the study's runs.

    An error is raised at the end of a step. Before that Tune has not finished with the trial, and takes some errors for one of
    the trial's process.
    """

    def __init__(self, runs: RunsUnderWay, pulse: Callable[[Sequence[TuneTrial]], None]) -> None:
        self._runs, self._pulse = runs, pulse
        self._error: Exception | None = None

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        with self._errors_kept():
            self._runs.start(trial.config[RUN_ID])

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        with self._errors_kept():
            if MICRO_BATCHES in result:
                self._runs.split_batches(trial.config[RUN_ID], result[MICRO_BATCHES])
            if SENTENCE in result:
                self._runs.say(trial.config[RUN_ID], result[SENTENCE])
            if POINT in result:
                self._runs.report(trial.config[RUN_ID], *read_point(result[POINT]))
            if DISK_FULL in result:
                raise DiskFullError(result[DISK_FULL])

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        if self._error:  # for example a full disk, which is no end of the run
            return
        with self._errors_kept():
            self._runs.end(trial.config[RUN_ID])

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        if self._error:
            return
        error = trial.get_error()
        reason = None if error is None else _last_line(error)  # Tune knows no error of an actor that did not come up
        short_of_memory = any(words in str(error) for words in OUT_OF_MEMORY)
        with self._errors_kept():
            if disk_is_full(error):
                raise DiskFullError(reason.partition(": ")[2] if reason else FULL[0])
            self._runs.die(trial.config[RUN_ID], reason, short_of_memory=short_of_memory)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if self._error:
            raise self._error
        self._pulse(trials)

    @contextmanager
    def _errors_kept(self) -> Iterator[None]:
        """Keeps the first error for the end of the step."""
        try:
            yield
        except Exception as error:
            self._error = self._error or error


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "killed"
