"""Machines that share only a storage: what one machine sends, another reads completely or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mtnat.errors import ConfigError
from mtnat.lab.outputs.folder import STOP_FILE, StudyFolder, read_result, write_result
from mtnat.lab.outputs.memory_storage import MemoryStorage, Sent
from mtnat.lab.outputs.runs import Result
from mtnat.lab.outputs.storage import RemoteFolder, SharedFolder, Storage, open_uri, study_storage
from mtnat.testing.storage_contract import RUN, StorageContract, content, write

Machine = Callable[[str], RemoteFolder]


class TestSharedFolder(StorageContract):
    @pytest.fixture
    def at(self, tmp_path: Path) -> Callable[[str], Storage]:
        return lambda name: SharedFolder(tmp_path / "study")


class TestRemoteFolder(StorageContract):
    @pytest.fixture
    def at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Storage]:
        return remote_folder(tmp_path, monkeypatch)


class TestMemoryStorage(StorageContract):
    @pytest.fixture
    def at(self, tmp_path: Path) -> Callable[[str], Storage]:
        sent = Sent()
        return lambda name: MemoryStorage(sent, tmp_path / name, tmp_path / "outputs" / "study")


def remote_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Machines that share a storage in this folder; calling the result with a name switches to that machine's own folder."""

    def go_to(name: str) -> RemoteFolder:
        monkeypatch.setenv("MTNAT_SCRATCH", str(folder / name))
        return RemoteFolder((folder / "storage").as_uri(), "0123", folder / "outputs" / "study")

    return go_to


@pytest.fixture
def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return remote_folder(tmp_path, monkeypatch)


def sent(tmp_path: Path) -> dict[str, int]:
    """The storage's files, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "storage").rglob("*") if path.is_file()}


def test_a_run_continues_on_another_machine(at: Machine) -> None:
    here = at("a")
    here.restore(RUN)
    write(here, experiment="lr", checkpoints__10="ten")
    here.send(RUN)
    there = at("b")
    there.restore(RUN)
    folder = there.workplace.run(RUN)
    assert content(folder) == {"experiment": "lr", "checkpoints/10": "ten"}

    write(there, checkpoints__20="twenty")
    (folder / "checkpoints" / "10").unlink()
    there.send(RUN)
    here = at("a")
    write(here, checkpoints__15="never sent", experiment="half")
    here.restore(RUN)
    assert content(here.workplace.run(RUN)) == {"experiment": "lr", "checkpoints/20": "twenty"}
    here.leave(RUN)
    assert not here.workplace.run(RUN).exists()


def test_unchanged_files_are_not_sent_again_and_deleted_files_leave_the_storage(at: Machine, tmp_path: Path) -> None:
    here = at("a")
    write(here, experiment="lr", copy="lr", checkpoints__10="ten")
    here.send(RUN)
    first = sent(tmp_path)
    assert len(first) == 2 + 1  # two contents and the manifest
    here.send(RUN)
    assert sent(tmp_path) == first
    write(here, checkpoints__20="twenty")
    (here.workplace.run(RUN) / "checkpoints" / "10").unlink()
    here.send(RUN)
    second = sent(tmp_path)
    assert len(second) == 2 + 1
    (kept,) = {name for name, time in second.items() if first.get(name) == time}
    assert kept != "manifest.json"


def test_an_incomplete_transfer_is_never_restored(at: Machine, tmp_path: Path) -> None:
    here = at("a")
    write(here, checkpoints__10="ten", summary="10")
    here.send(RUN)
    write(here, checkpoints__20="twenty", summary="20")
    before = sent(tmp_path)
    (
        tmp_path / "storage" / "0123" / "runs" / RUN / "manifest.json.partial"
    ).mkdir()  # the manifest, which comes last, cannot be written
    with pytest.raises(OSError, match=r"manifest\.json\.partial"):
        here.send(RUN)
    assert len(sent(tmp_path)) == len(before) + 2
    there = at("b")
    there.restore(RUN)
    assert content(there.workplace.run(RUN)) == {"checkpoints/10": "ten", "summary": "10"}


def test_the_driver_fetches_all_files_but_checkpoints_and_keeps_its_own_result(at: Machine) -> None:
    here = at("a")
    write(here, checkpoints__10="ten", model__weights="w")
    write_result(here.workplace.run(RUN), Result(run=RUN, valid=30.0))
    here.send(RUN)
    driver = at("driver")
    driver.fetch(RUN)
    folder = StudyFolder(driver.path).run(RUN)
    assert content(folder).keys() == {"model/weights", "run.json"}
    write_result(folder, Result(run=RUN, failed="its process ended"))
    driver.fetch_all()  # a result that the driver wrote is not overwritten
    assert read_result(folder) == Result(run=RUN, failed="its process ended")
    (folder / "run.json").unlink()
    driver.fetch_all()
    assert read_result(folder) == Result(run=RUN, valid=30.0)


def test_a_stop_request_reaches_the_run_and_is_not_sent_with_its_files(at: Machine) -> None:
    here = at("a")
    here.restore(RUN)
    here.fetch_stop(RUN)
    assert not (here.workplace.run(RUN) / STOP_FILE).exists()
    at("driver").stop(RUN)
    here = at("a")
    here.fetch_stop(RUN)
    assert (here.workplace.run(RUN) / STOP_FILE).exists()
    here.send(RUN)
    there = at("b")
    there.restore(RUN)
    assert content(there.workplace.run(RUN)) == {}


def test_the_workplace_of_a_shared_folder_is_the_folder_itself(tmp_path: Path) -> None:
    storage = SharedFolder(tmp_path / "study")
    assert storage.workplace.run(RUN) == StudyFolder(tmp_path / "study").run(RUN)
    storage.workplace.run(RUN).mkdir(parents=True)
    storage.stop(RUN)
    assert (storage.workplace.run(RUN) / STOP_FILE).exists()


def test_without_a_storage_uri_the_study_uses_a_shared_folder(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    assert study_storage(None, folder) == SharedFolder(tmp_path)


@pytest.mark.parametrize("uri", ["nowhere", "foo://bucket"])
def test_a_storage_uri_of_an_unknown_kind_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"--storage: .* cannot be opened"):
        open_uri(uri)
