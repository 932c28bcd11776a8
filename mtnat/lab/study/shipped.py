"""The study files that are part of the package."""

from pathlib import Path

from mtnat.config import nearest
from mtnat.errors import UserError

STUDIES = Path(__file__).parents[2] / "studies"
"""The folder of the study files; in a checkout, a link to the folder ``studies`` of the repository."""


def shipped_studies() -> list[str]:
    """Returns the names of the study files, such as ``quickstart`` and ``paper/table2-grammar``."""
    return sorted(file.relative_to(STUDIES).with_suffix("").as_posix() for file in STUDIES.rglob("*.yaml"))


def find_study(study: Path) -> Path:
    """Returns the path of a study file: that of an existing file, or that of the study of the package with this name.

    Raises:
        UserError: there is neither such a file nor such a study.
    """
    if study.exists() and not study.is_dir():
        return study
    names = shipped_studies()
    if study.as_posix() in names:
        return STUDIES / f"{study.as_posix()}.yaml"
    hint = nearest(study.as_posix().removeprefix("studies/").removesuffix(".yaml"), names)
    known = f"; give the path of a YAML file, or one of {', '.join(names)}."
    raise UserError(f"{study}: no such file, and no study of mtnat has this name{hint or known}")
