"""How long a study has taken, over all its starts."""

import time
from pathlib import Path

from mtnat.files import write_whole

SECONDS_BETWEEN_SAVES = 10.0


class Clock:
    """Goes on where it was when it is opened again; what a kill takes of it is less than `SECONDS_BETWEEN_SAVES`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = float(path.read_text()) if path.exists() else 0.0
        self._opened = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall-clock time in which it was open."""
        return self._before + time.monotonic() - self._opened

    def tick(self) -> None:
        """Saves the time, if that is due."""
        if time.monotonic() - self._saved >= SECONDS_BETWEEN_SAVES:
            self.save()

    def save(self) -> None:
        """Saves the time."""
        write_whole(self._path, f"{self.seconds:.1f}".encode())
        self._saved = time.monotonic()
