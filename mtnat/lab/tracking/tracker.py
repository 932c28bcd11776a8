"""Where curves and files are kept for people to compare: the port. The driver is the only writer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
MOST_PARAM_CHARACTERS, MOST_DIGEST_CHARACTERS = 6_000, 32


@dataclass
class Tracked:
    """What a tracker holds of one run."""

    name: str
    parent: str | None
    status: Status = "RUNNING"
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    """By metric name: value by step."""
    artifacts: list[str] = field(default_factory=list)
    """Paths of files, sorted."""
    datasets: dict[str, str] = field(default_factory=dict)
    """Digest by name."""


class Tracker(Protocol):
    """Runs by key: a run is made when it is first begun and reopened when it is begun again."""

    def begin(
        self,
        key: str,
        name: str,
        parent: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Makes a run, or reopens it; its params are those of the first time."""

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        """Sets tags."""

    def log(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        """Adds a point to curves, except to those that reach this step already."""

    def keep(self, key: str, path: Path, folder: str = "") -> None:
        """Keeps a file, or a folder with all in it, under a folder of the run's artifacts; one of the same name is replaced."""

    def drop(self, key: str, folder: str) -> None:
        """Removes a folder of a run's artifacts; that there is none changes nothing."""

    def use(self, key: str, dataset: str, digest: str, source: str) -> None:
        """Notes what text a run was trained on; doing so twice changes nothing.

        Args:
            digest: its hash, of which the first 32 characters are kept.
            source: where it lies.
        """

    def end(self, key: str, status: Status) -> None:
        """Closes a run."""

    def status(self, key: str) -> Status | None:
        """How a run stands; None of one that was never begun."""

    def find(self, key: str) -> Tracked | None:
        """All that is held of a run, which takes its time to collect."""


def as_text(value: object) -> str:
    """A setting as trackers keep it."""
    text = str(value)
    return text if len(text) <= MOST_PARAM_CHARACTERS else f"{text[: MOST_PARAM_CHARACTERS - 1]}…"
