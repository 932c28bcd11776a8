"""What the driver does for runs whose processes died."""

from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import cast

import pytest
from ray.tune.experiment import Trial as TuneTrial
from rich.console import Console
from small_study import Listed, power, study

from mtnat.lab.cluster.room import Patience, Room
from mtnat.lab.driver.interruption import Interruption
from mtnat.lab.driver.listener import MOST_DEATHS, Listener
from mtnat.lab.driver.screen import TerminalScreen
from mtnat.lab.outputs.clock import Clock
from mtnat.lab.outputs.folder import StudyFolder, write_result
from mtnat.lab.outputs.micro_batches import read_micro_batches
from mtnat.lab.outputs.runs import Result, Run
from mtnat.lab.outputs.storage import study_storage
from mtnat.lab.plan.agenda import Agenda
from mtnat.lab.study.resources import Machine
from mtnat.lab.tracking.memory_tracker import MemoryTracker
from mtnat.lab.worker.sessions import RUN


class Ear:
    """A listener and all that it talks to."""

    def __init__(self, path: Path) -> None:
        self.study = study(trials=1, confirm=None)
        self.folder = StudyFolder(path / "outputs" / "s")
        self.folder.begin(self.study, resume=False)
        self.agenda = Agenda(self.study, Listed(power(2.0)), {})
        self.tracker, self.said = MemoryTracker(), StringIO()
        self.tracker.begin(self.folder.id, "s")
        screen = TerminalScreen(Console(file=self.said, width=200), self.agenda, 2)
        room = Room(self.study.resources, look=lambda: [Machine(2, 0)])
        self.listener = Listener(
            self.agenda,
            self.folder,
            study_storage(None, self.folder),
            self.tracker,
            screen,
            Interruption(),
            Clock(self.folder.clock),
            Patience(self.study.resources, room),
            "commit",
        )

    def start(self) -> Run:
        run = self.agenda.next()
        assert run
        self.listener.begin(run)
        self.folder.run(run.id).mkdir(parents=True, exist_ok=True)
        return run


@dataclass
class NeverStarted:
    """What the listener looks at of a trial of Tune's; of one whose actor did not come up, Tune knows no error."""

    config: dict[str, str]

    def get_error(self) -> None:
        return None


@pytest.fixture
def ear(tmp_path: Path) -> Ear:
    return Ear(tmp_path)


def test_runs_that_are_lost_start_again_but_not_one_that_had_ended(ear: Ear) -> None:
    first, second = ear.start(), ear.start()
    write_result(ear.folder.run(first.id), Result(run=first.id, valid=12.0))  # the driver has not heard of it
    ear.listener.lost("its machine was short of memory")
    assert ear.agenda.results[first.id].valid == 12.0
    found = ear.tracker.find(ear.listener.key(first))
    assert found
    assert found.status == "FINISHED"
    assert "short of memory" in ear.said.getvalue()
    assert ear.start() == second
    assert read_micro_batches(ear.folder.run(second.id)) == 1


def test_a_study_that_is_stopped_leaves_no_run_open_not_even_one_that_was_just_ending(ear: Ear) -> None:
    first, second = ear.start(), ear.start()
    ear.agenda.end(Result(run=first.id, valid=12.0))  # stopped before it could be closed
    ear.listener.kill()
    found = [ear.tracker.find(ear.listener.key(run)) for run in (first, second)]
    assert [one and one.status for one in found] == ["KILLED", "KILLED"]


def test_one_whose_process_never_came_up_starts_again_as_often_as_it_takes(ear: Ear) -> None:
    first = ear.start()
    for _ in range(MOST_DEATHS + 1):
        ear.listener.on_trial_error(0, [], cast("TuneTrial", NeverStarted({RUN: first.model_dump_json()})))
        assert ear.start() == first
    assert first.id not in ear.agenda.results


def test_one_that_dies_again_and_again_takes_less_memory_and_fails_in_the_end(ear: Ear) -> None:
    first = ear.start()
    parts = []
    for _ in range(MOST_DEATHS):
        ear.listener.lost("low on memory")
        assert ear.start() == first
        parts.append(read_micro_batches(ear.folder.run(first.id)))
    assert parts == [1, 2, 4, 8]
    ear.listener.lost("low on memory")
    assert "5 times at step 0: low on memory" in (ear.agenda.results[first.id].failed or "")
    assert ear.start() != first
