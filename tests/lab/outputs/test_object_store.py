"""A storage on S3, by a server on this machine that speaks its protocol and fails every few requests."""

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from mtnat.lab.outputs.storage import RemoteFolder, Storage
from mtnat.testing.storage_contract import StorageContract, write

pytestmark = pytest.mark.slow
FAULTS = {
    "500 Internal Server Error": "InternalError",
    "503 Slow Down": "SlowDown",
    "503 Service Unavailable": "ServiceUnavailable",
    "429 Too Many Requests": "Throttling",
}


class Unreliable:
    """A WSGI application of which a share of the requests fail with an error that clients repeat."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application, self.share, self.dice = application, 0.0, random.Random(1)
        self.faults: Counter[str] = Counter()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.dice.random() >= self.share:
            return self.application(environ, start_response)
        status = self.dice.choice(list(FAULTS))
        self.faults[status] += 1
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = f"<?xml version='1.0'?><Error><Code>{FAULTS[status]}</Code><Message>again</Message></Error>".encode()
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


class Server:
    """An object store on a free port of the loopback interface."""

    def __init__(self) -> None:
        self.unreliable = Unreliable(DomainDispatcherApplication(create_backend_app))
        self._server = make_server("127.0.0.1", 0, self.unreliable, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.place = f"endpoint_override=127.0.0.1:{self._server.port}&scheme=http&region=us-east-1&allow_bucket_creation=true"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def store() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def uri(store: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of an empty folder in the store."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    store.unreliable.share, store.unreliable.faults = 0.0, Counter()
    yield f"s3://studies/{uuid.uuid4().hex}?{store.place}"
    store.unreliable.share = 0.0


def machines(uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], RemoteFolder]:
    """Machines that share the store; calling the result with a name switches to that machine's own folder."""

    def go_to(name: str) -> RemoteFolder:
        monkeypatch.setenv("MTNAT_SCRATCH", str(folder / name))
        return RemoteFolder(uri, "0123", folder / "outputs" / "study")

    return go_to


class TestObjectStore(StorageContract):
    @pytest.fixture
    def at(self, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Storage]:
        return machines(uri, tmp_path, monkeypatch)


class TestUnreliableObjectStore(StorageContract):
    """A fifth of the requests fails."""

    @pytest.fixture
    def at(self, store: Server, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Storage]:
        store.unreliable.share = 0.2
        return machines(uri, tmp_path, monkeypatch)


def test_every_kind_of_fault_is_met_and_every_file_arrives(
    store: Server, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = machines(uri, tmp_path, monkeypatch)
    store.unreliable.share = 0.3
    files = {f"file{number}": "x" * number for number in range(8)}
    first = at("first")
    write(first, **files)
    first.send("annealing-seed1")
    second = at("second")
    second.restore("annealing-seed1")
    folder = second.workplace.run("annealing-seed1")
    assert {name: (folder / name).read_text() for name in files} == files
    assert set(store.unreliable.faults) == set(FAULTS)
