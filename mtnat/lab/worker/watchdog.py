"""Ends a process that makes no progress, so that its run can start again."""

import faulthandler
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class Watchdog:
    """Ends this process with a stack trace of every thread, unless `feed` is called often enough.

    The timer of `faulthandler` is a thread outside of Python, so that code which blocks the interpreter does not stop it. A
    process has only one such timer.
    """

    def __init__(self, report: Path, minutes: float) -> None:
        """
        Args:
            report: the file that the stack traces are added to.
            minutes: the longest time between two calls of `feed`.
        """
        self._path, self._seconds = report, 60 * minutes

    def feed(self) -> None:
        """Restarts the timer."""
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._file)

    def __enter__(self) -> Self:
        self._file = self._path.open("a")
        self.feed()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._file.close()
        with suppress(FileNotFoundError):  # other workers may have the same file
            if not self._path.stat().st_size:
                self._path.unlink()
