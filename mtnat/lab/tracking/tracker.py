"""The port to experiment tracking. Only the driver writes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
MOST_PARAM_CHARACTERS, MOST_DIGEST_CHARACTERS = 6_000, 32


@dataclass
class Tracked:
    """The data of one run in a tracker."""

    name: str
    parent: str | None
    status: Status = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    """The value by step, by name of the metric."""
    artifacts: list[str] = field(default_factory=list)
    """Paths of files, sorted."""
    datasets: dict[str, str] = field(default_factory=dict)
    """Digest by name of the dataset."""


class Tracker(Protocol):
    """Records runs by key. A run is created when it begins for the first time, and reopened when it begins again."""

    def begin(
        self,
        key: str,
        name: str,
        parent: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Creates a run, or reopens it. The params keep the values of the first time."""

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Sets tags."""

    def log(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a point to the curves. A curve that already has this step, or a later one, is not changed."""

    def keep(self, key: str, path: Path, folder: str = "") -> None:
        """Copies a file, or a whole folder, into a folder of the run's artifacts. A file of the same name is replaced."""

    def drop(self, key: str, folder: str) -> None:
        """Removes a folder of a run's artifacts, if there is one."""

    def use(self, key: str, dataset: str, digest: str, source: str) -> None:
        """Records the dataset that a run was trained on. A second call changes nothing.

        Args:
            digest: its hash, of which the first 32 characters are kept.
            source: its path or address.
        """

    def end(self, key: str, status: Status) -> None:
        """Closes a run."""

    def status(self, key: str) -> Status | None:
        """Returns the status of a run; None if it never began."""

    def find(self, key: str) -> Tracked | None:
        """Returns all data of a run, or None if it never began. This is slow; it is meant for tests and reports."""


def as_text(value: object) -> str:
    """Returns a setting as the text that trackers store."""
    text = str(value)
    return text if len(text) <= MOST_PARAM_CHARACTERS else f"{text[: MOST_PARAM_CHARACTERS - 1]}…"
