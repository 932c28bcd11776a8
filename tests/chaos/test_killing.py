"""Studies whose processes are killed again and again end like an undisturbed study.

``MTNAT_KILLS`` is the least number of kills, and ``MTNAT_KILLING_SEED`` repeats the draws of a failure.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from mlflow import MlflowClient
from mlflow_server import Server, served
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from processes import by_kind, family
from test_whole_study import ROOT, Desk

from mtnat.lab.study.resources import cores

pytestmark = [pytest.mark.chaos, pytest.mark.ray]
KILLS = int(os.environ.get("MTNAT_KILLS", "8"))
KILLS_OF_ONE_STUDY = 25
"""Then it is left alone until its end."""
PAUSES = {"auto": (1.0, 20.0), "ray-train": (1.0, 40.0)}
"""Shortest and longest time between two kills in seconds, by the launcher. A run that dies five times without progress fails,
and the workers of Ray Train need about twenty seconds to start."""
START = "start"
SECONDS_OF_ONE_START = 900
WEIGHTS = {
    "trial actor": 4.0,
    "Train controller": 3.0,
    "Train worker": 3.0,
    "driver": 1.0,
    "driver, SIGTERM": 1.0,
    "MLflow's server": 1.0,
    "raylet": 0.5,
    "GCS": 0.5,
}
"""How often each victim is drawn, relative to the others that there are. Those that are always there are drawn less often."""
SPARED_STARTS = 0.75
"""Share of the driver's starts that are left alone until a run has started, so that most kills are at other stages."""
RESUMABLE = {-signal.SIGKILL, 130, 2}
"""Exit codes of a driver that was killed or asked to end, or whose Ray was killed."""
STEPS = 1200
EQUAL_ROW = ("name", "kind", "settings", "valid", "mean", "seeds", "scores", "p_value", "difference", "failed", "confirmed")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def server(desk: Desk) -> Iterator[Server]:
    with served(desk.folder) as server:
        yield server


class Driver:
    """``python tune.py`` with a study. What it prints is in a file, whose lines tell the stage."""

    def __init__(self, desk: Desk, server: Server, name: str) -> None:
        self._desk, self._server, self._name = desk, server, name
        self.log = desk.folder / f"{name}.log"
        self.start()

    def start(self) -> None:
        begun = (self._desk.folder / "outputs" / self._name / "study.yaml").exists()
        command = [sys.executable, str(ROOT / "tune.py"), f"{self._name}.yaml", *(["--resume"] if begun else [])]
        with self.log.open("ab") as log:
            self._begin = log.tell()
            self.process = subprocess.Popen(
                [*command, "--tracking-uri", self._server.uri],
                cwd=self._desk.folder,
                env=self._desk.environment,
                stdout=log,
                stderr=log,
            )

    @property
    def words(self) -> str:
        """What was printed since the last start."""
        return self.log.read_bytes()[self._begin :].decode()

    @property
    def stage(self) -> str:
        """The stage of the run that was started last."""
        phases = re.findall(r"^(.*), seed .*: (?:started \((\w+)\)|.* runs)", self.words, re.MULTILINE)
        if not phases:
            return START
        trial, phase = phases[-1]
        return "distillation" if trial == "teacher" else phase or "between runs"


def is_resumable(driver: Driver, code: int) -> bool:
    """Whether a driver may have ended in this way after a kill."""
    if code == -signal.SIGTERM:  # a second one, which arrived when Python was ending already
        return "Stopped" in driver.words
    if code == -signal.SIGABRT:  # SIGTERM in the second in which Ray starts meets Ray's own handler, which aborts
        return driver.stage == START
    return code in RESUMABLE


def strike(dice: random.Random, desk: Desk, server: Server, driver: Driver) -> str | None:
    """Kills one of the processes that there are, and returns what it was; None if it has just ended."""
    found = by_kind(desk)
    kinds = [kind for kind in WEIGHTS if kind.startswith(("driver", "MLflow")) or found.get(kind)]
    (victim,) = dice.choices(kinds, [WEIGHTS[kind] for kind in kinds])
    if victim == "MLflow's server":
        server.kill()
        time.sleep(dice.uniform(0, 5))
        server.start()
    elif victim.startswith("driver"):
        driver.process.send_signal(signal.SIGTERM if "TERM" in victim else signal.SIGKILL)
    else:
        try:
            dice.choice(found[victim]).kill()
        except psutil.NoSuchProcess:
            return None
    return victim


def ended_under_attack(
    dice: random.Random, desk: Desk, server: Server, name: str, wanted: int = 0, pause: tuple[float, float] = (0.0, 0.0)
) -> list[tuple[str, str]]:
    """Runs a study to its end while its processes are killed, and returns what was killed and at which stage."""
    killed: list[tuple[str, str]] = []
    driver = Driver(desk, server, name)
    started, is_spared = time.monotonic(), False
    next_strike = started + dice.uniform(*pause)
    try:
        while True:
            time.sleep(0.1)
            code = driver.process.poll()
            if code == 0:
                return killed
            if code is not None:
                assert is_resumable(driver, code), (code, killed, driver.words)
                assert killed, driver.words
                driver.start()
                started, is_spared = time.monotonic(), dice.random() < SPARED_STARTS
            elif is_spared:
                if driver.stage != START:
                    is_spared, next_strike = False, time.monotonic() + dice.uniform(*pause)
            elif len(killed) < wanted and time.monotonic() > next_strike:
                stage = driver.stage
                if victim := strike(dice, desk, server, driver):
                    killed.append((victim, stage))
                next_strike = time.monotonic() + dice.uniform(*pause)
            assert time.monotonic() - started < SECONDS_OF_ONE_START, (killed, driver.words)
    finally:
        driver.process.kill()
        driver.process.wait()
        assert "Traceback" not in driver.log.read_text(), (killed, driver.log.read_text())


def content(desk: Desk, name: str) -> dict[str, Any]:
    """What a study has found, without times and costs."""
    outputs = desk.folder / "outputs" / name
    leaderboard = json.loads((outputs / "leaderboard.json").read_text())
    results = {path.parent.name: json.loads(path.read_text()) for path in sorted(outputs.glob("runs/*/run.json"))}
    return {
        "answer": leaderboard["answer"],
        "rows": [{key: row[key] for key in EQUAL_ROW} for row in leaderboard["rows"]],
        "analysis": leaderboard["analysis"],
        "results": {
            run: {key: result[key] for key in ("valid", "valid_loss", "test", "updates", "tokens", "failed", "is_analysed")}
            for run, result in results.items()
        },
        "translations": {path.parent.name: path.read_text() for path in sorted(outputs.glob("runs/*/test.hyp.txt"))},
        "distilled": (outputs / "distillation.json").read_text().replace(str(outputs), ""),
        "curves": {
            f"{run}/{metric}": curve(desk, name, run, metric)
            for run in results
            for metric in ("train/loss", "valid/bleu", "valid/loss")
        },
    }


def curve(desk: Desk, study: str, run: str, metric: str) -> dict[int, float]:
    """The values of a metric by step. A step that was repeated after a kill has the same value again."""
    values = set(desk.curve(study, run, metric))
    assert len(values) == len(dict(values)), (run, metric)
    return dict(values)


def files(outputs: Path) -> set[str]:
    """All files of a study, without those of Ray Tune, which are not read again, and the marks of locks."""
    found = (path.relative_to(outputs) for path in outputs.rglob("*") if path.is_file())
    return {str(path) for path in found if path.parts[0] != ".tune" and path.suffix != ".lock"}


def assert_tracked_like(calm: Mapping[str, Any], client: MlflowClient, name: str) -> None:
    """MLflow has each run of the study once, finished, with all points of its loss."""
    experiment = client.get_experiment_by_name("mtnat")
    assert experiment
    tracked = client.search_runs([experiment.experiment_id])
    (parent,) = (run for run in tracked if run.info.run_name == name)
    children = [run for run in tracked if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert Counter(run.data.tags["mtnat.run"] for run in children).most_common(1)[0][1] == 1
    assert len(children) == len(calm["results"])
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    for run in children:
        points = client.get_metric_history(run.info.run_id, "train/loss")
        assert [point.step for point in points] == list(range(20, STEPS + 1, 20)), run.info.run_name


def assert_nothing_runs(desk: Desk, server: Server) -> None:
    assert server.process
    of_server = {server.process.pid, *(child.pid for child in psutil.Process(server.process.pid).children(recursive=True))}
    deadline = time.monotonic() + 60
    while left := [process for process in family(desk) if process.pid not in of_server]:
        with suppress(psutil.Error):
            assert time.monotonic() < deadline, [process.cmdline() for process in left]
        time.sleep(0.5)


@pytest.mark.skipif(cores() < 2, reason="two runs side by side need two cores")
def test_studies_whose_processes_are_killed_end_like_an_undisturbed_one(
    desk: Desk, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(name: str, launcher: str) -> Path:
        desk.write(
            name,
            steps=STEPS,
            training={"validate_every": 100, "log_every": 20, "keep_checkpoints": 3},
            teacher={"settings": {"objective.schedule": {"kind": "constant", "value": 0.0}}, "beam": 2},
            baselines={"linear": {}, "averaged": {"training.model": "average_last"}},
            search={"training.weight_decay": {"choice": [0.02, 0.1]}},
            sampler={"kind": "grid"},  # others propose by the order in which runs end
            confirm={"top": 1, "seeds": [2], "against": "linear"},
            analysis={
                "every": 600,
                "similarity": {"against": ["linear"], "sentences": 50},
                "probing": {"sentences": 200},
            },
            resources={"launcher": launcher, "at_once": 2},
        )
        return desk.folder / "outputs" / name

    dice = random.Random(int(os.environ.get("MTNAT_KILLING_SEED", "1")))
    outputs = write("calm", "auto")
    assert ended_under_attack(dice, desk, server, "calm") == []
    calm, calm_files = content(desk, "calm"), files(outputs)
    client = MlflowClient(server.uri)
    assert_tracked_like(calm, client, "calm")

    killed: Counter[tuple[str, str]] = Counter()
    rounds = 0
    while killed.total() < KILLS:
        rounds += 1
        # Both launchers compute the same numbers; that of Ray Train has more processes.
        launcher = "auto" if rounds % 2 else "ray-train"
        outputs = write(name := f"attacked-{rounds}", launcher)
        most = min(KILLS - killed.total(), KILLS_OF_ONE_STUDY)
        killed.update(found := ended_under_attack(dice, desk, server, name, most, PAUSES[launcher]))
        if (outputs / "mlflow.unsent").exists():  # the server was killed last
            ended_under_attack(dice, desk, server, name)
        assert content(desk, name) == calm, found
        assert files(outputs) == calm_files, found
        assert_tracked_like(calm, client, name)
        storage = JournalStorage(JournalFileBackend(str(outputs / "optuna.journal")))
        proposed = optuna.load_study(study_name="study", storage=storage).trials
        assert {trial.state for trial in proposed} == {TrialState.COMPLETE}
        assert_nothing_runs(desk, server)
        shutil.rmtree(outputs)
        with capsys.disabled():
            print(f"\n{killed.total()} kills in {rounds} studies: {table(killed)}", flush=True)


def table(killed: Counter[tuple[str, str]]) -> str:
    """The numbers of kills by victim, and by stage."""
    victims, stages = Counter[str](), Counter[str]()
    for (victim, stage), number in killed.items():
        victims[victim] += number
        stages[stage] += number
    return "; ".join(", ".join(f"{name} {number}" for name, number in counts.most_common()) for counts in (victims, stages))
