"""A tracker that keeps everything in memory."""

from collections.abc import Mapping
from pathlib import Path

from mtnat.lab.tracking.tracker import MOST_DIGEST_CHARACTERS, Status, Tracked, as_text


class MemoryTracker:
    """A tracker for tests, which keeps what it is told for as long as the object lives."""

    def __init__(self) -> None:
        self.runs: dict[str, Tracked] = {}

    def begin(
        self,
        key: str,
        name: str,
        parent: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        run = self.runs.setdefault(
            key, Tracked(name, parent, params={path: as_text(value) for path, value in (params or {}).items()})
        )
        run.status = "RUNNING"
        self.tag(key, tags or {})

    def tag(self, key: str, tags: Mapping[str, str]) -> None:
        self.runs[key].tags.update(tags)

    def log(self, key: str, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            curve = self.runs[key].curves.setdefault(name, {})
            if step > max(curve, default=-1):
                curve[step] = value

    def keep(self, key: str, path: Path, folder: str = "") -> None:
        files = [file.relative_to(path) for file in path.rglob("*") if file.is_file()] if path.is_dir() else [Path(path.name)]
        run = self.runs[key]
        run.artifacts = sorted({*run.artifacts, *(str(Path(folder) / file) for file in files)})

    def drop(self, key: str, folder: str) -> None:
        run = self.runs[key]
        run.artifacts = [path for path in run.artifacts if not path.startswith(f"{folder}/")]

    def use(self, key: str, dataset: str, digest: str, source: str) -> None:
        self.runs[key].datasets[dataset] = digest[:MOST_DIGEST_CHARACTERS]

    def end(self, key: str, status: Status) -> None:
        self.runs[key].status = status

    def status(self, key: str) -> Status | None:
        return self.runs[key].status if key in self.runs else None

    def find(self, key: str) -> Tracked | None:
        return self.runs.get(key)
