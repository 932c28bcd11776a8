"""The number of micro-batches into which a run splits each batch; a file in its folder, so that it outlives the process."""

from pathlib import Path

from mtnat.files import write_whole

MOST_MICRO_BATCHES = 64
"""A run that still does not fit fails: smaller parts would not help."""
_FILE = "micro_batches"


def read_micro_batches(run_folder: Path) -> int:
    """Returns the number of micro-batches; 1 until memory has run out, and if the file is damaged."""
    try:
        count = int((run_folder / _FILE).read_bytes())
    except (OSError, ValueError):
        return 1
    return count if 1 <= count <= MOST_MICRO_BATCHES else 1


def write_micro_batches(run_folder: Path, count: int) -> None:
    """Sets the number of micro-batches for the next attempt."""
    write_whole(run_folder / _FILE, str(count).encode())


def double_micro_batches(run_folder: Path) -> None:
    """Doubles the number of micro-batches after a run's process was killed for lack of memory, up to `MOST_MICRO_BATCHES`."""
    write_micro_batches(run_folder, min(MOST_MICRO_BATCHES, 2 * read_micro_batches(run_folder)))
