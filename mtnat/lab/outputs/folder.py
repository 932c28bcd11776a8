"""A study's folder: the truth about what has been run, held by one driver at a time."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mtnat.config import build, read_yaml, write_yaml
from mtnat.errors import ResourceError, StudyError
from mtnat.files import taken, write_whole
from mtnat.lab.outputs.runs import Result
from mtnat.lab.study.record import Study, slug

RESULT_FILE, HYPOTHESES_FILE, STOP_FILE, LOCK_FILE = "run.json", "test.hyp.txt", "stop", "run.lock"
"""Files of a run's folder: what came of it; its translations of the test set; the wish that it end early, where it is there;
the lock of whoever is at it."""
MODELS = frozenset({"model", "checkpoints", "best"})
"""Folders, of a run or of the study, in which weights lie."""


class Disk(NamedTuple):
    """What a folder takes of the disk, in bytes."""

    bytes: int
    """All of it."""
    models: int
    """Models and checkpoints."""


class StudyFolder:
    """``outputs/<study>/``: study.yaml, optuna.journal, runs/, and what the study ended with.

    Of a study with columns each column has such a folder in that of the study, which itself holds the table.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path.absolute()
        self.name = name or path.name
        self.study = self.path / "study.yaml"
        self._id = self.path / "study.id"
        self._lock = self.path / "study.lock"
        self.journal = self.path / "optuna.journal"
        self.executor = self.path / ".tune"
        """Ray's own files, of no use after a start."""
        self.leaderboard = self.path / "leaderboard.json"
        self.report = self.path / "leaderboard.md"
        self.pareto = self.path / "pareto.png"
        """Of a study with several metrics."""
        self.fidelity = self.path / "fidelity.json"
        """Of a study with a horizon."""
        self.best_experiment = self.path / "best.yaml"
        self.best_model = self.path / "best"
        self.clock = self.path / "clock"
        """Seconds that the study has taken, over all its starts."""
        self.distillation = self.path / "distillation.json"
        """What the teacher wrote, once it has."""
        self.table, self.table_markdown, self.table_latex = (self.path / f"table.{kind}" for kind in ("json", "md", "tex"))

    @property
    def is_finished(self) -> bool:
        """Whether the study has its answer: a leaderboard, or the table of several."""
        return self.leaderboard.exists() or self.table.exists()

    def column(self, name: str) -> "StudyFolder":
        """The folder of a column."""
        return StudyFolder(self.path / slug(name), f"{self.name}/{name}")

    def run(self, run_id: str) -> Path:
        """A run's folder."""
        return self.path / "runs" / run_id

    def disk(self) -> Disk:
        """What the study uses, its columns' folders included."""
        sizes = {file: file.lstat().st_size for file in self.path.rglob("*") if file.is_file() and not file.is_symlink()}
        models = sum(size for file, size in sizes.items() if MODELS & set(file.relative_to(self.path).parts[:-1]))
        return Disk(sum(sizes.values()), models)

    def results(self) -> dict[str, Result]:
        """What came of the runs that have ended, by id."""
        files = sorted(self.path.glob(f"runs/*/{RESULT_FILE}"))
        return {result.run: result for file in files if (result := read_result(file.parent))}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder for this process; the system frees it when the process ends, however that happens.

        Raises:
            StudyError: another process holds it.
            ResourceError: it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.touch()
        except OSError as error:
            raise ResourceError(
                f"{self.path}: cannot be written ({error.strerror}); give another folder by --outputs."
            ) from None
        with taken(self._lock) as is_ours:
            if not is_ours:
                raise StudyError(f"{self.path}: the study is running already; wait for its end, or stop it first.")
            yield

    def clear(self) -> None:
        """Removes all that a study has left here; who does so must hold the folder."""
        for path in self.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._lock:
                path.unlink()

    def begin(self, study: Study, *, resume: bool) -> None:
        """Takes down the study, or makes sure that it is the one which was begun here.

        Raises:
            StudyError: the study was begun before and ``resume`` is not meant, or it is another one.
        """
        if self.study.exists():
            # What others published changes nothing that is run.
            begun = build(Study, read_yaml(self.study)).model_copy(update={"published": study.published})
            if begun != study:
                raise StudyError(
                    f"{self.path}: was begun with another study file (its study.yaml); "
                    "rename yours, or remove the folder to begin anew."
                )
            if self.is_finished and not resume:
                raise StudyError(
                    f"{self.path}: the study is finished (see {'table' if self.table.exists() else 'leaderboard'}.md); "
                    "remove the folder to run it anew."
                )
            if not resume:
                raise StudyError(
                    f"{self.path}: the study was begun before; add --resume to go on, or remove the folder to begin anew."
                )
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._id.exists():
            write_whole(self._id, uuid.uuid4().hex.encode())
        write_whole(self.study, write_yaml(study).encode())

    @property
    def id(self) -> str:
        """Tells this study from any other, also from one that was in this folder before."""
        return self._id.read_text()


def read_result(run_folder: Path) -> Result | None:
    """What came of a run; None where it has not ended."""
    file = run_folder / RESULT_FILE
    return Result.model_validate_json(file.read_bytes()) if file.exists() else None


def write_result(run_folder: Path, result: Result) -> None:
    """Takes down, whole or not at all, what came of a run."""
    run_folder.mkdir(parents=True, exist_ok=True)
    write_whole(run_folder / RESULT_FILE, result.model_dump_json(indent=1).encode())


def read_hypotheses(run_folder: Path) -> list[str]:
    """A run's translations of the test set."""
    return (run_folder / HYPOTHESES_FILE).read_text(encoding="utf-8").split("\n")[:-1]
