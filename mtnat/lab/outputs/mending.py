"""Damaged files of runs: what the other files allow to rebuild is set aside when a study resumes."""

from collections.abc import Iterator
from pathlib import Path

from mtnat.errors import StudyError
from mtnat.files import set_aside
from mtnat.lab.outputs.curves import CURVES_FILE, damaged_lines
from mtnat.lab.outputs.folder import RESULT_FILE, StudyFolder, read_result


def mend_runs(folder: StudyFolder) -> Iterator[str]:
    """Sets the damaged results of runs aside, and yields a sentence for each damaged file.

    A run without a result is executed again. If it has a model, nothing is trained again, and the result is the same except for
    its time.
    """
    for run_folder in sorted(folder.path.glob("runs/*")):
        if problem := _problem_of_result(run_folder):
            aside = set_aside(run_folder / RESULT_FILE)
            yield f"{run_folder / RESULT_FILE}: {problem}; set aside as {aside.name}, and the run's result is made again."
        if count := damaged_lines(run_folder):
            lines = "1 line is" if count == 1 else f"{count} lines are"
            yield f"{run_folder / CURVES_FILE}: {lines} damaged and left out of the curves."


def _problem_of_result(run_folder: Path) -> str | None:
    try:
        result = read_result(run_folder)
    except StudyError:
        return "is damaged, or of another version of mtnat"
    if result and result.run != run_folder.name:
        return f"is the result of {result.run}"
    return None
