"""Work of a model on a text that processes share, shard by shard, such as its translation.

A shard is a fixed range of lines and has one file. A process that holds the lock of a shard works on it and writes its file
atomically. The lock of a killed process is released by the system, so that another process takes the shard. When all shards
have a file, one process concatenates them.
"""

import gzip
import hashlib
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import torch

from mtnat.errors import ModelError, ResourceError
from mtnat.files import taken, whole_file, write_whole
from mtnat.formats import FORMAT_FILE
from mtnat.training.model import Model, load_model, read_experiment

LINES_PER_SHARD = 1_000
"""Default size of a shard: a killed process loses at most this many lines. Lines are batched within a shard only, so that the
result does not depend on which process works on which shard."""
_SECONDS_BETWEEN_LOOKS = 0.5

Item = TypeVar("Item")


@dataclass(frozen=True)
class Text(Generic[Item]):
    """Lines, or pairs of lines, to work on."""

    read: Callable[[], Iterator[Item]]
    """Returns a new iterator over the lines."""
    lines: int
    """Number of lines."""
    digest: str
    """SHA-256 of the text."""


class Shards(ABC, Generic[Item]):
    """A file with a line for each line of a text, written by a model, in a folder of the cache.

    Any number of processes, on all machines that share the cache, may call `work` at once. Any of them may be killed at any
    time; the others then take its unfinished shards. The result does not depend on the number of processes, provided that their
    devices round equally.
    """

    def __init__(self, model: Path, text: Text[Item], folder: Path, name: str, lines_per_shard: int) -> None:
        """Prepares the work; nothing is computed yet.

        Args:
            model: a model folder with an AT decoder; see `teaching`.
            folder: named by a hash of everything that determines the result.
            name: name of the result's file.
        """
        self._model, self._lines_per_shard = model, lines_per_shard
        self.text = text
        """The text that is worked on."""
        self.folder = folder
        self.result = folder / name
        """Path of the result, compressed by gzip; it exists once the result is complete."""

    @abstractmethod
    def lines_for(self, model: Model, items: list[Item]) -> list[str]:
        """Returns the lines that the model writes for a shard."""

    @cached_property
    def shards(self) -> int:
        """Number of shards of the text."""
        return -(-self.text.lines // self._lines_per_shard)

    @property
    def done(self) -> int:
        """Number of finished shards."""
        return self.shards if self.is_complete else len(list(self._shards.glob("*.txt")))

    @property
    def is_complete(self) -> bool:
        """Whether the whole result is written."""
        return self.result.exists()

    def work(self, device: str | torch.device = "cpu") -> Iterator[int]:
        """Takes shards that no other process works on, and yields the number of each. Returns when the result is complete.

        Raises:
            ResourceError: the cache cannot be written.
        """
        if self.is_complete:
            self._clear()  # a process may have been killed after it completed the result and before it removed the shards
            return
        try:
            self._shards.mkdir(parents=True, exist_ok=True)
            yield from self._work(device)
        except OSError as error:
            if self.is_complete:  # another process has just completed the result and removed the shards
                return
            raise ResourceError(
                f"{self.folder}: cannot be written ({error.strerror}); set $MTNAT_CACHE to a folder with room."
            ) from None

    def _work(self, device: str | torch.device) -> Iterator[int]:
        model = load_model(self._model, device)
        while not self.is_complete:
            if any(self._is_free(number) for number in range(self.shards)):
                yield from self._take(model)
            else:
                self._join()
                if not self.is_complete:
                    # Other processes hold the remaining shards. Wait until they finish, or die and release their locks.
                    time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _take(self, model: Model) -> Iterator[int]:
        """Reads the text once and works on each shard that has no file and that no other process holds at that time."""
        lines = self.text.read()
        for number in range(self.shards):
            shard = list(islice(lines, self._lines_per_shard))
            path = self._shard(number)
            with taken(path.with_suffix(".lock")) as is_mine:
                # The file is checked under the lock: another process may have finished the shard in the meantime.
                if not is_mine or self.is_complete or path.exists():
                    continue
                write_whole(path, "".join(f"{line}\n" for line in self.lines_for(model, shard)).encode())
            yield number

    def _is_free(self, number: int) -> bool:
        path = self._shard(number)
        if path.exists():
            return False
        with taken(path.with_suffix(".lock")) as is_free:
            return is_free

    def _join(self) -> None:
        """Concatenates the shards if all are finished. One process does this; the result appears atomically to the others."""
        with taken(self.folder / "join.lock") as is_mine:
            paths = [self._shard(number) for number in range(self.shards)]
            if not is_mine or self.is_complete or not all(path.exists() for path in paths):
                return
            with whole_file(self.result) as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
                for path in paths:
                    file.write(path.read_bytes())
        self._clear()

    def _clear(self) -> None:
        """Removes the shards, which are not needed once the result is complete."""
        shutil.rmtree(self._shards, ignore_errors=True)

    @property
    def _shards(self) -> Path:
        return self.folder / "shards"

    def _shard(self, number: int) -> Path:
        return self._shards / f"{number:06d}.txt"


def teaching(model: Path) -> Path:
    """Returns the folder of a model that can write or score targets.

    Raises:
        ModelError: the folder contains no model with an AT decoder.
    """
    if not read_experiment(model).can_teach:
        raise ModelError(f"{model}: has no AT decoder, but a teacher needs one; give a model that was trained with one.")
    return model


def model_digest(folder: Path) -> str:
    """Returns the SHA-256 of the names and contents of all files in a model folder that affect its results."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FORMAT_FILE):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
