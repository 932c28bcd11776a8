"""Addresses of MLflow."""

from pathlib import Path

import pytest

from mtnat.errors import ConfigError, ResourceError
from mtnat.lab.tracking.address import (
    check_address,
    check_answers,
    database_file,
    default_uri,
    way_to_compare,
    without_password,
)


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////a/mlflow.db", "/a/mlflow.db"),
        ("sqlite:////a/mlflow.db?timeout=30", "/a/mlflow.db"),
        ("sqlite:////a%20b/mlflow.db", "/a b/mlflow.db"),
        ("sqlite+pysqlite:////a/mlflow.db", "/a/mlflow.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://host/name", None),
        ("http://host:5000", None),
    ],
)
def test_the_file_of_a_database_is_found(uri: str, file: str | None) -> None:
    assert database_file(uri) == (None if file is None else Path(file))


@pytest.mark.parametrize("name", ["plain", "a%20b", "q?x=1", "two words", "h#1"])
def test_the_default_database_lies_in_the_current_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert database_file(default_uri()) == tmp_path / name / "mlflow.db"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:secret@host:5000/path", "http://user:***@host:5000/path"),
        ("postgresql+psycopg2://user:p:w@host/db", "postgresql+psycopg2://user:***@host/db"),
        ("cannot reach https://:token@host (again)", "cannot reach https://:***@host (again)"),
        ("sqlite:////a/mlflow.db", "sqlite:////a/mlflow.db"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
    ],
)
def test_a_password_is_not_shown(uri: str, shown: str) -> None:
    assert without_password(uri) == shown


def test_the_way_to_compare_works_for_databases_and_servers() -> None:
    assert way_to_compare("http://user:secret@host:5000/") == "http://host:5000/"
    assert way_to_compare("sqlite:////my folder/x.db").endswith("mlflow ui --backend-store-uri 'sqlite:////my folder/x.db'")
    assert way_to_compare(default_uri()).endswith("mlflow ui")


@pytest.mark.parametrize("uri", ["file:///tmp/mlruns", "/tmp/mlruns", "mlruns", "htp://host", "databricks"])
def test_an_address_of_another_kind_is_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"--tracking-uri: must be a database such as sqlite:///mlflow.db, or a server"):
        check_address(uri)


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "sqlite://host/mlflow.db"])
def test_a_database_file_is_not_connected_to(uri: str) -> None:
    check_answers(uri)


def test_a_missing_driver_of_a_database_is_named_with_its_package() -> None:
    with pytest.raises(ResourceError, match="needs the driver of this database; install it: pip install 'mysqlclient'"):
        check_answers("mysql:///studies")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "postgresql+psycopg://user:pw@127.0.0.1:9/studies"])
def test_a_server_that_does_not_answer_is_reported_without_the_password(uri: str) -> None:
    with pytest.raises(ResourceError, match=r"no server answers \(.*\); start it, or correct the address") as caught:
        check_answers(uri)
    assert "pw@" not in str(caught.value)
