"""A study outlives its tracker, and nothing that is recorded is lost or doubled."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mtnat.errors import ResourceError
from mtnat.lab.tracking.memory_tracker import MemoryTracker
from mtnat.lab.tracking.patient_tracker import SECONDS_BETWEEN_TRIES, PatientTracker
from mtnat.lab.tracking.tracker import Tracker
from mtnat.testing.tracker_contract import TrackerContract


class Server(MemoryTracker):
    """A tracker that can be stopped. Every call may take effect before its answer is lost."""

    is_up = True
    loses_answers = False
    refused: tuple[str, ...] = ()

    def log(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        if key in self.refused:
            raise LookupError(f"{key} was deleted")
        if not self.is_up and not self.loses_answers:
            raise OSError("connection refused")
        super().log(key, step, metrics)
        if not self.is_up:
            raise OSError("no answer")

    def keep(self, key: str, path: Path, folder: str = "") -> None:
        if not self.is_up:
            raise OSError("cannot be written")
        super().keep(key, path, folder)


class Desk:
    """A patient tracker with its server, its clock and what it says."""

    def __init__(self, folder: Path) -> None:
        self.server, self.time, self.said = Server(), 0.0, list[str]()
        self.mark, self.file = folder / "mark", folder / "file"
        self.file.write_text("text")
        self.tracker = PatientTracker(
            self.server,
            "MLflow",
            self.mark,
            self.said.append,
            is_refusal=lambda error: isinstance(error, LookupError),
            clock=lambda: self.time,
            sleep=self.sleep,
        )

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def begin(self) -> None:
        self.tracker.begin("s", "study")
        self.tracker.keep("s", self.file)

    def curve(self) -> dict[int, float]:
        return self.server.runs["s"].curves.get("loss", {})


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


class TestPatientTracker(TrackerContract):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Callable[[], Tracker]:
        memory = MemoryTracker()
        return lambda: PatientTracker(memory, "MLflow", tmp_path / "mark", print)


@pytest.mark.parametrize("loses_answers", [False, True])
def test_what_is_recorded_while_the_tracker_is_away_arrives_once_and_in_order(desk: Desk, *, loses_answers: bool) -> None:
    desk.begin()
    desk.tracker.log("s", 1, {"loss": 1.0})
    desk.server.is_up, desk.server.loses_answers = False, loses_answers
    for step in (2, 3):
        desk.tracker.log("s", step, {"loss": float(step)})
    desk.tracker.end("s", "FINISHED")
    assert desk.mark.exists()
    assert (len(desk.said), desk.tracker.status("s")) == (1, None)
    assert "MLflow does not answer (" in desk.said[0]
    desk.server.is_up = True
    desk.time += SECONDS_BETWEEN_TRIES
    desk.tracker.tag("s", {"answer": "yes"})
    assert desk.curve() == {1: 1.0, 2: 2.0, 3: 3.0}
    assert (desk.server.runs["s"].status, desk.server.runs["s"].tags) == ("FINISHED", {"answer": "yes"})
    assert desk.said[1:] == ["MLflow answers again, and has received what was waiting: 4 entries."]
    assert desk.tracker.settle()
    assert not desk.mark.exists()


def test_the_tracker_is_not_tried_at_every_call(desk: Desk) -> None:
    desk.begin()
    desk.server.is_up = False
    desk.tracker.log("s", 1, {"loss": 1.0})
    desk.server.is_up = True
    desk.tracker.log("s", 2, {"loss": 2.0})
    assert desk.curve() == {}
    desk.time += SECONDS_BETWEEN_TRIES
    desk.tracker.log("s", 3, {"loss": 3.0})
    assert desk.curve() == {1: 1.0, 2: 2.0, 3: 3.0}


def test_the_end_waits_for_a_while_and_leaves_a_mark(desk: Desk) -> None:
    desk.begin()
    desk.server.is_up = False
    desk.tracker.log("s", 1, {"loss": 1.0})
    assert not desk.tracker.settle(seconds=60)
    assert 60 <= desk.time < 65
    assert desk.mark.exists()


def test_a_tracker_that_never_kept_a_file_is_reported_before_the_study(desk: Desk) -> None:
    desk.server.is_up = False
    with pytest.raises(ResourceError, match=r"MLflow: the study cannot be recorded there \(cannot be written\); correct that"):
        desk.begin()


def test_a_refused_call_is_left_out_and_the_others_arrive(desk: Desk) -> None:
    desk.begin()
    desk.tracker.begin("s/deleted", "run", parent="s")
    desk.server.refused = ("s/deleted",)
    desk.tracker.log("s/deleted", 1, {"loss": 1.0})
    desk.server.is_up = False
    desk.tracker.log("s", 1, {"loss": 1.0})
    desk.tracker.log("s/deleted", 2, {"loss": 2.0})
    desk.tracker.log("s", 2, {"loss": 2.0})
    desk.server.is_up = True
    assert desk.tracker.settle()
    assert desk.curve() == {1: 1.0, 2: 2.0}
    assert desk.said[-1] == "MLflow has refused 2 entries of this study; its folder has them."


def test_a_file_that_was_removed_while_it_waited_is_left_out(desk: Desk) -> None:
    desk.begin()
    desk.server.is_up = False
    desk.tracker.keep("s", desk.file, "model")
    desk.file.unlink()
    desk.server.is_up = True
    assert desk.tracker.settle()
    assert desk.server.runs["s"].artifacts == ["file"]
