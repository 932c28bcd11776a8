"""Downloads, which are resumed after an interruption and checked; a folder of files obtained in another way may serve too."""

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
"""Receives the name of a file, the bytes or pairs done so far, and their total, or None if it is unknown."""

_BLOCK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60.0


def silent(name: str, done: int, total: int | None) -> None:
    """A listener that does nothing."""


def fetch(
    downloads: Iterable[Download], folder: Path, *, brought: Path | None = None, listener: Listener = silent
) -> dict[Download, Path]:
    """Returns the path of each file: in `folder` or in `brought` if it is there, or else downloaded into `folder`.

    Interrupted downloads are resumed at the next call. Every file is checked against its size and digest, also one that was
    there before. No other process may write to `folder` meanwhile: see `alone`.

    Args:
        brought: a folder of files that were downloaded in another way; nothing is written there.
        listener: receives the progress.

    Raises:
        DataError: if a file differs from the expected one, or if files cannot be downloaded, with the names of all of them.
    """
    found: dict[Download, Path] = {}
    wanted = list(dict.fromkeys(downloads))
    for download in wanted:
        for place in (folder, brought):
            if place and (place / download.name).is_file():
                path = place / download.name
                if problem := _difference(path, download, listener):
                    raise DataError(f"{path}: {problem}; remove it, or replace it by the right file.")
                found[download] = path
                break
    missing = [download for download in wanted if download not in found]
    for number, download in enumerate(missing):
        try:
            found[download] = _downloaded(download, folder, listener)
        except (OSError, http.client.HTTPException) as error:
            files = ", ".join(f"{each.name} ({each.url})" for each in missing[number:])
            raise DataError(
                f"{download.name}: cannot be fetched ({_reason(error)}); try again, or download these files in another way and "
                f"name their folder with --from: {files}."
            ) from None
    return found


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Locks `folder` against other processes. The system frees the lock of a process that dies.

    Raises:
        DataError: if another process holds the lock, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / ".lock"
        lock.touch()
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); name another folder with --output.") from None
    with taken(lock) as is_ours:
        if not is_ours:
            raise DataError(f"{folder}: another process is downloading into it; wait until it has ended.")
        yield


def sha256_of(path: Path, listener: Listener = silent) -> str:
    """Returns the SHA-256 of a file."""
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
    """Describes how a file differs from the expected size and digests; empty if it does not or if none are known."""
    if download.size is not None and path.stat().st_size != download.size:
        return f"is another file ({path.stat().st_size:,} bytes instead of {download.size:,})"
    for kind in ("sha256", "md5"):
        expected = getattr(download, kind)
        if expected and (got := _digest(path, kind, listener)) != expected:
            return f"is another file ({kind} {got} instead of {expected})"
    return ""


def _downloaded(download: Download, folder: Path, listener: Listener) -> Path:
    """Downloads a file and returns its path; repeats interrupted requests as long as each of them receives more bytes."""
    partial = folder / f"{download.name}.partial"
    while not _request(download, partial, listener):
        pass
    if problem := _difference(partial, download, listener):
        partial.unlink()
        raise DataError(
            f"{download.url}: the download {problem} and was deleted; try again, or give the right file with --from."
        )
    return partial.rename(folder / download.name)


def _request(download: Download, partial: Path, listener: Listener) -> bool:
    """Sends one request and appends the response to `partial`; returns whether the file is now complete.

    Raises:
        OSError: if the request failed or the file did not grow.
    """
    there = partial.stat().st_size if partial.exists() else 0
    if there and there == download.size:
        return True
    request = urllib.request.Request(download.url, headers={"Range": f"bytes={there}-"} if there else {})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:
            # A server without support for ranges sends the file from its start, with status 200.
            is_resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
            total = _total(response, there if is_resumed else 0)
            with partial.open("ab" if is_resumed else "wb") as file:
                is_interrupted = not _received(response, file, download.name, total, listener)
                done = file.tell()
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not there:
            raise
        # The requested range begins at or beyond the end of the server's file. Either the partial file is complete, which the
        # digest then confirms, or it is longer than the server's file, so the download starts again.
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(there):
            return True
        partial.unlink()
        return False
    if is_interrupted and done <= there:
        raise ConnectionError(f"the connection ended after {done:,} bytes")
    return not is_interrupted


def _received(response: http.client.HTTPResponse, file: BinaryIO, name: str, total: int | None, listener: Listener) -> bool:
    """Writes the response to `file`; returns whether it was received completely."""
    try:
        while block := response.read1(_BLOCK_BYTES):
            file.write(block)
            listener(name, file.tell(), total)
    except (ConnectionError, TimeoutError, http.client.IncompleteRead):
        return False
    return total is None or file.tell() >= total


def _total(response: http.client.HTTPResponse, start: int) -> int | None:
    """Returns the number of bytes of the whole file, if the server states it."""
    if ranged := re.fullmatch(r"bytes \d+-\d+/(\d+)", response.headers.get("Content-Range", "")):
        return int(ranged[1])
    length = response.headers.get("Content-Length")
    return start + int(length) if length else None


def _reason(error: Exception) -> str:
    """Returns the short reason why a file could not be downloaded."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join(str((cause.strerror if isinstance(cause, OSError) else None) or cause or type(cause).__name__).split())
