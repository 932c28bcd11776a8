"""Notices the death of Ray's own processes on this machine, which Ray itself reports after minutes or never."""

import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType

import psutil

from mtnat.lab.cluster.interruption import Interruption

PROCESSES = ("raylet", "gcs_server")
"""The processes of Ray without which nothing runs."""
MARK = "MTNAT_DRIVER"
"""Environment variable with which a driver marks all processes that it starts."""
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_END = 5.0
SECONDS_TO_UNWIND = 10.0
"""How long the main thread has to leave what it does. Ray's clean-up can wait for its lost processes, and then ends this
process with a message of its own."""
EXIT_CODE = 2
_SIGNAL = signal.SIGUSR2  # Tune ends its loop at SIGUSR1


class RayWatch:
    """Watches the processes that this process has started, from a thread.

    If one of them ends, KeyboardInterrupt is raised in the main thread, wherever it waits, and the reason is in the
    `Interruption`. If the main thread cannot leave what it does, the process ends with this reason.
    """

    def __init__(self, interruption: Interruption, remedy: str) -> None:
        """
        Args:
            interruption: is given the reason.
            remedy: the end of the reason, which says what to do.
        """
        self._interruption, self._remedy = interruption, remedy
        children = {process: _name(process) for process in psutil.Process().children()}
        self._watched = {process: name for process, name in children.items() if name in PROCESSES}
        self._is_over = threading.Event()
        self._before = signal.signal(_SIGNAL, self._raise)
        self._thread = threading.Thread(target=self._look, name="ray-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the watch, before Ray is shut down."""
        self._is_over.set()
        self._thread.join()
        signal.signal(_SIGNAL, self._before)

    def clear_away(self) -> None:
        """Kills what is left of Ray, which can no longer be shut down."""
        # By their environment, because the processes that the lost one has started no longer belong to this one.
        mark = os.environ[MARK]
        others = (process for process in psutil.process_iter() if process.pid != os.getpid())
        family = [process for process in others if _variable(process, MARK) == mark]
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(family, timeout=SECONDS_TO_END)

    def _look(self) -> None:
        while not self._is_over.wait(SECONDS_BETWEEN_LOOKS):
            if lost := next((name for process, name in self._watched.items() if not _lives(process)), None):
                self._give_up(f"Ray has ended on this machine: its process {lost} was killed; {self._remedy}")
                return

    def _give_up(self, reason: str) -> None:
        self._interruption.lost = reason
        os.kill(os.getpid(), _SIGNAL)
        if not self._is_over.wait(SECONDS_TO_UNWIND):
            print(reason, file=sys.stderr, flush=True)
            self.clear_away()
            os._exit(EXIT_CODE)

    def _raise(self, number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt


def _variable(process: psutil.Process, name: str) -> str | None:
    try:
        return process.environ().get(name)
    except psutil.Error:
        return None


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return ""
