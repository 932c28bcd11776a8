"""One contract for every tracker."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mtnat.lab.tracking.memory_tracker import MemoryTracker
from mtnat.lab.tracking.mlflow_tracker import MlflowTracker
from mtnat.lab.tracking.tracker import Tracker


@pytest.fixture(params=["memory", pytest.param("mlflow", marks=pytest.mark.slow)], scope="class")
def reopen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Tracker]:
    """Opens the same store again, as a resumed driver does."""
    if request.param == "memory":
        memory = MemoryTracker()
        return lambda: memory
    folder = tmp_path_factory.mktemp("mlflow")
    return lambda: MlflowTracker(f"sqlite:///{folder}/mlflow.db", "mtnat", (folder / "files").as_uri())


class TestTracker:
    def test_it_keeps_what_it_is_told(self, reopen: Callable[[], Tracker], tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "weights").write_text("w")
        (tmp_path / "note.txt").write_text("n")
        tracker = reopen()
        tracker.begin("s", "study", tags={"question": "which?"})
        tracker.begin("s/a", "run a", parent="s", params={"model.width": 8, "long": "x" * 7000}, tags={"seed": "1"})
        tracker.log("s/a", 10, {"train/loss": 2.5, "valid/bleu": 1.0})
        tracker.log("s/a", 20, {"train/loss": 2.25})
        tracker.keep("s/a", tmp_path / "model", "model")
        tracker.keep("s/a", tmp_path / "note.txt")
        tracker.use("s/a", "words.en → words.de", "d" * 64, "words.en")
        tracker.use("s/a", "words.en → words.de", "d" * 64, "words.en")
        tracker.end("s/a", "FAILED")
        run = reopen().find("s/a")
        assert run is not None
        assert (run.name, run.parent, run.status) == ("run a", "s", "FAILED")
        assert run.params["model.width"] == "8"
        assert len(run.params["long"]) == 6000
        assert run.tags == {"seed": "1"}
        assert run.curves == {"train/loss": {10: 2.5, 20: 2.25}, "valid/bleu": {10: 1.0}}
        assert run.artifacts == ["model/weights", "note.txt"]
        assert run.datasets == {"words.en → words.de": "d" * 32}

    def test_a_run_begun_again_is_the_same_run(self, reopen: Callable[[], Tracker]) -> None:
        tracker = reopen()
        tracker.begin("t", "study")
        tracker.begin("t/a", "run", parent="t", params={"p": 1}, tags={"phase": "search"})
        tracker.log("t/a", 10, {"train/loss": 2.5})
        tracker.end("t/a", "KILLED")
        tracker = reopen()
        tracker.begin("t", "study")
        tracker.begin("t/a", "run", parent="t", params={"p": 1}, tags={"phase": "confirm"})
        tracker.log("t/a", 10, {"train/loss": 9.0, "valid/bleu": 3.0})
        tracker.log("t/a", 20, {"train/loss": 1.5})
        run = reopen().find("t/a")
        assert run is not None
        assert run.status == "RUNNING"
        assert run.tags == {"phase": "confirm"}
        assert run.curves == {"train/loss": {10: 2.5, 20: 1.5}, "valid/bleu": {10: 3.0}}

    def test_a_folder_can_be_dropped(self, reopen: Callable[[], Tracker], tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "weights").write_text("w")
        (tmp_path / "note.txt").write_text("n")
        tracker = reopen()
        tracker.begin("d", "study")
        tracker.keep("d", tmp_path / "model", "model")
        tracker.keep("d", tmp_path / "note.txt")
        for _ in range(2):
            tracker.drop("d", "model")
        run = reopen().find("d")
        assert run is not None
        assert run.artifacts == ["note.txt"]

    def test_it_tells_how_a_run_stands(self, reopen: Callable[[], Tracker]) -> None:
        tracker = reopen()
        tracker.begin("e", "study")
        tracker.begin("e/a", "run", parent="e")
        tracker.end("e/a", "FINISHED")
        assert [reopen().status(key) for key in ("e", "e/a", "e/b")] == ["RUNNING", "FINISHED", None]

    def test_what_was_never_begun_is_not_found(self, reopen: Callable[[], Tracker]) -> None:
        assert reopen().find("nothing") is None


@pytest.mark.slow
def test_points_that_come_too_fast_wait_for_the_end_of_their_run(tmp_path: Path) -> None:
    def opened() -> MlflowTracker:
        # Time stands still, so that there is never any for another call.
        return MlflowTracker(f"sqlite:///{tmp_path}/mlflow.db", "mtnat", tmp_path.as_uri(), clock=lambda: 0.0)

    tracker = opened()
    tracker.begin("s", "study")
    for name in "ab":
        tracker.begin(f"s/{name}", name, parent="s")
    for step in range(1, 1_201):
        for name in "ab":
            tracker.log(f"s/{name}", step, {"train/loss": step / 2, "train/at": 1.0})
    tracker.end("s/a", "FINISHED")
    other = opened()
    ended, under_way = other.find("s/a"), other.find("s/b")
    assert ended is not None
    assert ended.curves["train/loss"] == {step: step / 2 for step in range(1, 1_201)}
    assert under_way is not None
    assert len(under_way.curves["train/loss"]) < 1_200
    # After a kill its points come again from its folder.
    other.begin("s", "study")
    other.begin("s/b", "b", parent="s")
    for step in range(1, 1_301):
        other.log("s/b", step, {"train/loss": step / 2})
    other.end("s/b", "FINISHED")
    resumed = opened().find("s/b")
    assert resumed is not None
    assert resumed.curves["train/loss"] == {step: step / 2 for step in range(1, 1_301)}
