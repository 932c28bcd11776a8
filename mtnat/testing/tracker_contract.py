"""What every tracker promises, as a test class.

The author of a tracker subclasses `TrackerContract` in a test file and says how it is opened::

    from mtnat.testing.tracker_contract import TrackerContract

    class TestMine(TrackerContract):
        @pytest.fixture
        def reopen(self, tmp_path: Path) -> Callable[[], Tracker]:
            return lambda: Mine(tmp_path / "store")
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from mtnat.lab.tracking.tracker import MOST_DIGEST_CHARACTERS, MOST_PARAM_CHARACTERS, Tracker


def _written(folder: Path) -> Path:
    """A folder with a model and a note."""
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text("w")
    (folder / "note.txt").write_text("n")
    return folder


class TrackerContract:
    """Tests of a `Tracker`. Each test uses keys of its own, so that all of them can share one store."""

    @pytest.fixture
    def reopen(self) -> Callable[[], Tracker]:
        """Opens the same store again at each call, as the driver of a resumed study does."""
        raise NotImplementedError

    def test_it_keeps_what_it_is_told(self, reopen: Callable[[], Tracker], tmp_path: Path) -> None:
        files = _written(tmp_path)
        tracker = reopen()
        tracker.begin("s", "study", tags={"question": "which?"})
        tracker.begin("s/a", "run a", parent="s", params={"model.width": 8, "long": "x" * 7000}, tags={"seed": "1"})
        tracker.log("s/a", 10, {"train/loss": 2.5, "valid/bleu": 1.0})
        tracker.log("s/a", 20, {"train/loss": 2.25})
        tracker.keep("s/a", files / "model", "model")
        tracker.keep("s/a", files / "note.txt")
        tracker.use("s/a", "words.en → words.de", "d" * 64, "words.en")
        tracker.use("s/a", "words.en → words.de", "d" * 64, "words.en")
        tracker.end("s/a", "FAILED")
        run = reopen().find("s/a")
        assert run is not None
        assert (run.name, run.parent, run.status) == ("run a", "s", "FAILED")
        assert run.params["model.width"] == "8"
        assert len(run.params["long"]) == MOST_PARAM_CHARACTERS
        assert run.tags == {"seed": "1"}
        assert run.curves == {"train/loss": {10: 2.5, 20: 2.25}, "valid/bleu": {10: 1.0}}
        assert run.artifacts == ["model/weights", "note.txt"]
        assert run.datasets == {"words.en → words.de": "d" * MOST_DIGEST_CHARACTERS}

    def test_a_run_that_begins_again_is_the_same_run(self, reopen: Callable[[], Tracker]) -> None:
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

    def test_params_keep_the_values_of_the_first_time(self, reopen: Callable[[], Tracker]) -> None:
        tracker = reopen()
        tracker.begin("p", "run", params={"seed": 1})
        tracker = reopen()
        tracker.begin("p", "run", params={"seed": 2})
        run = reopen().find("p")
        assert run is not None
        assert run.params == {"seed": "1"}

    def test_a_file_of_the_same_name_is_replaced(self, reopen: Callable[[], Tracker], tmp_path: Path) -> None:
        files = _written(tmp_path)
        tracker = reopen()
        tracker.begin("r", "run")
        for _ in range(2):
            tracker.keep("r", files / "note.txt")
        run = reopen().find("r")
        assert run is not None
        assert run.artifacts == ["note.txt"]

    def test_a_folder_can_be_dropped(self, reopen: Callable[[], Tracker], tmp_path: Path) -> None:
        files = _written(tmp_path)
        tracker = reopen()
        tracker.begin("d", "study")
        tracker.keep("d", files / "model", "model")
        tracker.keep("d", files / "note.txt")
        for _ in range(2):
            tracker.drop("d", "model")
        run = reopen().find("d")
        assert run is not None
        assert run.artifacts == ["note.txt"]

    def test_it_knows_the_status_of_a_run(self, reopen: Callable[[], Tracker]) -> None:
        tracker = reopen()
        tracker.begin("e", "study")
        tracker.begin("e/a", "run", parent="e")
        tracker.end("e/a", "FINISHED")
        assert [reopen().status(key) for key in ("e", "e/a", "e/b")] == ["RUNNING", "FINISHED", None]

    def test_a_run_that_never_began_is_not_found(self, reopen: Callable[[], Tracker]) -> None:
        assert reopen().find("nothing") is None
