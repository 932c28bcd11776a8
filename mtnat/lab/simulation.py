"""`bench study --simulate`: a study whose training is only made up, to see what its driver bears."""

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
from mtnat.lab.agenda import Agenda
from mtnat.lab.clock import Clock
from mtnat.lab.cluster import Patience, Room
from mtnat.lab.console import TerminalScreen
from mtnat.lab.folder import RESULT, StudyFolder
from mtnat.lab.interruption import Interruption
from mtnat.lab.listener import Listener
from mtnat.lab.mlflow_tracker import MlflowTracker
from mtnat.lab.performance import CURVES, POINT, write_point
from mtnat.lab.proposals import make_proposer
from mtnat.lab.resources import Machine
from mtnat.lab.runs import Result, Run
from mtnat.lab.search import AgendaSearcher
from mtnat.lab.storage import study_storage
from mtnat.lab.study import Study
from mtnat.lab.tracking import Tracker
from mtnat.lab.trial import RUN

Act = Literal["look", "proposal", "start", "report", "end"]
"""What a driver does: looks for a run where none can start yet, asks for one, makes it known, passes a report on, closes it."""

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
"""Of a usual size; what it finds is made up."""
METRICS = ("loss", "at", "nat", "length", "gradient_norm", "lambda", "weight_at", "weight_length", "learning_rate")
"""Of each report, about as many as training has."""
SEED = 1
_SPREAD = 0.3
_SHARE_LOOKED_AT = 0.1
_FIRST_ROW = 10


class SimulationOptions(Record):
    """A study and its cluster."""

    trials: int = Field(10_000, ge=10)
    """Proposals."""
    workers: int = Field(1_000, ge=1)
    """Runs side by side."""
    minutes: float = Field(10.0, gt=0)
    """That a run takes, give or take three in ten."""
    points: int = Field(20, ge=1)
    """Reports of each run."""


class SimulationFigures(Record):
    """What the driver needs once so many runs have ended: its own processor time, the mean of the last tenth. What else the
    machine does is not in it, nor is waiting for the disk."""

    finished: int
    look_ms: float | None
    """None where there always was a run to start. It happens after each report once the last proposals are under way."""
    proposal_ms: float
    start_ms: float
    report_ms: float
    end_ms: float
    proposals_per_second: float
    """If the driver did nothing else."""
    metrics_per_second: float
    """That reach MLflow, if the driver did nothing else."""
    load: float
    """Share of its time that the driver needs for all workers; above 1 they wait for it."""
    saturates: Act
    """What takes the largest part of that."""
    driver_bytes: int
    """Resident memory."""
    journal_bytes: int
    """Optuna's."""
    mlflow_bytes: int
    """Its database."""
    runs_bytes: int
    """The runs' folders, models not included."""


@dataclass(frozen=True)
class _TunesTrial:
    """What the listener looks at of a trial of Tune's."""

    config: Mapping[str, str]


@dataclass
class _UnderWay:
    """A run that a worker is busy with."""

    run: Run
    trial: TuneTrial
    seconds_between_points: float
    point: int = 0


@dataclass
class SimulatedClock:
    """The time of a simulated study."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


class SimulatedStudy:
    """Agenda, proposer, listener and tracker as a study has them, a stopwatch at each act, and workers that make it all up."""

    def __init__(self, options: SimulationOptions, folder: StudyFolder, tracker: Tracker, clock: SimulatedClock) -> None:
        self._options, self._folder, self._clock = options, folder, clock
        study = build(Study, {**STUDY, "trials": options.trials})
        folder.begin(study, resume=False)
        tracker.begin(folder.id, folder.name)
        self.agenda = Agenda(study, make_proposer(study, folder.journal), folder.results())
        self._searcher = AgendaSearcher(self.agenda, lambda: options.workers)
        screen = TerminalScreen(Console(file=StringIO()), self.agenda, options.workers)
        room = Room(study.resources, look=lambda: [Machine(options.workers, 0)])
        self._listener = Listener(
            self.agenda,
            folder,
            study_storage(None, folder),
            tracker,
            screen,
            Interruption(),
            Clock(folder.clock),
            Patience(study.resources, room),
            "simulated",
        )
        self._dice = random.Random(SEED)
        self.milliseconds: dict[Act, list[float]] = {act: [] for act in get_args(Act)}
        """Of every act so far."""

    def ends(self) -> Iterator[int]:
        """Plays the study as fast as it goes; yields how many runs have ended, whenever one has."""
        events: list[tuple[float, int, _UnderWay]] = []
        """Second of the next report, order of starting, run."""
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
        with (self._folder.run(one.run.id) / CURVES).open("a", encoding="utf-8") as file:
            file.write(f"{point}\n")
        with self._timed("report"):
            self._listener.on_trial_result(0, [], one.trial, {POINT: point})
            self._listener.on_step_end(0, [])

    def _end(self, one: _UnderWay) -> None:
        rate = one.run.experiment.training.peak_learning_rate
        luck = random.Random(one.run.id).random()  # a run that is scored again is not another run
        valid = 30 - 5 * abs(math.log10(rate / 1e-3)) + luck
        test = valid if one.run.phase == "confirm" else None
        result = Result(run=one.run.id, valid=valid, test=test, seconds=60 * self._options.minutes, data_hash="simulated")
        (self._folder.run(one.run.id) / RESULT).write_text(result.model_dump_json(indent=1))
        with self._timed("end"):
            self._listener.on_trial_complete(0, [], one.trial)

    @contextmanager
    def _timed(self, act: Act) -> Iterator[None]:
        started = time.process_time()
        yield
        self.milliseconds[act].append(1000 * (time.process_time() - started))


def simulate(options: SimulationOptions, say: Callable[[str], None]) -> Iterator[SimulationFigures]:
    """A row at 10, 100, … runs that have ended, and one at the study's end."""
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
    """What so many ended runs cost, and what the workers would ask for in a second."""
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
