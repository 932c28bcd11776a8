"""Format versions of what outlives the version of mtnat that wrote it: model folders, study folders and checkpoints.

A folder has its format in ``format.json``, as in ``{"format": 1, "mtnat": "0.2.0"}``; a checkpoint has the same two entries.
A folder or a checkpoint without them was written before mtnat 0.2.0, and is read like format 1. `docs/formats.md` lists the
formats, and says when a number is raised.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mtnat import __version__
from mtnat.errors import UserError
from mtnat.files import write_whole

MODEL_FORMAT, STUDY_FORMAT, CHECKPOINT_FORMAT = 1, 1, 1
"""The newest formats that this version reads, which are also the ones that it writes."""
FORMAT_FILE = "format.json"
_FORMAT, _WRITER = "format", "mtnat"


def format_entries(number: int) -> dict[str, Any]:
    """Returns the entries for a format: its number, and the version of mtnat that writes it."""
    return {_FORMAT: number, _WRITER: __version__}


def write_format(folder: Path, number: int) -> None:
    """Writes the format of a folder atomically."""
    write_whole(folder / FORMAT_FILE, f"{json.dumps(format_entries(number))}\n".encode())


def check_format(folder: Path, newest: int, error: type[UserError]) -> None:
    """Checks that this version reads a folder. A folder without `FORMAT_FILE` passes.

    Args:
        newest: the newest format that this version reads.
        error: the class of the error.

    Raises:
        UserError: the format is newer, or its file is damaged.
    """
    file = folder / FORMAT_FILE
    try:
        entries = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError):  # of undecodable bytes or of text that is no JSON
        entries = None
    if not isinstance(entries, dict) or not _is_format(entries.get(_FORMAT)):
        raise error(f'{file}: must contain a format, such as {{"format": {newest}}}; copy the folder again.')
    check_entries(entries, folder, newest, error)


def check_entries(entries: Mapping[str, Any], where: Path, newest: int, error: type[UserError]) -> None:
    """Checks that this version reads a file or a folder with these entries. Entries without a format pass.

    Args:
        where: the file or the folder.
        newest: the newest format that this version reads.
        error: the class of the error.

    Raises:
        UserError: the format is newer.
    """
    if entries.get(_FORMAT, newest) <= newest:
        return
    known = "format 1" if newest == 1 else f"formats 1 to {newest}"
    writer = entries.get(_WRITER)
    remedy = f"mtnat {writer} or newer" if writer else "a newer mtnat"
    raise error(f"{where}: has format {entries[_FORMAT]}, and this version of mtnat reads {known}; install {remedy}.")


def _is_format(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1
