"""The files of a run while it runs: in a folder that all machines share, or on one machine and in a storage."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, wraps
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from pyarrow import fs

from mtnat.data.dataset import default_cache
from mtnat.errors import ConfigError
from mtnat.files import locked, whole_file
from mtnat.lab.outputs.folder import LOCK_FILE, RESULT_FILE, STOP_FILE, StudyFolder

CHECKPOINTS = "checkpoints/"
"""The part of a run's folder that only the run itself needs."""
_MANIFEST, _OBJECTS = "manifest.json", "objects"
_BLOCK = 2**22
_WAITS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 60.0, 60.0)
"""Seconds between the attempts of an operation that an object store does not carry out, four minutes in all."""
_Arguments = ParamSpec("_Arguments")
_Returned = TypeVar("_Returned")


def _repeated(operation: Callable[_Arguments, _Returned]) -> Callable[_Arguments, _Returned]:
    """Repeats an operation after errors of the object store, such as throttling. It may be repeated at any point, because it
    skips what is done and has no effect before it is complete.

    The client of S3 repeats requests itself, but not those to read a small object.
    """

    @wraps(operation)
    def repeated(*arguments: _Arguments.args, **options: _Arguments.kwargs) -> _Returned:
        for wait in _WAITS:
            try:
                return operation(*arguments, **options)
            except OSError as error:
                if error.errno is not None:  # of the file system of this machine
                    raise
            time.sleep(wait)
        return operation(*arguments, **options)

    return repeated


class Storage(Protocol):
    """Exchanges files between the machine where a run is trained, the worker, and the machine of the driver."""

    @property
    def workplace(self) -> StudyFolder:
        """The folder on the worker's machine that has the folders of runs in progress."""
        ...

    @property
    def executor(self) -> str:
        """Folder or URI of Ray's own files, which every machine must be able to open."""
        ...

    def restore(self, run: str) -> None:
        """Worker, before a run starts: restores the run's folder as it was last sent."""

    def send(self, run: str) -> None:
        """Worker: sends the run's folder, so that it outlives the machine."""

    def bring(self, run: str, other: str) -> Path:
        """Worker: downloads what another run has sent, except checkpoints, and returns its folder. Only `run` reads it."""
        ...

    def leave(self, run: str) -> None:
        """Worker, after a run has ended: removes the run's folder if it is a copy, and those of `bring`."""

    def fetch_stop(self, run: str) -> None:
        """Worker: creates the file `STOP_FILE` in the run's folder if the driver has called `stop`."""

    def fetch(self, run: str) -> Path:
        """Driver: downloads what a run has sent, except checkpoints, and returns the run's folder."""
        ...

    def fetch_all(self) -> None:
        """Driver, when a study resumes: calls `fetch` for every run that has no result here."""

    def stop(self, run: str) -> None:
        """Driver: requests that a run ends early."""

    def clear_executor(self) -> None:
        """Driver: removes Ray's own files."""


@dataclass(frozen=True)
class SharedFolder:
    """A file system that all machines share: runs work in the study's folder itself, and nothing has to be sent."""

    path: Path

    @property
    def workplace(self) -> StudyFolder:
        return StudyFolder(self.path)

    @property
    def executor(self) -> str:
        return str(self.workplace.executor)

    def restore(self, run: str) -> None:
        pass

    def send(self, run: str) -> None:
        pass

    def bring(self, run: str, other: str) -> Path:
        return self.workplace.run(other)

    def leave(self, run: str) -> None:
        pass

    def fetch_stop(self, run: str) -> None:
        pass

    def fetch(self, run: str) -> Path:
        return self.workplace.run(run)

    def fetch_all(self) -> None:
        pass

    def stop(self, run: str) -> None:
        (self.workplace.run(run) / STOP_FILE).touch()

    def clear_executor(self) -> None:
        shutil.rmtree(self.executor, ignore_errors=True)


@dataclass(frozen=True)
class RemoteFolder:
    """A folder in an object store, or any other folder that pyarrow can open.

    It stores the files of a run under their hashes, and a manifest with the name and hash of each file of the run's folder.
    The manifest is written last, so an incomplete transfer has no effect. Files that are stored already are not sent again.
    """

    uri: str
    study: str
    """The study's id, which separates its runs from those of other studies, on this machine and in the storage."""
    path: Path
    """The study's folder on the driver's machine."""

    @property
    def workplace(self) -> StudyFolder:
        scratch = os.environ.get("MTNAT_SCRATCH")
        return StudyFolder((Path(scratch) if scratch else default_cache() / "scratch") / self.study)

    @property
    def executor(self) -> str:
        return f"{self.uri.rstrip('/')}/{self.study}/ray"

    @_repeated
    def restore(self, run: str) -> None:
        folder = self.workplace.run(run)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK_FILE):
            if (manifest := self._manifest(run)) is None:
                return  # nothing was ever sent; the files of an earlier process on this machine are the newest
            for name in sent_files(folder) - manifest.keys():
                (folder / name).unlink()
            self._bring(run, manifest, folder)

    @_repeated
    def send(self, run: str) -> None:
        folder, before = self.workplace.run(run), self._manifest(run) or {}
        manifest = {name: _hash(folder / name) for name in sorted(sent_files(folder))}
        if manifest == before:
            return
        self._remote.create_dir(self._of(run, _OBJECTS), recursive=True)
        new = {digest: name for name, digest in manifest.items() if digest not in before.values()}
        for digest, name in new.items():
            self._upload(folder / name, self._of(run, _OBJECTS, digest))
        self._commit(run, manifest)
        for digest in set(before.values()) - set(manifest.values()):
            self._remote.delete_file(self._of(run, _OBJECTS, digest))

    @_repeated
    def bring(self, run: str, other: str) -> Path:
        folder = self._brought(run) / other
        self._bring_lasting(other, folder)
        return folder

    def leave(self, run: str) -> None:
        shutil.rmtree(self.workplace.run(run), ignore_errors=True)
        shutil.rmtree(self._brought(run), ignore_errors=True)

    @_repeated
    def fetch_stop(self, run: str) -> None:
        if self._exists(self._of(run, STOP_FILE)):
            (self.workplace.run(run) / STOP_FILE).touch()

    @_repeated
    def fetch(self, run: str) -> Path:
        folder = StudyFolder(self.path).run(run)
        self._bring_lasting(run, folder)
        return folder

    @_repeated
    def fetch_all(self) -> None:
        selector = fs.FileSelector(self._place("runs"), allow_not_found=True)
        for found in self._remote.get_file_info(selector):
            if not (StudyFolder(self.path).run(found.base_name) / RESULT_FILE).exists():
                self.fetch(found.base_name)

    @_repeated
    def stop(self, run: str) -> None:
        self._remote.create_dir(self._of(run), recursive=True)
        with self._remote.open_output_stream(self._of(run, STOP_FILE)):
            pass

    @_repeated
    def clear_executor(self) -> None:
        place = self._place("ray")
        if self._exists(place):
            self._remote.delete_dir(place)

    @cached_property
    def _filesystem(self) -> tuple[fs.FileSystem, str]:
        return open_uri(self.uri)

    @property
    def _remote(self) -> fs.FileSystem:
        return self._filesystem[0]

    def _place(self, *parts: str) -> str:
        return "/".join((self._filesystem[1].rstrip("/"), self.study, *parts))

    def _of(self, run: str, *parts: str) -> str:
        return self._place("runs", run, *parts)

    def _exists(self, place: str) -> bool:
        return bool(self._remote.get_file_info(place).type != fs.FileType.NotFound)

    def _manifest(self, run: str) -> dict[str, str] | None:
        """Returns the hash of each file that was last sent; None if nothing was sent."""
        place = self._of(run, _MANIFEST)
        if not self._exists(place):
            return None
        with self._remote.open_input_stream(place) as stream:
            manifest: dict[str, str] = json.loads(stream.read())
        return manifest

    def _commit(self, run: str, manifest: dict[str, str]) -> None:
        partial = self._of(run, f"{_MANIFEST}.partial")
        with self._remote.open_output_stream(partial) as stream:
            stream.write(json.dumps(manifest, indent=1).encode())
        self._remote.move(partial, self._of(run, _MANIFEST))

    def _upload(self, file: Path, place: str) -> None:
        with file.open("rb") as source, self._remote.open_output_stream(place) as stream:
            shutil.copyfileobj(source, stream, _BLOCK)

    def _brought(self, run: str) -> Path:
        """Returns the folder of the runs that a run on this machine reads."""
        return self.workplace.path / "brought" / run

    def _bring_lasting(self, run: str, folder: Path) -> None:
        """Downloads all files of a run except its checkpoints."""
        manifest = self._manifest(run) or {}
        self._bring(run, {name: digest for name, digest in manifest.items() if not name.startswith(CHECKPOINTS)}, folder)

    def _bring(self, run: str, manifest: Mapping[str, str], folder: Path) -> None:
        """Downloads the files that the folder lacks."""
        for name, digest in manifest.items():
            path = folder / name
            if path.exists() and _hash(path) == digest:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._remote.open_input_stream(self._of(run, _OBJECTS, digest)) as stream, whole_file(path) as file:
                shutil.copyfileobj(stream, file, _BLOCK)


def open_uri(uri: str) -> tuple[fs.FileSystem, str]:
    """Returns the file system of a URI, and the folder in it.

    Raises:
        ConfigError: the URI cannot be opened.
    """
    try:
        filesystem, folder = fs.FileSystem.from_uri(uri)
        filesystem.get_file_info(folder)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:300].rstrip(".")
        raise ConfigError(
            f"--storage: {uri} cannot be opened ({reason}); give s3://…, gs://…, abfs://… or file:///…."
        ) from None
    return filesystem, folder


def study_storage(uri: str | None, folder: StudyFolder) -> Storage:
    """Returns the storage of a study that has begun.

    Args:
        uri: None if all machines share the study's folder.
    """
    return RemoteFolder(uri, folder.id, folder.path) if uri else SharedFolder(folder.path)


def sent_files(folder: Path) -> set[str]:
    """Returns the files of a run's folder that are sent: all except locks, requests to stop, and incomplete files."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.name not in (LOCK_FILE, STOP_FILE) and not path.name.startswith(".")}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
