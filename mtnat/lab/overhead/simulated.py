"""`bench study --simulate`: a study with simulated training, to measure the load that its driver can take."""

import heapq
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Literal, cast, get_args

import psutil
from pydantic import Field
from ray.tune.experiment import Trial as TuneTrial
from rich.console import Console

from mtnat.config import Record, build
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.cluster.room import Patience, Room
from mtnat.lab.driver.listener import Listener, Pulse
from mtnat.lab.driver.run_book import RunBook
from mtnat.lab.driver.runs_under_way import RunsUnderWay
from mtnat.lab.driver.screen import TerminalScreen
from mtnat.lab.driver.searcher import AgendaSearcher
from mtnat.lab.outputs.clock import Clock
from mtnat.lab.outputs.curves import append_point, write_point
from mtnat.lab.outputs.folder import RESULT_FILE, StudyFolder
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.outputs.storage import study_storage
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.optuna_proposer import make_proposer
from mtnat.lab.study.record import Study
from mtnat.lab.study.resources import Machine
from mtnat.lab.tracking.mlflow_tracker import MlflowTracker
from mtnat.lab.tracking.tracker import Tracker
from mtnat.lab.worker.execute import POINT
from mtnat.lab.worker.sessions import RUN

Act = Literal["look", "proposal", "start", "report", "end"]
"""The operations of a driver: asks for a run when none can start, asks for a proposal, begins a run, processes a report, ends a
run."""

KIND = "objective.schedule.kind"
STEPS = 10_000
STUDY: Mapping[str, Any] = {
    "question": "What does a driver bear?",
    "experiment": {"data": {"corpus": "grammar-en-de"}, "training": {"steps": STEPS, "warmup_steps": 1_000}},
    "baselines": {"mask-predict": {"objective.schedule": {"kind": "constant", "value": 1.0}}},
    "search": {
        KIND: {"choice": ["linear", "power", "cosine", "sigmoid"]},
        "objective.schedule.exponent": {"float": [0.25, 4.0], "log": True, "when": {KIND: "power"}},
        "objective.schedule.midpoint": {"float": [0.2, 0.8], "when": {KIND: "sigmoid"}},
        "objective.label_smoothing": {"float": [0.0, 0.3]},
        "training.peak_learning_rate": {"float": [1e-4, 1e-2], "log": True},
        "model.dropout": {"float": [0.0, 0.4]},
    },
    "confirm": {"top": 3, "seeds": [1, 2, 3], "against": "mask-predict"},
}
"""A study of typical size; its scores are simulated."""
METRICS = ("loss", "at", "nat", "length", "gradient_norm", "lambda", "weight_at", "weight_length", "learning_rate")
"""The metrics of each report, about as many as real training has."""
SEED = 1
_SPREAD = 0.3
_SHARE_LOOKED_AT = 0.1
_FIRST_ROW = 10


class SimulationOptions(Record):
    """The size of the simulated study and its cluster."""

    trials: int = Field(10_000, ge=10)
    """Number of proposals."""
    workers: int = Field(1_000, ge=1)
    """Number of runs at the same time."""
    minutes: float = Field(10.0, gt=0)
    """Duration of a run, varied by up to 30 %."""
    points: int = Field(20, ge=1)
    """Number of reports of each run."""


class SimulationFigures(Record):
    """The processor time of the driver per operation after a number of runs: the mean over the last tenth. Other processes and
    waiting for the disk are not included."""

    finished: int
    look_ms: float | None
    """None if a run could always start. Once the last proposals are running, it happens after each report."""
    proposal_ms: float
    start_ms: float
    report_ms: float
    end_ms: float
    proposals_per_second: float
    """The rate if the driver did nothing else."""
    metrics_per_second: float
    """The rate of metrics that reach MLflow if the driver did nothing else."""
    load: float
    """Share of the driver's time that all workers need; above 1 they wait for it."""
    saturates: Act
    """The operation with the largest part of the load."""
    driver_bytes: int
    """Resident memory of the driver."""
    journal_bytes: int
    """Size of Optuna's journal."""
    mlflow_bytes: int
    """Size of MLflow's database."""
    runs_bytes: int
    """Size of the runs' folders, without models."""


@dataclass(frozen=True)
class _TunesTrial:
    """The part of a trial of Tune that the listener uses."""

    config: Mapping[str, str]


@dataclass
class _UnderWay:
    """A run in progress."""

    run: Run
    trial: TuneTrial
    seconds_between_points: float
    point: int = 0


@dataclass
class SimulatedClock:
    """The clock of a simulated study."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


class SimulatedStudy:
    """A study with its real agenda, proposer, listener and tracker, with simulated workers, and with the time of each
    operation."""

    def __init__(self, options: SimulationOptions, folder: StudyFolder, tracker: Tracker, clock: SimulatedClock) -> None:
        self._options, self._folder, self._clock = options, folder, clock
        study = build(Study, {**STUDY, "trials": options.trials})
        folder.begin(study, resume=False)
        tracker.begin(folder.id, folder.name)
        self.agenda = Agenda(study, make_proposer(study, folder.journal), folder.results())
        self._searcher = AgendaSearcher(self.agenda, lambda: options.workers)
        screen = TerminalScreen(Console(file=StringIO()), self.agenda, options.workers)
        room = Room(study.resources, look=lambda: [Machine(options.workers, 0)])
        patience = Patience(study.resources, room)
        runs = RunsUnderWay(self.agenda, study_storage(None, folder), RunBook(tracker, folder, "simulated"), patience, screen)
        self._listener = Listener(runs, Pulse(Interruption(), Clock(folder.clock), patience, screen))
        self._dice = random.Random(SEED)
        self.milliseconds: dict[Act, list[float]] = {act: [] for act in get_args(Act)}
        """The time of every operation so far."""

    def ends(self) -> Iterator[int]:
        """Simulates the study without waiting; yields the number of runs that have ended, whenever one ends."""
        events: list[tuple[float, int, _UnderWay]] = []
        """Time of the next report in seconds, number of the run, run."""
        started, ended = 0, 0
        while True:
            while (one := self._start()) is not None:
                heapq.heappush(events, (self._clock.seconds + one.seconds_between_points, started, one))
                started += 1
            if not events:
                return
            self._clock.seconds, order, one = heapq.heappop(events)
            self._report(one)
            if one.point < self._options.points:
                heapq.heappush(events, (self._clock.seconds + one.seconds_between_points, order, one))
            else:
                self._end(one)
                ended += 1
                yield ended

    def _start(self) -> _UnderWay | None:
        if len(self.agenda.handed_out) == self._options.workers:
            return None
        started = time.process_time()
        config = self._searcher.suggest("")
        milliseconds = 1000 * (time.process_time() - started)
        if not isinstance(config, dict):
            self.milliseconds["look"].append(milliseconds)
            return None
        trial = cast("TuneTrial", _TunesTrial(config))
        run = Run.model_validate_json(config[RUN])
        if run.phase == "search" and run.kind == "trial":
            self.milliseconds["proposal"].append(milliseconds)
        with self._timed("start"):
            self._listener.on_trial_start(0, [], trial)
        folder = self._folder.run(run.id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "experiment.yaml").touch()
        seconds = 60 * self._options.minutes * self._dice.uniform(1 - _SPREAD, 1 + _SPREAD)
        return _UnderWay(run, trial, seconds / self._options.points)

    def _report(self, one: _UnderWay) -> None:
        one.point += 1
        step = STEPS * one.point // self._options.points
        metrics = {f"train/{name}": self._dice.random() for name in METRICS}
        point = write_point(step, metrics)
        append_point(self._folder.run(one.run.id), point)
        with self._timed("report"):
            self._listener.on_trial_result(0, [], one.trial, {POINT: point})
            self._listener.on_step_end(0, [])

    def _end(self, one: _UnderWay) -> None:
        rate = one.run.experiment.training.peak_learning_rate
        luck = random.Random(one.run.id).random()  # the same run has the same score in both phases
        valid = 30 - 5 * abs(math.log10(rate / 1e-3)) + luck
        test = valid if one.run.phase == "confirm" else None
        result = Result(run=one.run.id, valid=valid, test=test, seconds=60 * self._options.minutes, data_hash="simulated")
        (self._folder.run(one.run.id) / RESULT_FILE).write_text(result.model_dump_json(indent=1))
        with self._timed("end"):
            self._listener.on_trial_complete(0, [], one.trial)

    @contextmanager
    def _timed(self, act: Act) -> Iterator[None]:
        started = time.process_time()
        yield
        self.milliseconds[act].append(1000 * (time.process_time() - started))


def simulate(options: SimulationOptions, say: Callable[[str], None]) -> Iterator[SimulationFigures]:
    """Yields the figures after 10, 100, … runs, and at the end of the study."""
    with tempfile.TemporaryDirectory(prefix="mtnat-bench-") as name:
        folder, database = StudyFolder(Path(name) / "simulation"), Path(name) / "mlflow.db"
        clock = SimulatedClock()
        tracker = MlflowTracker(f"sqlite:///{database}", "simulation", (Path(name) / "files").as_uri(), clock)
        study = SimulatedStudy(options, folder, tracker, clock)
        next_row, finished = _FIRST_ROW, 0
        for finished in study.ends():
            if finished == next_row:
                say(f"{finished} runs have ended")
                yield figures(finished, study.milliseconds, options, folder, database)
                next_row *= 10
        if finished != next_row // 10:
            yield figures(finished, study.milliseconds, options, folder, database)


def figures(
    finished: int, milliseconds: Mapping[Act, list[float]], options: SimulationOptions, folder: StudyFolder, database: Path
) -> SimulationFigures:
    """Returns the figures after a number of runs, and the load at the rate of the workers."""
    each = {
        act: statistics.mean(values[-max(1, int(len(values) * _SHARE_LOOKED_AT)) :])
        for act, values in milliseconds.items()
        if values
    }
    runs_per_second = options.workers / (60 * options.minutes)
    often = {"look": options.points, "report": options.points}
    loads = {act: each[act] / 1000 * runs_per_second * often.get(act, 1) for act in each}
    return SimulationFigures(
        finished=finished,
        look_ms=round(each["look"], 2) if "look" in each else None,
        proposal_ms=round(each["proposal"], 2),
        start_ms=round(each["start"], 2),
        report_ms=round(each["report"], 2),
        end_ms=round(each["end"], 2),
        proposals_per_second=round(1000 / each["proposal"], 2),
        metrics_per_second=round(1000 * len(METRICS) / each["report"], 1),
        load=round(sum(loads.values()), 4),
        saturates=max(loads, key=lambda act: loads[act]),
        driver_bytes=psutil.Process().memory_info().rss,
        journal_bytes=folder.journal.stat().st_size,
        mlflow_bytes=database.stat().st_size,
        runs_bytes=sum(file.stat().st_size for file in (folder.path / "runs").rglob("*") if file.is_file()),
    )
