"""Files that are seen whole or not at all, and locks that the system frees when their holder dies."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that appears in its place, safe on the disk, when the block has ended without an error.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        with suppress(OSError):
            partial.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that whoever looks sees the former content or all of the new one."""
    with whole_file(path) as file:
        file.write(content)


def copy_whole(source: Path, path: Path) -> None:
    """Copies a file so that no reader ever sees half of it."""
    with source.open("rb") as original, whole_file(path) as file:
        shutil.copyfileobj(original, file)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds a lock, once whoever has it lets it go."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def taken(path: Path) -> Iterator[bool]:
    """Holds a lock where nobody else does, and says whether it does."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
