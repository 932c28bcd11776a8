"""How the driver treats runs whose processes died."""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import cast

import pytest
from ray.tune.experiment import Trial as TuneTrial
from rich.console import Console
from small_study import power, study

from mtnat.errors import StudyError
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.cluster.room import Patience, Room
from mtnat.lab.driver.listener import Listener, Pulse
from mtnat.lab.driver.run_book import RunBook
from mtnat.lab.driver.runs_under_way import MOST_DEATHS, RunsUnderWay
from mtnat.lab.driver.screen import TerminalScreen
from mtnat.lab.outputs.clock import Clock
from mtnat.lab.outputs.folder import StudyFolder, write_result
from mtnat.lab.outputs.micro_batches import read_micro_batches
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.outputs.storage import study_storage
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.plan.listed_proposer import ListedProposer
from mtnat.lab.study.resources import Machine
from mtnat.lab.tracking.memory_tracker import MemoryTracker
from mtnat.lab.worker.sessions import RUN_ID


class UnderWay:
    """A study with one proposal, and the objects that its listener reports to."""

    def __init__(self, path: Path) -> None:
        self.study = study(trials=1, confirm=None)
        self.folder = StudyFolder(path / "outputs" / "s")
        self.folder.begin(self.study, resume=False)
        self.agenda = Agenda(self.study, ListedProposer(power(2.0)), {})
        self.tracker, self.said = MemoryTracker(), StringIO()
        self.tracker.begin(self.folder.id, "s")
        screen = TerminalScreen(Console(file=self.said, width=200), self.agenda, 2)
        room = Room(self.study.resources, look=lambda: [Machine(2, 0)])
        patience = Patience(self.study.resources, room)
        self.book = RunBook(self.tracker, self.folder, "commit")
        self.runs = RunsUnderWay(self.agenda, study_storage(None, self.folder), self.book, patience, screen)
        self.listener = Listener(self.runs, Pulse(Interruption(), Clock(self.folder.clock), patience, screen))

    def start(self) -> Run:
        run = self.agenda.next()
        assert run
        self.book.begin(run)
        self.folder.run(run.id).mkdir(parents=True, exist_ok=True)
        return run


@dataclass
class NeverStarted:
    """The part of a Tune trial that the listener reads; Tune has no error for a trial whose actor did not start."""

    config: dict[str, str]

    def get_error(self) -> None:
        return None


@pytest.fixture
def study_(tmp_path: Path) -> UnderWay:
    return UnderWay(tmp_path)


def test_lost_runs_restart_unless_their_result_is_already_written(study_: UnderWay) -> None:
    first, second = study_.start(), study_.start()
    write_result(study_.folder.run(first.id), Result(run=first.id, valid=12.0))  # the driver has not read it yet
    study_.runs.lose_all("its machine was short of memory")
    assert study_.agenda.results[first.id].valid == 12.0
    found = study_.tracker.find(study_.book.key(first))
    assert found
    assert found.status == "FINISHED"
    assert "short of memory" in study_.said.getvalue()
    assert study_.start() == second
    assert read_micro_batches(study_.folder.run(second.id)) == 1


def test_a_stopped_study_closes_all_tracked_runs_including_those_just_ending(study_: UnderWay) -> None:
    first, second = study_.start(), study_.start()
    study_.agenda.end(Result(run=first.id, valid=12.0))  # stopped before it could be closed
    study_.runs.kill()
    found = [study_.tracker.find(study_.book.key(run)) for run in (first, second)]
    assert [one and one.status for one in found] == ["KILLED", "KILLED"]


def test_a_process_that_never_started_does_not_count_as_a_death_of_the_run(study_: UnderWay) -> None:
    first = study_.start()
    for _ in range(MOST_DEATHS + 1):
        study_.listener.on_trial_error(0, [], cast("TuneTrial", NeverStarted({RUN_ID: first.id})))
        assert study_.start() == first
    assert first.id not in study_.agenda.results


def test_a_result_that_cannot_be_read_ends_the_study_and_not_the_process_of_the_run(study_: UnderWay) -> None:
    """Tune would take the error for one of the run's process, and the run would start again without end."""
    first = study_.start()
    (study_.folder.run(first.id) / "run.json").write_text('{"run": 1}')
    trial = cast("TuneTrial", NeverStarted({RUN_ID: first.id}))
    study_.listener.on_trial_complete(0, [trial], trial)
    study_.listener.on_trial_error(0, [trial], trial)  # what Tune would do next
    with pytest.raises(StudyError, match=r"run\.json: is damaged"):
        study_.listener.on_step_end(0, [trial])


def test_a_run_that_keeps_dying_doubles_its_micro_batches_and_finally_fails(study_: UnderWay) -> None:
    first = study_.start()
    parts = []
    for _ in range(MOST_DEATHS):
        study_.runs.lose_all("low on memory")
        assert study_.start() == first
        parts.append(read_micro_batches(study_.folder.run(first.id)))
    assert parts == [1, 2, 4, 8]
    study_.runs.lose_all("low on memory")
    assert "5 times at step 0: low on memory" in (study_.agenda.results[first.id].failed or "")
    assert study_.start() != first
