"""The connection to Ray on this machine."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
import ray
from rich.console import Console
from small_study import TINY

from mtnat.config import to_yaml
from mtnat.errors import ResourceError
from mtnat.lab.cluster.connection import close_token, ray_cluster
from mtnat.lab.cluster.interruption import Interruption
from mtnat.lab.start import run_study
from mtnat.lab.study.options import Options
from mtnat.lab.study.resources import Resources


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Restores the variables that a connection sets."""
    with patch.dict(os.environ):
        for name in ("RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
            os.environ.pop(name, None)
        yield


def test_a_temporary_folder_that_is_too_long_for_sockets_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 100)
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    told = f"^RAY_TMPDIR: {folder} is too long a path for Ray's sockets; name one of at most 39 bytes\\.$"
    with pytest.raises(ResourceError, match=told), ray_cluster(Options(study=Path("any.yaml")), Resources()):
        pytest.fail("it has started")


def test_a_study_is_not_begun_with_a_temporary_folder_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", "/tmp/" + "x" * 100)
    (tmp_path / "tiny.yaml").write_text(to_yaml({"question": "Which?", "experiment": TINY, "baselines": {"one": {}}}))
    options = Options(
        study=tmp_path / "tiny.yaml", outputs=tmp_path / "outputs", tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}"
    )
    with pytest.raises(ResourceError, match="too long a path"):
        run_study(options, Console(quiet=True), Interruption())
    assert not (tmp_path / "outputs" / "tiny" / "study.yaml").exists()


def test_a_ray_that_cannot_start_on_this_machine_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file stands where its temporary folder would be."""
    with TemporaryDirectory(dir="/tmp") as folder:
        (Path(folder) / "ray").touch()
        monkeypatch.setenv("RAY_TMPDIR", folder)
        told = r"^Ray did not start on this machine \(.*\); end other programs .* start the study again\.$"
        with pytest.raises(ResourceError, match=told), ray_cluster(Options(study=Path("any.yaml")), Resources()):
            pytest.fail("it has started")


def test_the_token_of_ray_is_readable_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / ".ray" / "auth_token"
    close_token()
    token = file.read_text()
    assert (len(token), file.stat().st_mode & 0o777) == (64, 0o600)
    file.chmod(0o644)  # as Ray writes it
    close_token()
    assert (file.read_text(), file.stat().st_mode & 0o777) == (token, 0o600)
    file.unlink()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a token of the user")
    close_token()
    assert not file.exists()


@pytest.mark.ray
def test_ray_starts_although_the_temporary_folder_of_the_user_has_a_long_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a cluster whose jobs have a folder each."""
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    with ray_cluster(Options(study=Path("any.yaml")), Resources()):
        assert ray.is_initialized()
