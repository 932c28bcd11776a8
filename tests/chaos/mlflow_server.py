"""MLflow's server, for tests that need a real one."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Server:
    """``mlflow server`` on the loopback interface."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            self.uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        stores = [f"--backend-store-uri=sqlite:///{self.folder}/mlflow.db", f"--artifacts-destination={self.folder}/files"]
        place = ["--host=127.0.0.1", f"--port={self.uri.rpartition(':')[2]}", "--workers=1"]
        with (self.folder / "server.log").open("ab") as log:
            command = [sys.executable, "-m", "mlflow", "server", *place, *stores]
            # In a session of its own, so that its workers can be killed with it.
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        for _ in range(1_200):
            with suppress(OSError), urllib.request.urlopen(f"{self.uri}/health"):
                return
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@contextmanager
def served(folder: Path) -> Iterator[Server]:
    """A server that has started; it is killed at the end."""
    server = Server(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
