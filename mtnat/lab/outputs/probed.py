"""What the classifiers of probing tasks have found in the encoder of a run: ``probing.json`` in its folder."""

from pathlib import Path

from pydantic import ValidationError

from mtnat.config import Record
from mtnat.files import write_whole

PROBING_FILE = "probing.json"
Folds = tuple[float, ...]
"""The accuracy of each fold, from 0 to 1."""


class ProbedTask(Record):
    """The accuracies of one run on one task."""

    task: str
    sentences: int
    classes: int
    updates: int
    """Number of updates of each classifier."""
    untrained: Folds
    """With the weights before the training."""
    final: Folds
    """With the final model."""
    majority: Folds | None = None
    """Of the most frequent label; only in one run of a study, since it is the same for all."""
    bag_of_words: Folds | None = None
    """Of a linear classifier of word counts; likewise."""


class ProbedTasks(Record):
    """All tasks that have been probed so far."""

    tasks: tuple[ProbedTask, ...] = ()


def read_probed(run_folder: Path) -> tuple[ProbedTask, ...]:
    """Returns the tasks that were probed; none if the file is missing or damaged, so that they are probed again."""
    try:
        return ProbedTasks.model_validate_json((run_folder / PROBING_FILE).read_bytes()).tasks
    except (OSError, ValidationError):
        return ()


def write_probed(run_folder: Path, tasks: tuple[ProbedTask, ...]) -> None:
    """Writes the tasks atomically."""
    write_whole(run_folder / PROBING_FILE, ProbedTasks(tasks=tasks).model_dump_json(indent=1).encode())
