"""Files that are written atomically, a check of their paths, and locks that the system frees when their process dies."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mtnat.errors import UserError

FULL = ("No space left on device", "Disk quota exceeded", "disk is full")
"""Words of the errors of the system and of SQLite after which room has to be made on a disk."""
DAMAGED = "damaged-"
"""Beginning of the name of a damaged file that was set aside."""


def is_compressed(path: Path) -> bool:
    """Returns whether a file is compressed, by its name: ``.gz`` in upper or lower case."""
    return path.suffix.lower() == ".gz"


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file, which is synchronised to disk and renamed to `path` when the block ends without an error.

    A link keeps pointing to its file, which is replaced. A device such as ``/dev/null`` is written to directly.

    Raises:
        OSError: if the file cannot be written.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        with path.open("wb") as device:
            yield device
        return
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
    """Writes a file atomically: readers see either the former content or all of the new one."""
    with whole_file(path) as file:
        file.write(content)


def disk_is_full(error: BaseException | None) -> bool:
    """Returns whether an error, or one that led to it, means that a disk is full.

    Libraries raise errors of their own while they handle that of the system.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if any(words in str(error) for words in FULL):
            return True
        error = error.__cause__ or error.__context__
    return False


def too_long_a_name(error: BaseException) -> str | None:
    """Returns the message about a name that no file can have because of its length; None for any other error."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{error.filename or 'a path'}: the name is too long for a file; give a shorter one."
    return None


def check_not_an_input(option: str, path: Path, inputs: Iterable[Path | int]) -> None:
    """Checks that a file that is going to be written is none of the files that are read, also by way of links.

    Args:
        option: the option that names the file, for the message.
        inputs: paths, which need not exist, or descriptors of open files.

    Raises:
        UserError: it is one of them.
    """
    try:
        output = path.stat()
    except OSError:
        return  # a file that does not exist yet
    if not stat.S_ISREG(output.st_mode):
        return
    for each in inputs:
        with suppress(OSError):
            if os.path.samestat(output, os.stat(each)):
                raise UserError(f"{option} {path}: is also an input, which would be lost; give another path.")


def check_writable(option: str, path: Path) -> None:
    """Checks that a file can be written, before the time for its content is spent.

    Args:
        option: the option that names the file, for the message.

    Raises:
        UserError: its folder does not exist, it is a folder itself, or it may not be written.
    """
    existed = os.path.lexists(path)  # also a link to a file that does not exist yet
    try:
        path.open("ab").close()
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written ({error.strerror}); give another path.") from None
    if not existed:
        path.unlink()


def copy_whole(source: Path, path: Path) -> None:
    """Copies a file atomically: readers never see a part of it."""
    with source.open("rb") as original, whole_file(path) as file:
        shutil.copyfileobj(original, file)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for an exclusive lock on a file and holds it while the context is open."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def taken(path: Path) -> Iterator[bool]:
    """Tries to take an exclusive lock on a file without waiting, and yields whether it holds the lock."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def set_aside(path: Path) -> Path:
    """Renames a damaged file or folder, so that it is out of the way but not lost, and returns its new path."""
    aside = path.with_name(f"{DAMAGED}{path.name}")
    if aside.is_dir() and not aside.is_symlink():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
    return path.replace(aside)
