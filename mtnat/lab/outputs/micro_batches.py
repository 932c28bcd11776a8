"""Into how many micro-batches a run cuts each batch, kept in its folder so that whoever goes on with it knows."""

from pathlib import Path

from mtnat.files import write_whole

MOST_MICRO_BATCHES = 64
"""What then does not fit is not for want of cutting."""
_FILE = "micro_batches"


def read_micro_batches(run_folder: Path) -> int:
    """1 until memory ran out."""
    file = run_folder / _FILE
    return int(file.read_text()) if file.exists() else 1


def write_micro_batches(run_folder: Path, count: int) -> None:
    """Takes down what the next try begins with."""
    write_whole(run_folder / _FILE, str(count).encode())


def halve_batches(run_folder: Path) -> None:
    """For whoever sees that a run's process was killed for want of memory: its next try needs half of it, if it can."""
    write_micro_batches(run_folder, min(MOST_MICRO_BATCHES, 2 * read_micro_batches(run_folder)))
