"""A study's folder: the only record of what has been run. One driver at a time holds it."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

from pydantic import ValidationError

from mtnat.config import Record, build, read_yaml, write_yaml
from mtnat.errors import ResourceError, StudyError
from mtnat.files import taken, write_whole
from mtnat.formats import STUDY_FORMAT, check_format, write_format
from mtnat.lab.outputs.runs import Result
from mtnat.lab.study.record import Study, slug

RESULT_FILE, HYPOTHESES_FILE, STOP_FILE, LOCK_FILE = "run.json", "test.hyp.txt", "stop", "run.lock"
"""Files of a run's folder: its result; its translations of the test set; a request to end early; the lock of the process that
trains it."""
MODELS = frozenset({"model", "checkpoints", "best", "encoders"})
"""Folders, of a run or of the study, that contain weights."""

_RecordT = TypeVar("_RecordT", bound=Record)


class Disk(NamedTuple):
    """The disk usage of a folder in bytes."""

    bytes: int
    """All files."""
    models: int
    """Models and checkpoints."""


class StudyFolder:
    """``outputs/<study>/``: study.yaml, format.json, optuna.journal, runs/, and the study's reports.

    In a study with columns, each column has such a folder inside the study's, which itself has the table.
    """

    def __init__(self, path: Path, name: str | None = None) -> None:
        self.path = path.absolute()
        self.name = name or path.name
        self.study = self.path / "study.yaml"
        self._id = self.path / "study.id"
        self._lock = self.path / "study.lock"
        self.unsent = self.path / "mlflow.unsent"
        """Exists if MLflow may lack something of the study, because it did not answer."""
        self._smoke = self.path / "smoke"
        """Marks the folder of a smoke run."""
        self.journal = self.path / "optuna.journal"
        self.executor = self.path / ".tune"
        """Ray's own files, which are not read after a restart."""
        self.leaderboard = self.path / "leaderboard.json"
        self.report = self.path / "leaderboard.md"
        self.pareto = self.path / "pareto.png"
        """Only of a study with several metrics."""
        self.speed = self.path / "speed.png"
        """Only of a study with `confirm.speed_sentences`."""
        self.similarity, self.probing = self.path / "similarity.png", self.path / "probing.png"
        """Only of a study with these parts of `analysis`."""
        self.fidelity = self.path / "fidelity.json"
        """Only of a study with a horizon."""
        self.best_experiment = self.path / "best.yaml"
        self.best_model = self.path / "best"
        self.clock = self.path / "clock"
        """Running time of the study in seconds, over all its starts."""
        self.distillation = self.path / "distillation.json"
        """The teacher's text, once it is complete."""
        self.teacher = self.path / "teacher.path"
        """The path of the teacher's model folder, once it is trained or fetched."""
        self.reverse_distillation = self.path / "reverse_distillation.json"
        """The reverse teacher's text, once it is complete."""
        self.rejuvenation = self.path / "rejuvenation.json"
        """The text after rejuvenation, once it is complete."""
        self.table, self.table_markdown, self.table_latex = (self.path / f"table.{kind}" for kind in ("json", "md", "tex"))

    @property
    def is_finished(self) -> bool:
        """Whether the study has ended with its leaderboard, or its table."""
        return self.leaderboard.exists() or self.table.exists()

    def column(self, name: str) -> "StudyFolder":
        """Returns the folder of a column."""
        return StudyFolder(self.path / slug(name), f"{self.name}/{name}")

    def run(self, run_id: str) -> Path:
        """Returns the folder of a run."""
        return self.path / "runs" / run_id

    def teacher_model(self) -> Path | None:
        """Returns the model folder of the study's teacher; None if there is none."""
        return Path(self.teacher.read_text(encoding="utf-8")) if self.teacher.exists() else None

    def disk(self) -> Disk:
        """Returns the disk usage of the study, including its columns."""
        sizes = {file: file.lstat().st_size for file in self.path.rglob("*") if file.is_file() and not file.is_symlink()}
        models = sum(size for file, size in sizes.items() if MODELS & set(file.relative_to(self.path).parts[:-1]))
        return Disk(sum(sizes.values()), models)

    def check_format(self) -> None:
        """Checks that this version reads the folder. A folder that does not exist yet passes.

        Raises:
            StudyError: a newer version of mtnat wrote the folder.
        """
        check_format(self.path, STUDY_FORMAT, StudyError)

    def read_study(self) -> Study:
        """Returns the study that was begun in this folder.

        Raises:
            StudyError: a newer version of mtnat wrote the folder.
            ConfigError: study.yaml cannot be read.
        """
        self.check_format()
        return build(Study, read_yaml(self.study))

    def results(self) -> dict[str, Result]:
        """Returns the results of the runs that have ended, by id.

        Raises:
            StudyError: a result is damaged, or another version of mtnat wrote it.
        """
        self.check_format()
        files = sorted(self.path.glob(f"runs/*/{RESULT_FILE}"))
        return {result.run: result for file in files if (result := read_result(file.parent))}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Locks the folder for this process. The operating system releases the lock when the process ends in any way.

        Raises:
            StudyError: another process has the lock.
            ResourceError: the folder cannot be written.
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

    def clear_smoke(self) -> None:
        """Removes all files of an earlier smoke run. The caller must hold the lock.

        Raises:
            StudyError: the folder has something else.
        """
        own = {self._lock, self._smoke}
        others = [path for path in self.path.iterdir() if path not in own]
        if others and not self._smoke.exists():
            raise StudyError(
                f"{self.path}: is not the folder of a smoke run, which would be emptied; rename it, or give another folder by "
                "--outputs."
            )
        self._smoke.touch()
        for path in others:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def begin(self, study: Study, *, resume: bool) -> None:
        """Saves the study, or checks that it is the study that was begun in this folder.

        Raises:
            StudyError: the folder has another study, or the same one and ``resume`` is not set, or a newer version of mtnat
                wrote it.
        """
        self.check_format()
        if self.study.exists():
            # Published figures have no influence on the runs, so they may change.
            begun = self.read_study().model_copy(update={"published": study.published})
            if begun != study:
                raise StudyError(
                    f"{self.path}: was begun with another study file (its study.yaml); "
                    "rename yours, or remove the folder to start from the beginning."
                )
            if self.is_finished and not resume:
                raise StudyError(
                    f"{self.path}: the study is finished (see {'table' if self.table.exists() else 'leaderboard'}.md); "
                    "remove the folder to run it again."
                )
            if not resume:
                raise StudyError(
                    f"{self.path}: the study was begun before; add --resume to continue, "
                    "or remove the folder to start from the beginning."
                )
        self.path.mkdir(parents=True, exist_ok=True)
        if not self._id.exists():
            write_whole(self._id, uuid.uuid4().hex.encode())
        write_format(self.path, STUDY_FORMAT)  # before study.yaml, which marks the study as begun
        write_whole(self.study, write_yaml(study).encode())

    @property
    def id(self) -> str:
        """A unique id of this study; another study in the same folder has another one."""
        return self._id.read_text()


def read_record(record: type[_RecordT], file: Path) -> _RecordT:
    """Reads a JSON file of a study's folder.

    Raises:
        StudyError: the file is missing or damaged, or another version of mtnat wrote it.
    """
    try:
        return record.model_validate_json(file.read_bytes())
    except OSError as error:
        raise StudyError(f"{file}: cannot be read ({error.strerror}); give the folder of another study.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise StudyError(
            f"{file}: is damaged or of another version of mtnat ({f'{where}: ' if where else ''}{first['msg']}); "
            "use the version that wrote it, or remove the study's folder to run the study again."
        ) from None


def read_result(run_folder: Path) -> Result | None:
    """Returns the result of a run; None if it has not ended.

    Raises:
        StudyError: the result is damaged, or another version of mtnat wrote it.
    """
    file = run_folder / RESULT_FILE
    return read_record(Result, file) if file.exists() else None


def write_result(run_folder: Path, result: Result) -> None:
    """Writes the result of a run atomically."""
    run_folder.mkdir(parents=True, exist_ok=True)
    write_whole(run_folder / RESULT_FILE, result.model_dump_json(indent=1).encode())


def read_hypotheses(run_folder: Path) -> list[str]:
    """Returns a run's translations of the test set."""
    return (run_folder / HYPOTHESES_FILE).read_text(encoding="utf-8").split("\n")[:-1]
