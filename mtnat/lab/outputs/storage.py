"""Where a run's files are while it runs: in a folder that all machines see, or on one of them and in a storage they share."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from pyarrow import fs

from mtnat.data.dataset import default_cache
from mtnat.errors import ConfigError
from mtnat.files import locked, whole_file
from mtnat.lab.outputs.folder import LOCK_FILE, RESULT_FILE, STOP_FILE, StudyFolder

CHECKPOINTS = "checkpoints/"
"""Where a run's folder has what only the run itself needs."""
_MANIFEST, _OBJECTS = "manifest.json", "objects"
_BLOCK = 2**22


class Storage(Protocol):
    """The way between where a run runs and where the study is driven."""

    @property
    def workplace(self) -> StudyFolder:
        """Under which, on this machine, runs have their folders while they run."""
        ...

    @property
    def executor(self) -> str:
        """Folder or URI for Ray's own files, which must be seen from everywhere."""
        ...

    def restore(self, run: str) -> None:
        """Where it runs, before it starts: makes its folder as it was when it was last sent."""

    def send(self, run: str) -> None:
        """Where it runs: takes care that what is in its folder outlives the machine."""

    def leave(self, run: str) -> None:
        """Where it ran: its folder is no longer needed there."""

    def hear(self, run: str) -> None:
        """Where it runs: puts the file `STOP_FILE` in its folder, if the driver wished so."""

    def fetch(self, run: str) -> Path:
        """At the driver: brings what a run has sent, except checkpoints, to the run's folder there, and returns that folder."""
        ...

    def fetch_all(self) -> None:
        """At the driver of a study that goes on: the same of every run, where the driver knows of no result."""

    def stop(self, run: str) -> None:
        """At the driver: wishes that a run end early."""

    def clear_executor(self) -> None:
        """At the driver: removes Ray's own files."""


@dataclass(frozen=True)
class SharedFolder:
    """The study's folder itself."""

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

    def leave(self, run: str) -> None:
        pass

    def hear(self, run: str) -> None:
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
    """A folder of an object store, or any other that pyarrow can open.

    For each run it holds its files under their hashes and, written last, a manifest that says which of them make up the run's
    folder. So one that was sent halfway changes nothing, and what is there already is not sent again.
    """

    uri: str
    study: str
    """The study's id, by which its runs lie apart from those of others, here and in the storage."""
    path: Path
    """The study's folder at the driver."""

    @property
    def workplace(self) -> StudyFolder:
        scratch = os.environ.get("MTNAT_SCRATCH")
        return StudyFolder((Path(scratch) if scratch else default_cache() / "scratch") / self.study)

    @property
    def executor(self) -> str:
        return f"{self.uri.rstrip('/')}/{self.study}/ray"

    def restore(self, run: str) -> None:
        folder = self.workplace.run(run)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / LOCK_FILE):
            if (manifest := self._manifest(run)) is None:
                return  # nothing was ever sent; what a process on this machine left is all there is
            for name in sent_files(folder) - manifest.keys():
                (folder / name).unlink()
            self._bring(run, manifest, folder)

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

    def leave(self, run: str) -> None:
        shutil.rmtree(self.workplace.run(run), ignore_errors=True)

    def hear(self, run: str) -> None:
        if self._exists(self._of(run, STOP_FILE)):
            (self.workplace.run(run) / STOP_FILE).touch()

    def fetch(self, run: str) -> Path:
        folder = StudyFolder(self.path).run(run)
        manifest = self._manifest(run) or {}
        wanted = {name: digest for name, digest in manifest.items() if not name.startswith(CHECKPOINTS)}
        self._bring(run, wanted, folder)
        return folder

    def fetch_all(self) -> None:
        selector = fs.FileSelector(self._place("runs"), allow_not_found=True)
        for found in self._remote.get_file_info(selector):
            if not (StudyFolder(self.path).run(found.base_name) / RESULT_FILE).exists():
                self.fetch(found.base_name)

    def stop(self, run: str) -> None:
        self._remote.create_dir(self._of(run), recursive=True)
        with self._remote.open_output_stream(self._of(run, STOP_FILE)):
            pass

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
        """Hash by file of what was sent last; None where nothing was."""
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

    def _bring(self, run: str, manifest: Mapping[str, str], folder: Path) -> None:
        """Downloads what the folder does not have."""
        for name, digest in manifest.items():
            path = folder / name
            if path.exists() and _hash(path) == digest:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._remote.open_input_stream(self._of(run, _OBJECTS, digest)) as stream, whole_file(path) as file:
                shutil.copyfileobj(stream, file, _BLOCK)


def open_uri(uri: str) -> tuple[fs.FileSystem, str]:
    """The file system of a URI, and the folder in it.

    Raises:
        ConfigError: there is no such kind.
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
    """Where the files of a study's runs are; of one that has begun."""
    return RemoteFolder(uri, folder.id, folder.path) if uri else SharedFolder(folder.path)


def sent_files(folder: Path) -> set[str]:
    """The files of a run's folder that are sent: all except locks, wishes to stop, and files that are being written."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.name not in (LOCK_FILE, STOP_FILE) and not path.name.startswith(".")}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
