"""Downloads: resumed where they were cut off, checked, and taken from a folder where somebody brought them."""

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mtnat.corpora.sources import Download
from mtnat.errors import DataError
from mtnat.files import taken

Listener = Callable[[str, int, int | None], None]
"""Is told a file's name, how many of its bytes or pairs are there, and how many there will be, if that is known."""

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60.0


def silent(name: str, done: int, total: int | None) -> None:
    """A listener that does nothing."""


def fetch(
    downloads: Iterable[Download], folder: Path, *, brought: Path | None = None, listener: Listener = silent
) -> dict[Download, Path]:
    """Where each file is: in `folder`, in `brought`, or, freshly downloaded, in `folder`.

    What was cut off goes on at the next call. Every file is checked against its digest, also where it was there before.
    Nobody else may write to `folder` meanwhile: see `alone`.

    Args:
        brought: a folder of files that came another way; nothing is written there.

    Raises:
        DataError: a file is another one than it should be, or some cannot be fetched, with the names of all of these.
    """
    found: dict[Download, Path] = {}
    wanted = list(dict.fromkeys(downloads))
    for download in wanted:
        for place in (folder, brought):
            if place and (place / download.name).is_file():
                path = place / download.name
                if problem := _difference(path, download, listener):
                    raise DataError(f"{path}: {problem}; remove it, or put the right one in its place.")
                found[download] = path
                break
    missing = [download for download in wanted if download not in found]
    for number, download in enumerate(missing):
        try:
            found[download] = _downloaded(download, folder, listener)
        except (OSError, http.client.HTTPException) as error:
            files = ", ".join(f"{each.name} ({each.url})" for each in missing[number:])
            raise DataError(
                f"{download.name}: cannot be fetched ({_reason(error)}); try again, or bring these files and name their folder "
                f"with --from: {files}."
            ) from None
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps a second process out of `folder`; the system frees the lock of a process that dies.

    Raises:
        DataError: another process is in, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / ".lock"
        lock.touch()
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); name another place with --output.") from None
    with taken(lock) as is_ours:
        if not is_ours:
            raise DataError(f"{folder}: another process is fetching into it; wait for its end.")
        yield


def sha256_of(path: Path, listener: Listener = silent) -> str:
    """SHA-256 of a file."""
    return _digest(path, "sha256", listener)


def _digest(path: Path, kind: str, listener: Listener) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    total, done = path.stat().st_size, 0
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                done += len(block)
                listener(f"checking {path.name}", done, total)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable, or remove it.") from None
    return digest.hexdigest()


def _difference(path: Path, download: Download, listener: Listener) -> str:
    """In which way a file is not the right one; nothing where it is, or where nothing is known of it."""
    if download.size is not None and path.stat().st_size != download.size:
        return f"is another file ({path.stat().st_size:,} bytes instead of {download.size:,})"
    for kind in ("sha256", "md5"):
        expected = getattr(download, kind)
        if expected and (got := _digest(path, kind, listener)) != expected:
            return f"is another file ({kind} {got} instead of {expected})"
    return ""


def _downloaded(download: Download, folder: Path, listener: Listener) -> Path:
    """The file in its place, after as many requests as bring it forward."""
    partial = folder / f"{download.name}.partial"
    while not _request(download, partial, listener):
        pass
    if problem := _difference(partial, download, listener):
        partial.unlink()
        raise DataError(f"{download.url}: what came {problem} and was not kept; try again, or bring the right one with --from.")
    return partial.rename(folder / download.name)


def _request(download: Download, partial: Path, listener: Listener) -> bool:
    """One request, appended to what is there; whether the file is now whole.

    Raises:
        OSError: the request brought nothing.
    """
    there = partial.stat().st_size if partial.exists() else 0
    if there and there == download.size:
        return True
    request = urllib.request.Request(download.url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
            total = _total(response, there if goes_on else 0)
            with partial.open("ab" if goes_on else "wb") as file:
                is_cut = not _received(response, file, download.name, total, listener)
                done = file.tell()
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not there:
            raise
        # All of it is there, or more than all, or the server's file has changed: the digest will tell, and else a new start.
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(there):
            return True
        partial.unlink()
        return False
    if is_cut and done <= there:
        raise ConnectionError(f"the connection ended after {done:,} bytes")
    return not is_cut


def _received(response: http.client.HTTPResponse, file: BinaryIO, name: str, total: int | None, listener: Listener) -> bool:
    """Writes what comes to `file`; whether it came to its end."""
    try:
        while block := response.read1(_BLOCK_BYTES):
            file.write(block)
            listener(name, file.tell(), total)
    except (ConnectionError, TimeoutError, http.client.IncompleteRead):
        return False
    return total is None or file.tell() >= total


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    """How many bytes the whole file has, if the server says so."""
    if ranged := re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", "")):
        return int(ranged[1])
    length = response.headers.get("Content-Length")
    return start + int(length) if length else None


def _reason(error: Exception) -> str:
    """In a few words why a file could not be fetched."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str((cause.strerror if isinstance(cause, OSError) else None) or cause or type(cause).__name__).split())
