"""Opens MLflow for a study. What is wrong with it is told before any run starts."""

import os
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from mtnat.errors import ResourceError
from mtnat.files import locked
from mtnat.lab.tracking.address import check_address, check_answers, database_file, reason_of, without_password
from mtnat.lab.tracking.mlflow_tracker import MlflowTracker, quiet_mlflow

HTTP_SETTINGS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""Environment variables of MLflow's client. By default it tries for minutes, in which the driver could do nothing else; a study
has its own, longer patience (`PatientTracker`)."""
_SECONDS_TO_CREATE = (1, 2, 4, 8, 16, 32)
"""Pauses between the tries to open a database that several studies create at the same time."""
_CREATED = ("already exists", "UniqueViolation", "Duplicate")
"""Words of errors that say that another process has just created the same."""


def open_tracker(uri: str, experiment: str) -> MlflowTracker:
    """Opens an experiment of MLflow, and creates the database and the experiment if they are missing.

    Raises:
        ConfigError: MLflow cannot be at this address.
        ResourceError: it cannot be reached, or cannot be used.
    """
    check_address(uri)
    for name, value in HTTP_SETTINGS.items():
        os.environ.setdefault(name, value)
    quiet_mlflow()
    shown = without_password(uri)
    check_answers(uri)
    file = database_file(uri)
    try:
        if file is None:
            return _on_server(uri, experiment)
        with _created(file):
            _check_file(file)
            return MlflowTracker(uri, experiment, (file.parent / "mlartifacts").as_uri())
    except ResourceError:
        raise
    except Exception as error:  # those of MLflow, of SQLAlchemy and of the drivers of databases
        raise ResourceError(f"--tracking-uri {shown}: cannot be used ({reason_of(error)}); {_remedy(error, uri)}") from None


def _on_server(uri: str, experiment: str) -> MlflowTracker:
    """Opens an experiment on a tracking server or a database server. Other studies may be creating the tables of the same
    database or the same experiment; whatever one of them has created in between is found by another try."""
    for seconds in _SECONDS_TO_CREATE:
        try:
            return MlflowTracker(uri, experiment)
        except Exception as error:  # those of MLflow, of SQLAlchemy and of the drivers of databases
            if not any(sign in str(error) for sign in _CREATED):
                raise
            time.sleep(seconds)
    return MlflowTracker(uri, experiment)


@contextmanager
def _created(file: Path) -> Iterator[None]:
    """Creates a database if there is none: under another name, so that a kill leaves none that is incomplete, and under a lock,
    so that several studies can begin in the same folder at the same time. The lock is held while the context is open."""
    from mlflow import MlflowClient

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_name(f".{file.name}.lock")
        lock.touch()
    except OSError as error:
        raise ResourceError(
            f"--tracking-uri {file}: cannot be written ({error.strerror}); give another address by --tracking-uri."
        ) from None
    with locked(lock):
        if not file.exists():
            # In a folder of its own, because SQLite writes a journal beside the database.
            with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent, ignore_cleanup_errors=True) as folder:
                partial = Path(folder) / "mlflow.db"
                relative = os.path.relpath(partial)  # an absolute path may have characters with a meaning in an address
                MlflowClient(f"sqlite:///{relative}").search_experiments(max_results=1)
                os.replace(partial, file)
        yield


def _check_file(file: Path) -> None:
    """Reads the beginning of a database. MLflow tries for minutes to open one that cannot be opened.

    Raises:
        sqlite3.Error: it cannot be read, or is none.
    """
    # A database that another process is changing is readable.
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as database:
        database.execute("SELECT name FROM sqlite_master").fetchall()


def _remedy(error: Exception, uri: str) -> str:
    words = str(error)
    if "out-of-date database schema" in words:
        return f"make a copy of it and run: mlflow db upgrade {without_password(uri)}"
    if any(sign in words for sign in ("already exists", "no such column", "no such table", "not a database", "malformed")):
        return "it is incomplete or damaged: move it away, or give another address by --tracking-uri."
    if found := re.search(r"experiment (\S+) was deleted", words):
        return f"restore it by: mlflow experiments restore --experiment-id {found[1]}"
    return "correct it, or give another address by --tracking-uri."
