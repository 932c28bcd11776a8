"""The running time of a study over all its starts."""

import math
import time
from pathlib import Path

from mtnat.files import write_whole

SECONDS_BETWEEN_SAVES = 10.0


class Clock:
    """Measures the running time of a study, and continues from its file when the study resumes. A kill loses less than
    `SECONDS_BETWEEN_SAVES`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = _read(path)
        self._opened = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall-clock time during which the study was running."""
        return self._before + time.monotonic() - self._opened

    def tick(self) -> None:
        """Saves the time if the last save is long enough ago."""
        if time.monotonic() - self._saved >= SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Saves the time."""
        write_whole(self._path, f"{self.seconds:.1f}".encode())
        self._saved = time.monotonic()


def _read(path: Path) -> float:
    """Returns the saved time; 0 if there is none, or if the file is damaged."""
    try:
        seconds = float(path.read_bytes())
    except (OSError, ValueError):
        return 0.0
    return seconds if 0 <= seconds < math.inf else 0.0
