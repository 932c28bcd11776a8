"""Every tracker fulfils the contract."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mtnat.lab.tracking.memory_tracker import MemoryTracker
from mtnat.lab.tracking.mlflow_tracker import MlflowTracker
from mtnat.lab.tracking.tracker import Tracker
from mtnat.testing.tracker_contract import TrackerContract


class TestMemoryTracker(TrackerContract):
    @pytest.fixture
    def reopen(self) -> Callable[[], Tracker]:
        memory = MemoryTracker()
        return lambda: memory


@pytest.mark.slow
class TestMlflowTracker(TrackerContract):
    @pytest.fixture(scope="class")
    def reopen(self, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Tracker]:
        folder = tmp_path_factory.mktemp("mlflow")
        return lambda: MlflowTracker(f"sqlite:///{folder}/mlflow.db", "mtnat", (folder / "files").as_uri())


@pytest.mark.slow
def test_points_beyond_the_rate_limit_are_written_at_the_end_of_their_run(tmp_path: Path) -> None:
    def opened() -> MlflowTracker:
        # The clock stands still, so no further call is ever due.
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
    # After a kill, the points of the run are logged again from its folder.
    other.begin("s", "study")
    other.begin("s/b", "b", parent="s")
    for step in range(1, 1_301):
        other.log("s/b", step, {"train/loss": step / 2})
    other.end("s/b", "FINISHED")
    resumed = opened().find("s/b")
    assert resumed is not None
    assert resumed.curves["train/loss"] == {step: step / 2 for step in range(1, 1_301)}
