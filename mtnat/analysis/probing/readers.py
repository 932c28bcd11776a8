"""Reads probing tasks from files. The columns of a file are separated by tabs.

- SentEval (Conneau and Kiela 2018): split (tr, va or te), label, sentence.
- Two columns: sentence, label.
- Trees: a constituent tree in brackets; columns before it are not read.

A file is a task, and a folder of files is one task too. Splits are joined, since cross-validation splits anew.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mtnat.analysis.probing.tasks import ProbingTask, without_repeats
from mtnat.analysis.probing.trees import Tree, parse_tree, tree_tasks
from mtnat.data.corpus import read_lines
from mtnat.errors import DataError

ENDS = (".txt", ".tsv", ".txt.gz", ".tsv.gz")
"""How the names of files of tasks end."""
_SPLITS = ("tr", "va", "te")


class _Row(NamedTuple):
    place: str
    """The file and the line, for messages."""
    columns: list[str]


def read_tasks(folder: Path) -> list[ProbingTask]:
    """Reads all tasks of a folder, by name. Files named README or LICENSE are left out.

    Raises:
        DataError: the folder contains no tasks, or a file is wrong.
    """
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror}); give a folder of probing tasks.") from None
    tasks: list[ProbingTask] = []
    for entry in entries:
        files = (
            sorted(file for file in entry.iterdir() if _is_task(file)) if entry.is_dir() else [entry] if _is_task(entry) else []
        )
        if files:
            tasks += read_files(files, entry.name if entry.is_dir() else entry.name.partition(".")[0])
    if not tasks:
        raise DataError(f"{folder}: contains no file whose name ends with {', '.join(ENDS)}; give a folder of probing tasks.")
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{folder}: two tasks have the name {twice[0]}; rename a file, or put both files into one folder.")
    return tasks


def read_files(files: list[Path], name: str) -> list[ProbingTask]:
    """Reads the files of a task: one task, or two if the files contain trees.

    Raises:
        DataError: a file is wrong.
    """
    rows = [row for file in files for row in _rows(file)]
    if not rows:
        raise DataError(f"{files[0]}: is empty; give a file with a labelled sentence on each line.")
    first = rows[0].columns
    if _looks_like_tree(first[-1]):
        return tree_tasks(name, _trees(rows))
    if len(first) == 1:
        raise DataError(f"{rows[0].place}: has one column; give sentence TAB label, split TAB label TAB sentence, or a tree.")
    labelled = _senteval(rows) if first[0] in _SPLITS and len(first) == 3 else _two_columns(rows)
    return [without_repeats(name, labelled)]


def _is_task(file: Path) -> bool:
    is_about = file.name.partition(".")[0].upper() in ("README", "LICENSE")
    return file.is_file() and file.name.endswith(ENDS) and not is_about and not file.name.startswith(".")


def _rows(file: Path) -> Iterator[_Row]:
    for number, line in enumerate(read_lines(file), 1):
        if line.strip():
            yield _Row(f"{file}, line {number}", line.split("\t"))


def _senteval(rows: list[_Row]) -> Iterator[tuple[str, str]]:
    """Yields the sentences with their labels; a label of a test sentence has to occur in the training sentences."""
    wanted = "split TAB label TAB sentence"
    trained: set[str] = set()
    for row in rows:
        split, label, _ = _checked(row, wanted, 3)
        if split not in _SPLITS:
            raise DataError(f"{row.place}: has the unknown split {split!r}; give one of {', '.join(_SPLITS)}.")
        if split == "tr":
            trained.add(label)
    for row in rows:
        split, label, sentence = row.columns
        if trained and label.strip() not in trained:
            raise DataError(f"{row.place}: has the label {label!r}, which no line of the split tr has; correct the label.")
        yield sentence.strip(), label.strip()


def _two_columns(rows: list[_Row]) -> Iterator[tuple[str, str]]:
    for row in rows:
        sentence, label = _checked(row, "sentence TAB label", 2)
        yield sentence, label


def _checked(row: _Row, wanted: str, columns: int) -> list[str]:
    """Returns the columns of a row without surrounding spaces."""
    if len(row.columns) != columns:
        raise DataError(f"{row.place}: has {len(row.columns)} columns instead of {columns}; give {wanted}.")
    cleaned = [column.strip() for column in row.columns]
    if not all(cleaned):
        raise DataError(f"{row.place}: column {cleaned.index('') + 1} is empty; give {wanted}.")
    return cleaned


def _looks_like_tree(text: str) -> bool:
    return text.strip().startswith("(") and text.strip().endswith(")") and text.count("(") > 1


def _trees(rows: list[_Row]) -> Iterator[Tree]:
    for row in rows:
        try:
            yield parse_tree(row.columns[-1])
        except ValueError as error:
            raise DataError(f"{row.place}: {error}; give a tree such as (S (NP (PRP She)) (VP (VBD slept))).") from None
