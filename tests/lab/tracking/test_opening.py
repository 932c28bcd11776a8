"""MLflow is opened for a study, or one sentence says why not."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mtnat.errors import ResourceError
from mtnat.lab.tracking.address import default_uri
from mtnat.lab.tracking.opening import open_tracker
from mtnat.lab.tracking.patient_tracker import PatientTracker

OPEN = "import sys; from mtnat.lab.tracking.opening import open_tracker; open_tracker(sys.argv[1], 'mtnat')"


def opening(uri: str) -> "subprocess.Popen[str]":
    """Starts a process that opens the tracker."""
    command = [sys.executable, "-c", OPEN, uri]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder}/mlflow.db"


@pytest.mark.slow
def test_three_studies_that_create_one_database_at_once_all_have_it(tmp_path: Path) -> None:
    processes = [opening(uri_of(tmp_path)) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=900)
        assert (process.returncode, errors) == (0, "")
    assert len(MlflowClient(uri_of(tmp_path)).search_experiments()) == 2  # MLflow's own, and that of the studies
    assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", ".mlflow.db.lock"}


@pytest.mark.slow
def test_a_kill_while_the_database_is_created_leaves_none_that_is_incomplete(tmp_path: Path) -> None:
    process = opening(uri_of(tmp_path))
    deadline = time.monotonic() + 900
    while not any(path.stat().st_size for path in tmp_path.glob(".mlflow.db.*/mlflow.db")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "mlflow.db").exists()
    tracker = open_tracker(uri_of(tmp_path), "mtnat")
    tracker.begin("s", "study")
    assert tracker.status("s") == "RUNNING"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a%20b", "q?x=1", "two words"])
def test_the_database_is_created_in_a_folder_with_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    open_tracker(default_uri(), "mtnat").begin("s", "study")
    assert (tmp_path / name / "mlflow.db").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def text_file(file: Path) -> None:
    file.write_text("a file of another kind\n" * 100)


def half_created(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE experiments (experiment_id INTEGER)")


def folder(file: Path) -> None:
    file.mkdir()


def of_an_older_version(file: Path) -> None:
    opening(f"sqlite:///{file}").communicate()  # another process, because MLflow checks a database once per process
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = '0584bdc529eb'")


def without_the_experiment(file: Path) -> None:
    open_tracker(f"sqlite:///{file}", "mtnat")
    client = MlflowClient(f"sqlite:///{file}")
    found = client.get_experiment_by_name("mtnat")
    assert found is not None
    client.delete_experiment(found.experiment_id)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (text_file, "it is incomplete or damaged: move it away"),
        (half_created, "it is incomplete or damaged: move it away"),
        (folder, "correct it, or give another address by --tracking-uri."),
        (of_an_older_version, "make a copy of it and run: mlflow db upgrade sqlite:///"),
        (without_the_experiment, "restore it by: mlflow experiments restore --experiment-id 1"),
    ],
)
def test_a_database_that_cannot_be_used_is_reported_with_a_remedy(
    make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    make(tmp_path / "mlflow.db")
    with pytest.raises(ResourceError) as caught:
        open_tracker(uri_of(tmp_path), "mtnat")
    (problem,) = caught.value.problems
    assert problem.startswith(f"--tracking-uri {uri_of(tmp_path)}: cannot be used (")
    assert said in problem
    assert "\n" not in problem


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ResourceError, match=r"file/mlflow.db: cannot be written \(.*\); give another address"):
        open_tracker(f"sqlite:///{tmp_path}/file/mlflow.db", "mtnat")


def test_a_server_that_does_not_answer_is_reported_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://user:secret@127.0.0.1:{unused.getsockname()[1]}"
    started = time.monotonic()
    with pytest.raises(ResourceError) as caught:
        open_tracker(uri, "mtnat")
    assert time.monotonic() - started < 60
    assert str(caught.value).startswith("--tracking-uri http://user:***@127.0.0.1:")
    assert "no server answers" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_http_settings_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")
    with pytest.raises(ResourceError):
        open_tracker("http://127.0.0.1:9", "mtnat")
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"


@pytest.mark.slow
def test_artifacts_that_cannot_be_written_from_here_are_reported_before_the_study(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = MlflowClient(uri_of(tmp_path))
    client.create_experiment("mtnat", artifact_location=f"file://{tmp_path}/file/artifacts")
    mark = tmp_path / "mark"
    tracker = PatientTracker(open_tracker(uri_of(tmp_path), "mtnat"), "MLflow", mark, print)
    tracker.begin("s", "study")
    with pytest.raises(ResourceError, match=r"MLflow: the study cannot be recorded there \(.*Not a directory.*\)"):
        tracker.keep("s", tmp_path / "file")
    assert not mark.exists()
