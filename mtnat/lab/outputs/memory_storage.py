"""A storage in memory, for tests in which the machines are parts of one process."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

from mtnat.lab.outputs.folder import RESULT_FILE, STOP_FILE, StudyFolder
from mtnat.lab.outputs.storage import CHECKPOINTS, sent_files


@dataclass(frozen=True)
class Sent:
    """The shared state: one object for all machines."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """Content by file, by run."""
    stops: set[str] = field(default_factory=set)
    """Runs that are to end early."""


@dataclass(frozen=True)
class MemoryStorage:
    """The storage as one machine sees it."""

    sent: Sent
    scratch: Path
    """The machine's own folder."""
    path: Path
    """The study's folder at the driver."""

    @property
    def workplace(self) -> StudyFolder:
        return StudyFolder(self.scratch)

    @property
    def executor(self) -> str:
        return str(StudyFolder(self.path).executor)

    def restore(self, run: str) -> None:
        folder = self.workplace.run(run)
        folder.mkdir(parents=True, exist_ok=True)
        if run in self.sent.files:
            for name in sent_files(folder) - self.sent.files[run].keys():
                (folder / name).unlink()
            _write(folder, self.sent.files[run])

    def send(self, run: str) -> None:
        folder = self.workplace.run(run)
        self.sent.files[run] = {name: (folder / name).read_bytes() for name in sent_files(folder)}

    def bring(self, run: str, other: str) -> Path:
        return self._fetched(other, self.scratch / "brought" / run / other)

    def leave(self, run: str) -> None:
        shutil.rmtree(self.workplace.run(run), ignore_errors=True)
        shutil.rmtree(self.scratch / "brought" / run, ignore_errors=True)

    def fetch_stop(self, run: str) -> None:
        if run in self.sent.stops:
            (self.workplace.run(run) / STOP_FILE).touch()

    def fetch(self, run: str) -> Path:
        return self._fetched(run, StudyFolder(self.path).run(run))

    def fetch_all(self) -> None:
        for run in self.sent.files:
            if not (StudyFolder(self.path).run(run) / RESULT_FILE).exists():
                self.fetch(run)

    def stop(self, run: str) -> None:
        self.sent.stops.add(run)

    def clear_executor(self) -> None:
        shutil.rmtree(self.executor, ignore_errors=True)

    def _fetched(self, run: str, folder: Path) -> Path:
        files = self.sent.files.get(run, {})
        _write(folder, {name: content for name, content in files.items() if not name.startswith(CHECKPOINTS)})
        return folder


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
