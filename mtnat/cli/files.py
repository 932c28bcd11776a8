"""Text files that a command's options name."""

from collections.abc import Iterator
from pathlib import Path

from mtnat.data.corpus import read_lines
from mtnat.errors import DataError


def lines_of(option: str, path: Path) -> Iterator[str]:
    """Returns the lines of a text file, plain or compressed.

    Args:
        option: the option that names the file, for messages.

    Raises:
        DataError: the file does not exist or is no text.
    """
    if not path.exists():  # the message of read_lines would mention $MTNAT_DATA, which these paths do not use
        raise DataError(f"{option} {path}: no such file; give a text file, plain or .gz.")
    return iter(read_lines(path))
