"""`bench study`: the overhead of the platform over the training of its trials, measured with a real study."""

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import mlflow
import psutil
import torch
from pydantic import Field

from mtnat.config import Record, build, to_yaml
from mtnat.data import prepare
from mtnat.errors import MtnatError
from mtnat.experiment import Experiment
from mtnat.lab.outputs.folder import RESULT_FILE, StudyFolder, read_result
from mtnat.lab.study.record import slug
from mtnat.lab.study.resources import cores
from mtnat.training import fit

EXPERIMENT: Mapping[str, Any] = {
    "data": {"corpus": "grammar-en-de", "corpus_size": 2_000, "vocabulary_size": 800},
    "model": {"width": 64, "heads": 4, "feed_forward": 256, "encoder_layers": 1, "decoder_layers": 1, "max_positions": 128},
    "decoding": {"iterations": 2, "length_candidates": 2},
}
"""The settings of every trial, except for its training."""
SEARCH = {"training.peak_learning_rate": {"float": [1e-4, 1e-3], "log": True}}
STUDY = "bench"
_PACE_FROM_STEP, _PACE_TO_STEP = 100, 400
_LOG_EVERY, _TRIVIAL_STEPS = 10, 2
_MOST_COMPARED = 100
_SECONDS_BETWEEN_LOOKS = 0.5
_MOST_TRACKED = 50_000
_RAY_WORKER = "ray::"
"""Prefix of the names of Ray's Python processes; the largest of them are the ones that train."""


class StudyBenchOptions(Record):
    """The options of `bench study`."""

    trials: int = Field(12, ge=4)
    """Number of proposals; at least twice as many as run at the same time."""
    seconds: float = Field(30.0, ge=0)
    """Approximate training time of each trial, alone on its core; 0 means two steps, which take hardly any time."""


class StudyFigures(Record):
    """The measurements of a study of many equal trials."""

    trials: int
    at_once: int
    """Number of trials at the same time, one per core."""
    wall_seconds: float
    """From the start of the command to its end."""
    trial_seconds: float
    """Median of the trials' own times, from the first line of their code to their result."""
    overhead_ratio: float
    """`wall_seconds`, divided by the sum of the trials' own times per place."""
    first_step_seconds: float
    """The longest time from the result of a trial to the first point of the trial that takes its place."""
    first_step_seconds_median: float
    start_seconds: float
    """From the start of the command to the first point of the first trial."""
    end_seconds: float
    """From the result of the last trial to the end of the command."""
    first_seconds_per_trial: float
    """Wall-clock time per trial over the first hundred trials, or over the first half of fewer."""
    last_seconds_per_trial: float
    """The same over the last trials."""
    first_driver_bytes: int
    """Resident memory of the driver at the end of the first hundred trials."""
    last_driver_bytes: int
    """At the end of the study."""
    first_actor_bytes: int
    """Resident memory of the largest training process, at the end of the first hundred trials."""
    last_actor_bytes: int
    """At the end of the study."""


@dataclass(frozen=True)
class TrialTimes:
    """The times of a trial's first point and of its result, in seconds since the epoch."""

    first_point: float
    end: float
    own_seconds: float


@dataclass(frozen=True)
class Look:
    """The resident memory at one moment."""

    time: float
    driver_bytes: int
    actor_bytes: int
    """Of the largest actor."""


def bench_study(options: StudyBenchOptions, say: Callable[[str], None]) -> StudyFigures:
    """Runs a study in a temporary folder.

    Args:
        say: called with a line of text about the progress.

    Raises:
        MtnatError: the study failed.
    """
    with tempfile.TemporaryDirectory(prefix="mtnat-bench-") as name:
        folder = Path(name)
        environment = os.environ | {"MTNAT_CACHE": str(folder / "cache")}
        environment.pop("MLFLOW_TRACKING_URI", None)
        steps = _TRIVIAL_STEPS
        if options.seconds:
            say("timing a few steps")
            steps = max(_TRIVIAL_STEPS, round(options.seconds / _step_seconds(folder)))
        (folder / f"{STUDY}.yaml").write_text(to_yaml(_study(options.trials, steps)))
        say(f"a study of {options.trials} trials of {steps} steps, {cores()} side by side")
        started = time.time()
        looks = _run(folder, environment)
        ended = time.time()
        return summary(_times(folder), looks, started=started, ended=ended, at_once=cores())


def summary(trials: Sequence[TrialTimes], looks: Sequence[Look], *, started: float, ended: float, at_once: int) -> StudyFigures:
    """Returns the figures of a study from its observed times and memory."""
    ends = sorted(trial.end for trial in trials)
    own = sum(trial.own_seconds for trial in trials)
    gaps = waits(trials, at_once)
    compared = min(_MOST_COMPARED, len(trials) // 2)
    first, last = memory_at(looks, ends[compared - 1]), memory_at(looks, ends[-1])
    return StudyFigures(
        trials=len(trials),
        at_once=at_once,
        wall_seconds=round(ended - started, 2),
        trial_seconds=round(statistics.median(trial.own_seconds for trial in trials), 2),
        overhead_ratio=round((ended - started) / (own / at_once), 4),
        first_step_seconds=round(max(gaps), 2),
        first_step_seconds_median=round(statistics.median(gaps), 2),
        start_seconds=round(min(trial.first_point for trial in trials) - started, 2),
        end_seconds=round(ended - ends[-1], 2),
        first_seconds_per_trial=round((ends[compared - 1] - ends[0]) / max(compared - 1, 1), 3),
        last_seconds_per_trial=round((ends[-1] - ends[-compared]) / max(compared - 1, 1), 3),
        first_driver_bytes=first.driver_bytes,
        last_driver_bytes=last.driver_bytes,
        first_actor_bytes=first.actor_bytes,
        last_actor_bytes=last.actor_bytes,
    )


def waits(trials: Sequence[TrialTimes], at_once: int) -> list[float]:
    """Returns the seconds from the end of each trial to the first point of the trial that took its place; places are taken in
    the order in which they become free."""
    ends = sorted(trial.end for trial in trials)
    followers = sorted(trial.first_point for trial in trials)[at_once:]
    return [first_point - end for end, first_point in zip(ends, followers, strict=False)]


def memory_at(looks: Sequence[Look], moment: float) -> Look:
    """Returns the last look before a moment; the first look if there was none before."""
    return max((look for look in looks if look.time <= moment), key=lambda look: look.time, default=looks[0])


def _study(trials: int, steps: int) -> dict[str, Any]:
    return {
        "question": "What does the platform add to the training of its trials?",
        "experiment": _experiment(steps),
        "search": SEARCH,
        "trials": trials,
    }


def _experiment(steps: int) -> dict[str, Any]:
    training = {
        "steps": steps,
        "warmup_steps": 1,
        "max_tokens_per_batch": 512,
        "log_every": min(_LOG_EVERY, max(1, steps // _TRIVIAL_STEPS)),
        "validate_every": steps,
        "valid_sentences": 20,
        "keep_checkpoints": 1,
        "precision": "fp32",
    }
    return {**EXPERIMENT, "training": training}


def _step_seconds(folder: Path) -> float:
    """Returns the seconds per step of a training alone on one core; the prepared corpus stays in the cache of the study."""
    torch.set_num_threads(1)
    experiment = build(Experiment, _experiment(_PACE_TO_STEP))
    dataset = prepare(experiment.data, folder / "cache")
    moments = {
        progress.step: time.perf_counter() for progress in fit(experiment, dataset, folder / "pace") if not progress.finished
    }
    steps = [step for step in moments if _PACE_FROM_STEP <= step < _PACE_TO_STEP]
    return (moments[steps[-1]] - moments[steps[0]]) / (steps[-1] - steps[0])


def _run(folder: Path, environment: Mapping[str, str]) -> list[Look]:
    """Runs the study as from the command line, and returns its memory over time."""
    command = [sys.executable, "-m", "mtnat", "tune", f"{STUDY}.yaml"]
    with (
        (folder / "out.txt").open("w+") as out,
        subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=out, stderr=subprocess.STDOUT) as process,
        _ended_with_us(process),
        _Watch(process.pid) as watch,
    ):
        process.wait()
        if process.returncode:
            out.seek(0)
            raise MtnatError(f"bench study: the study failed: {' '.join(out.read()[-500:].split())}")
    return watch.looks


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stops the study if the measurement is stopped, for example by Ctrl-C."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.terminate()


class _Watch:
    """Measures the memory of a driver and of its actors twice per second."""

    def __init__(self, driver: int) -> None:
        self.looks = [Look(time.time(), 0, 0)]
        self._driver = driver
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._is_over.wait(_SECONDS_BETWEEN_LOOKS):
            with suppress(psutil.Error):  # the driver has just ended
                driver = psutil.Process(self._driver)
                actors = [process for process in driver.children(recursive=True) if _is_ray_worker(process)]
                self.looks.append(Look(time.time(), _resident_bytes(driver), max(map(_resident_bytes, actors), default=0)))


def _is_ray_worker(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return "".join(process.cmdline()[:1]).startswith(_RAY_WORKER)
    return False


def _resident_bytes(process: psutil.Process) -> int:
    with suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _times(folder: Path) -> list[TrialTimes]:
    """Returns the times of all trials: from their results, and from the timestamps of their first points in MLflow."""
    study = StudyFolder(folder / "outputs" / STUDY)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    times: list[TrialTimes] = []
    for run in client.search_runs(experiments, "tags.kind = 'trial'", max_results=_MOST_TRACKED):
        run_folder = study.run(f"{slug(run.data.tags['trial'])}-seed{run.data.tags['seed']}")
        result = read_result(run_folder)
        if result is None or result.failed:
            raise MtnatError(f"bench study: {run.info.run_name} failed: {result.failed if result else 'it has no result'}")
        points = client.get_metric_history(run.info.run_id, "train/loss")
        first_point = min(point.timestamp for point in points) / 1000
        times.append(TrialTimes(first_point, (run_folder / RESULT_FILE).stat().st_mtime, result.seconds))
    return times
