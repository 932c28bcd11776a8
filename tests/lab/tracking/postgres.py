"""A PostgreSQL server, for tests that need a real one."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

OTHERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
"""Where Debian installs the programs, which are not all on the path."""
OWNER = "postgres"


class Postgres:
    """``postgres`` on the loopback interface, with one user."""

    USER, PASSWORD = "studies", "pass-of-studies"

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs, self._folder, self._port = programs, folder, port
        # PostgreSQL does not run as root.
        self._owner = OWNER if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    def uri(self, database: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{self.USER}:{password}@127.0.0.1:{self._port}/{database}"

    def create(self) -> None:
        """Creates the files of the server."""
        if self._owner:
            shutil.chown(self._folder, self._owner)
        password = self._folder / "password"
        password.write_text(self.PASSWORD)
        how = [f"--username={self.USER}", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--no-locale"]
        command: list[str | Path] = [self._programs / "initdb", f"--pgdata={self._folder / 'data'}", "--no-sync", *how]
        subprocess.run(command, user=self._owner, cwd=self._folder, check=True, capture_output=True)

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self._port,
            "unix_socket_directories": self._folder,
            "logging_collector": "off",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *words],
                user=self._owner,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None, (self._folder / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def _answers(self) -> bool:
        command: list[str | Path] = [self._programs / "pg_isready", "--quiet", "--host=127.0.0.1", f"--port={self._port}"]
        return subprocess.run(command, check=False).returncode == 0

    def execute(self, statement: str) -> None:
        psql: list[str | Path] = [self._programs / "psql", "--quiet", f"--dbname={self.uri()}", f"--command={statement}"]
        subprocess.run(psql, check=True, capture_output=True)

    def kill(self) -> None:
        """Ends the server as a failure would: clients are cut off, and the next start recovers."""
        if self._process:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server that has started; it is killed at the end."""
    found = shutil.which("initdb")
    programs = Path(found).resolve().parent if found else next(iter(OTHERS), None)
    if programs is None:
        pytest.skip("needs PostgreSQL (its program initdb)")
    if os.geteuid() == 0 and OWNER not in {user.pw_name for user in pwd.getpwall()}:
        pytest.skip(f"needs a user {OWNER}, because PostgreSQL does not run as root")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    # Its user cannot enter the folder that pytest makes.
    with TemporaryDirectory(prefix="mtnat-postgres-") as folder:
        server = Postgres(programs, Path(folder), port)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.kill()
