"""Sequence-level knowledge distillation: processes share the translation of the training sources by a teacher, shard by shard.

A shard is a fixed range of lines and has one file. A process that holds the lock of a shard translates it and writes its file
atomically. The lock of a killed process is released by the system, so that another process translates the shard. When all
shards have a file, one process concatenates them.
"""

import gzip
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import torch

from mtnat.data import DataConfig
from mtnat.data.corpus import open_raw_corpus, scan
from mtnat.data.corpus import read_lines as read_text
from mtnat.data.dataset import default_cache
from mtnat.decoding import Decoding
from mtnat.errors import DataError, ModelError, ResourceError
from mtnat.files import taken, whole_file, write_whole
from mtnat.formats import FORMAT_FILE
from mtnat.training.model import Model, load_model, read_experiment

# Part of every key. Raise it when a change of the code makes an equal teacher write different text.
_FORMAT = 1
LINES_PER_SHARD = 1_000
"""Default size of a shard: a killed process loses at most this many lines. Lines are batched within a shard only, so that the
text does not depend on which process translates which shard."""
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class SourceText:
    """Lines to translate."""

    read: Callable[[], Iterator[str]]
    """Returns a new iterator over the lines."""
    lines: int
    """Number of lines."""
    digest: str
    """SHA-256 of the text."""


def training_sources(data: DataConfig) -> SourceText:
    """Returns the source side of a corpus's training text.

    Raises:
        DataError: the corpus has problems; the error lists all of them.
    """
    corpus = open_raw_corpus(data, default_cache())
    if problems := corpus.problems():
        raise DataError(problems)
    return SourceText(lambda: (source for source, _ in corpus.pairs("train")), corpus.train_size(), corpus.train_digest())


def file_sources(path: Path) -> SourceText:
    """Returns the lines of a text file, plain or .gz.

    Raises:
        DataError: the file cannot be read or is empty.
    """
    found = scan(path, default_cache())
    return SourceText(lambda: read_text(path), found.lines, found.digest)


class Distillation:
    """A teacher's translations of a text (Kim and Rush 2016), in a cache folder named by the hash of teacher and text.

    Any number of processes, on all machines that share the cache, may call `work` at once. Any of them may be killed at any
    time; the others then translate its unfinished shards. The text does not depend on the number of processes, provided that
    their devices round equally.
    """

    def __init__(
        self,
        teacher: Path,
        sources: SourceText,
        decoding: Decoding,
        *,
        lines_per_shard: int = LINES_PER_SHARD,
        cache: Path | None = None,
    ) -> None:
        """Creates a distillation; nothing is translated yet.

        Args:
            teacher: a model folder.
            decoding: settings of the teacher's AT decoder.

        Raises:
            ModelError: the folder contains no model with an AT decoder.
        """
        if not read_experiment(teacher).can_teach:
            raise ModelError(f"{teacher}: has no AT decoder, but a teacher needs one; give a model that was trained with one.")
        self._teacher, self._sources, self._decoding, self._lines_per_shard = teacher, sources, decoding, lines_per_shard
        # The other settings, such as the size of a batch, change the time of decoding but not the text.
        settings = self._decoding.model_dump(mode="json", include={"beam", "length_penalty", "precision"})
        parts = [_FORMAT, lines_per_shard, _digest_of(teacher), sources.digest, sources.lines, settings]
        self.key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        """Hash of everything that determines the distilled text."""
        self.folder = (cache or default_cache()) / "distilled" / self.key
        self.targets = self.folder / "targets.gz"
        """Path of the distilled text; it exists once the text is complete."""

    @cached_property
    def shards(self) -> int:
        """Number of shards of the text."""
        return -(-self._sources.lines // self._lines_per_shard)

    @property
    def done(self) -> int:
        """Number of translated shards."""
        return self.shards if self.is_complete else len(list(self._shards.glob("*.txt")))

    @property
    def is_complete(self) -> bool:
        """Whether the whole text is written."""
        return self.targets.exists()

    def work(self, device: str | torch.device = "cpu") -> Iterator[int]:
        """Translates shards that no other process works on, and yields the number of each. Returns when the text is complete.

        Raises:
            ResourceError: the cache cannot be written.
        """
        if self.is_complete:
            self._clear()  # a process may have been killed after it completed the text and before it removed the shards
            return
        try:
            self._shards.mkdir(parents=True, exist_ok=True)
            yield from self._work(device)
        except OSError as error:
            if self.is_complete:  # another process has just completed the text and removed the shards
                return
            raise ResourceError(
                f"{self.folder}: cannot be written ({error.strerror}); set $MTNAT_CACHE to a folder with room."
            ) from None

    def _work(self, device: str | torch.device) -> Iterator[int]:
        model = load_model(self._teacher, device)
        while not self.is_complete:
            if any(self._is_free(number) for number in range(self.shards)):
                yield from self._take(model)
            else:
                self._join()
                if not self.is_complete:
                    # Other processes hold the remaining shards. Wait until they finish, or die and release their locks.
                    time.sleep(_SECONDS_BETWEEN_LOOKS)

    def _take(self, model: Model) -> Iterator[int]:
        """Reads the text once and translates each shard that has no file and that no other process holds at that time."""
        lines = self._sources.read()
        for number in range(self.shards):
            shard = list(islice(lines, self._lines_per_shard))
            path = self._shard(number)
            with taken(path.with_suffix(".lock")) as is_mine:
                # The file is checked under the lock: another process may have finished the shard in the meantime.
                if not is_mine or self.is_complete or path.exists():
                    continue
                translated = model.translate(shard, self._decoding, "at")
                write_whole(path, "".join(f"{line.text}\n" for line in translated).encode())
            yield number

    def _is_free(self, number: int) -> bool:
        path = self._shard(number)
        if path.exists():
            return False
        with taken(path.with_suffix(".lock")) as is_free:
            return is_free

    def _join(self) -> None:
        """Concatenates the shards if all are translated. One process does this; the result appears atomically to the others."""
        with taken(self.folder / "join.lock") as is_mine:
            paths = [self._shard(number) for number in range(self.shards)]
            if not is_mine or self.is_complete or not all(path.exists() for path in paths):
                return
            with whole_file(self.targets) as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
                for path in paths:
                    file.write(path.read_bytes())
        self._clear()

    def _clear(self) -> None:
        """Removes the shards, which are not needed once the text is complete."""
        shutil.rmtree(self._shards, ignore_errors=True)

    @property
    def _shards(self) -> Path:
        return self.folder / "shards"

    def _shard(self, number: int) -> Path:
        return self._shards / f"{number:06d}.txt"


def _digest_of(folder: Path) -> str:
    """Returns the SHA-256 of the names and contents of all files in a model folder that affect its translations."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != FORMAT_FILE):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
