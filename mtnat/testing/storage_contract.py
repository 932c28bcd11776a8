"""What every storage promises, as a test class.

The author of a storage subclasses `StorageContract` in a test file and says how a machine opens it::

    from mtnat.testing.storage_contract import StorageContract

    class TestMine(StorageContract):
        @pytest.fixture
        def at(self, tmp_path: Path) -> Callable[[str], Storage]:
            return lambda machine: Mine(tmp_path / "store", workplace=tmp_path / machine)
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from mtnat.formats import MODEL_FORMAT, write_format
from mtnat.lab.outputs.folder import LOCK_FILE, STOP_FILE, read_result, write_result
from mtnat.lab.outputs.runs import Result
from mtnat.lab.outputs.storage import Storage

RUN = "annealing-seed1"


def write(storage: Storage, **files: str) -> Path:
    """Writes files into the run's folder on this machine, and returns that folder; ``a__b`` is ``a/b``."""
    folder = storage.workplace.run(RUN)
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def content(folder: Path) -> dict[str, str]:
    """The files of a folder, except locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


class StorageContract:
    """Tests of a `Storage`."""

    @pytest.fixture
    def at(self) -> Callable[[str], Storage]:
        """The storage as the machine of this name sees it from now on. Machines share nothing else."""
        raise NotImplementedError

    def test_a_run_goes_on_on_another_machine(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        here.restore(RUN)
        write(here, experiment="lr", checkpoints__10="ten")
        here.send(RUN)
        there = at("b")
        there.restore(RUN)
        assert content(there.workplace.run(RUN)) == {"experiment": "lr", "checkpoints/10": "ten"}

    def test_a_removed_file_stays_removed(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        here.restore(RUN)
        folder = write(here, checkpoints__10="ten")
        here.send(RUN)
        (folder / "checkpoints" / "10").unlink()
        write(here, checkpoints__20="twenty")
        here.send(RUN)
        there = at("b")
        there.restore(RUN)
        assert content(there.workplace.run(RUN)) == {"checkpoints/20": "twenty"}

    def test_files_that_were_never_sent_stay_on_their_machine(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        folder = write(here, experiment="lr")
        here.restore(RUN)
        assert content(folder) == {"experiment": "lr"}

    def test_a_machine_that_has_left_a_run_can_take_it_up_again(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        here.restore(RUN)
        folder = write(here, experiment="lr")
        here.send(RUN)
        here.leave(RUN)
        here.restore(RUN)
        assert content(folder) == {"experiment": "lr"}

    def test_the_driver_fetches_what_was_sent(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        here.restore(RUN)
        folder = write(here, model__weights="w")
        write_result(folder, Result(run=RUN, valid=30.0))
        here.send(RUN)
        fetched = at("driver").fetch(RUN)
        assert (fetched / "model" / "weights").read_text() == "w"
        assert read_result(fetched) == Result(run=RUN, valid=30.0)

    def test_a_run_reads_what_another_run_has_sent_from_any_machine(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        here.restore(RUN)
        write(here, model__weights="w", encoders__5="e", checkpoints__10="ten")
        here.send(RUN)
        there = at("b")
        there.restore("reader")
        brought = there.bring("reader", RUN)
        assert content(brought).items() >= {"model/weights": "w", "encoders/5": "e"}.items()
        there.leave("reader")
        here = at("a")
        here.restore(RUN)
        assert content(here.workplace.run(RUN)).keys() == {"model/weights", "encoders/5", "checkpoints/10"}

    def test_a_model_arrives_with_its_format(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        here.restore(RUN)
        model = write(here, model__weights="w") / "model"
        write_format(model, MODEL_FORMAT)
        written = content(model)
        here.send(RUN)
        there = at("b")
        there.restore(RUN)
        assert content(there.workplace.run(RUN) / "model") == written
        assert content(at("driver").fetch(RUN) / "model") == written

    def test_a_result_that_the_driver_wrote_is_not_replaced(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        here.restore(RUN)
        folder = write(here, experiment="lr")
        write_result(folder, Result(run=RUN, valid=30.0))
        here.send(RUN)
        driver = at("driver")
        driver.fetch_all()
        fetched = driver.fetch(RUN)
        assert read_result(fetched) == Result(run=RUN, valid=30.0)
        write_result(fetched, Result(run=RUN, failed="its process ended"))
        driver.fetch_all()
        assert read_result(fetched) == Result(run=RUN, failed="its process ended")

    def test_a_wish_to_stop_reaches_the_run(self, at: Callable[[str], Storage]) -> None:
        here = at("a")
        here.restore(RUN)
        folder = write(here, experiment="lr")
        here.fetch_stop(RUN)
        assert not (folder / STOP_FILE).exists()
        at("driver").stop(RUN)
        at("a").fetch_stop(RUN)
        assert (folder / STOP_FILE).exists()

    def test_the_files_of_ray_can_be_cleared_at_any_time(self, at: Callable[[str], Storage]) -> None:
        driver = at("driver")
        for _ in range(2):
            driver.clear_executor()
