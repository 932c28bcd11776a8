"""Ends a process that has gone silent, so that whoever started it starts it anew."""

import faulthandler
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self


class Watchdog:
    """Ends this process unless it is fed often enough, and then writes down where each of its threads was.

    It is a thread that needs no help from Python: one that is stuck in a library does not stop it. A process has only one.
    """

    def __init__(self, report: Path, minutes: float) -> None:
        """
        Args:
            report: the file that the threads' places are added to.
            minutes: the longest silence.
        """
        self._path, self._seconds = report, 60 * minutes

    def feed(self) -> None:
        """The process lives."""
        faulthandler.dump_traceback_later(self._seconds, exit=True, file=self._file)

    def __enter__(self) -> Self:
        self._file = self._path.open("a")
        self.feed()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._file.close()
        with suppress(FileNotFoundError):  # other workers may have the same
            if not self._path.stat().st_size:
                self._path.unlink()
