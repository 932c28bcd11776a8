"""Waiting for machines before and during a study, with a simulated clock."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from mtnat.errors import ConfigError, ResourceError, StudyError
from mtnat.lab.cluster.connection import JOB, job_problems, ray_cluster
from mtnat.lab.cluster.room import Patience, Room, wait_for_room
from mtnat.lab.study.options import Options
from mtnat.lab.study.resources import Machine, Resources

TWO = Resources(workers=2, start_minutes=1)


class Cluster:
    """Machines that come and go as time passes."""

    def __init__(self, *machines: Machine) -> None:
        self.now, self.machines, self.arrivals = 0.0, list(machines), dict[float, Machine]()
        self.said: list[str] = []
        self.called: list[list[dict[str, float]]] = []

    def look(self) -> Sequence[Machine]:
        return self.machines + [machine for time, machine in self.arrivals.items() if time <= self.now]

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, resources: Resources, minutes: float) -> None:
        wait_for_room(
            resources,
            minutes,
            self.said.append,
            lambda: None,
            look=self.look,
            call=self.called.append,
            clock=self.clock,
            sleep=self.sleep,
        )

    @property
    def room(self) -> Room:
        return Room(TWO, self.look, self.clock)


def test_a_study_waits_for_machines_that_arrive_within_the_limit() -> None:
    cluster = Cluster(Machine(1, 0))
    cluster.arrivals[50] = Machine(1, 0)
    cluster.wait(TWO, 1)
    assert 50 <= cluster.now < 60
    assert cluster.said == ["waiting up to 1 minutes for machines on which a run fits"]
    assert cluster.called == [[{"CPU": 1.0}, {"CPU": 1.0}], []]


def test_waiting_for_machines_ends_after_the_limit() -> None:
    cluster = Cluster(Machine(1, 0))
    cluster.arrivals[70] = Machine(1, 0)
    with pytest.raises(ResourceError, match="a run needs 2 that take 1 cores each, but there is room for 1"):
        cluster.wait(TWO, 1)
    assert cluster.called[-1] == []  # the request to the autoscaler is withdrawn


def test_a_limit_of_zero_minutes_raises_without_waiting() -> None:
    cluster = Cluster(Machine(1, 0))
    with pytest.raises(ResourceError):
        cluster.wait(TWO, 0)
    assert (cluster.now, cluster.said, cluster.called) == (0, [], [])


def test_room_is_recomputed_as_machines_come_and_go() -> None:
    cluster = Cluster(Machine(4, 0))
    cluster.arrivals[10] = Machine(2, 0)
    room = cluster.room
    assert (room.runs, room.fits) == (2, True)
    cluster.sleep(10)
    assert room.runs == 3
    cluster.machines.clear()
    cluster.arrivals[10] = Machine(1, 0)
    cluster.sleep(10)
    assert (room.runs, room.fits) == (1, False)


def trials(*statuses: str) -> list[SimpleNamespace]:
    return [SimpleNamespace(status=status) for status in statuses]


def test_a_study_whose_runs_cannot_start_within_the_limit_raises() -> None:
    cluster = Cluster(Machine(1, 0))
    patience = Patience(TWO, cluster.room, cluster.clock)
    cluster.sleep(59)
    patience.check(trials("TERMINATED", "PENDING"))
    cluster.sleep(1)
    with pytest.raises(StudyError, match=r"could start for 1 minutes \(resources.workers: .*--resume"):
        patience.check(trials("TERMINATED", "PENDING"))


def test_the_start_limit_does_not_count_while_a_run_is_running() -> None:
    cluster = Cluster(Machine(2, 0))
    patience = Patience(TWO, cluster.room, cluster.clock)
    for statuses in (["RUNNING", "PENDING"], ["TERMINATED"], []):
        cluster.sleep(100)
        patience.check(trials(*statuses))
    cluster.sleep(50)
    patience.check(trials("PENDING"))
    cluster.sleep(50)
    with pytest.raises(StudyError, match="others hold its machines"):
        patience.check(trials("PENDING"))


def test_a_running_trial_counts_as_waiting_while_its_workers_do_not_fit() -> None:
    cluster = Cluster(Machine(1, 0))
    patience = Patience(TWO, cluster.room, cluster.clock)
    cluster.sleep(60)
    with pytest.raises(StudyError):
        patience.check(trials("RUNNING"))


def test_the_pause_after_a_dead_process_doubles_up_to_60_seconds_until_a_run_progresses() -> None:
    cluster = Cluster(Machine(4, 0))
    patience = Patience(TWO, cluster.room, cluster.clock)
    rests = []
    for _ in range(8):
        assert patience.places == 2
        patience.died()
        begun = cluster.now
        while not patience.places:
            cluster.sleep(0.5)
        rests.append(cluster.now - begun)
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]
    patience.progressed()
    patience.died()
    cluster.sleep(1)
    assert patience.places == 2


def test_a_study_whose_processes_all_die_on_start_raises() -> None:
    cluster = Cluster(Machine(4, 0))
    patience = Patience(TWO, cluster.room, cluster.clock)
    for _ in range(59):
        patience.died()
        cluster.sleep(1)
        patience.check(trials("ERROR", "ERROR"))
    cluster.sleep(1)
    with pytest.raises(StudyError, match="its processes end as they start"):
        patience.check(trials("ERROR", "ERROR"))


def test_a_ray_job_with_outputs_in_its_working_directory_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    lasting = (Path("/lasting/outputs"), "http://mlflow")
    passing = (Path("outputs"), f"sqlite:///{tmp_path}/mlflow.db")
    assert not list(job_problems(*passing))
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"env_vars": {}}}))
    assert not list(job_problems(*passing))
    monkeypatch.setenv(JOB, json.dumps({"runtime_env": {"working_dir": "gcs://here.zip"}}))
    assert [problem.split(":")[0] for problem in job_problems(*passing)] == ["--outputs", "--tracking-uri"]
    assert not list(job_problems(*lasting))


def test_a_ray_client_address_is_refused(tmp_path: Path) -> None:
    options = Options(study=tmp_path / "study.yaml", address="ray://127.0.0.1:10001")
    with pytest.raises(ConfigError, match="ray job submit"), ray_cluster(options, Resources()):
        pass


def test_an_unreachable_cluster_address_is_reported(tmp_path: Path) -> None:
    options = Options(study=tmp_path / "study.yaml", address="127.0.0.1:1")
    with (
        pytest.raises(ResourceError, match=r"no Ray cluster can be joined at 127.0.0.1:1 \("),
        ray_cluster(options, Resources()),
    ):
        pass
