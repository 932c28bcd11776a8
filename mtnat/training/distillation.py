"""Sequence-level knowledge distillation: a teacher writes the training targets, shard by shard, with any number of hands."""

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
from mtnat.training.model import Model, load_model, read_experiment

# Part of every key; raise it when an equal teacher would write other text.
_FORMAT = 1
LINES_PER_SHARD = 1_000
"""What a kill loses at most, by default. Lines are batched within a shard, so that who translates it does not matter."""
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class SourceText:
    """Lines to be translated, which can be read again and again."""

    read: Callable[[], Iterator[str]]
    lines: int
    digest: str
    """SHA-256 that changes with the text."""


def training_sources(data: DataConfig) -> SourceText:
    """The sources of a corpus's training text.

    Raises:
        DataError: with everything that is wrong with the corpus.
    """
    corpus = open_raw_corpus(data, default_cache())
    if problems := corpus.problems():
        raise DataError(problems)
    return SourceText(lambda: (source for source, _ in corpus.pairs("train")), corpus.train_size(), corpus.train_digest())


def file_sources(path: Path) -> SourceText:
    """The lines of a text file, plain or .gz.

    Raises:
        DataError: it cannot be read or is empty.
    """
    found = scan(path, default_cache())
    return SourceText(lambda: read_text(path), found.lines, found.digest)


class Distillation:
    """A teacher's translations of a text (Kim and Rush 2016), in a folder of the cache that is named by the hash of both.

    Any number of processes, on all machines that see the cache, may `work` on it at once, and any of them may be killed at any
    time: what the others find undone they do. The text that comes of it is the same, on devices that round alike.
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
        """
        Args:
            teacher: a model's folder.
            decoding: of the teacher's AT decoder.

        Raises:
            ModelError: the folder holds no model with an AT decoder.
        """
        if not read_experiment(teacher).can_teach:
            raise ModelError(f"{teacher}: has no AT decoder, which a teacher needs; give a model that was trained with one.")
        self._teacher, self._sources, self._decoding, self._lines_per_shard = teacher, sources, decoding, lines_per_shard
        # How lines are batched decides nothing but the time they take.
        settings = self._decoding.model_dump(mode="json", include={"beam", "length_penalty", "precision"})
        parts = [_FORMAT, lines_per_shard, _digest_of(teacher), sources.digest, sources.lines, settings]
        self.key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
        """By which the distilled text is known."""
        self.folder = (cache or default_cache()) / "distilled" / self.key
        self.targets = self.folder / "targets.gz"
        """The distilled text, once it is complete."""

    @cached_property
    def shards(self) -> int:
        """How many parts the text has."""
        return -(-self._sources.lines // self._lines_per_shard)

    @property
    def done(self) -> int:
        """How many of them are translated."""
        return self.shards if self.is_complete else len(list(self._shards.glob("*.txt")))

    @property
    def is_complete(self) -> bool:
        """Whether the text lies there whole."""
        return self.targets.exists()

    def work(self, device: str | torch.device = "cpu") -> Iterator[int]:
        """Translates shards that nobody else is at, and yields the number of each; returns when the text is complete.

        Raises:
            ResourceError: the cache cannot be written.
        """
        if self.is_complete:
            self._clear()  # after a kill just when it became so
            return
        try:
            self._shards.mkdir(parents=True, exist_ok=True)
            yield from self._work(device)
        except OSError as error:
            if self.is_complete:  # somebody has just put the shards together
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
                    time.sleep(_SECONDS_BETWEEN_LOOKS)  # until others have done what they are at, or died of it

    def _take(self, model: Model) -> Iterator[int]:
        """Reads the text through once and translates what nobody else has, or is at, when it comes by."""
        lines = self._sources.read()
        for number in range(self.shards):
            shard = list(islice(lines, self._lines_per_shard))
            path = self._shard(number)
            with taken(path.with_suffix(".lock")) as is_mine:
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
        """Puts the shards together where all are there; one process does it, and the others see all or nothing."""
        with taken(self.folder / "join.lock") as is_mine:
            paths = [self._shard(number) for number in range(self.shards)]
            if not is_mine or self.is_complete or not all(path.exists() for path in paths):
                return
            with whole_file(self.targets) as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
                for path in paths:
                    file.write(path.read_bytes())
        self._clear()

    def _clear(self) -> None:
        """Removes what nobody needs once the text is complete."""
        shutil.rmtree(self._shards, ignore_errors=True)

    @property
    def _shards(self) -> Path:
        return self.folder / "shards"

    def _shard(self, number: int) -> Path:
        return self._shards / f"{number:06d}.txt"


def _digest_of(folder: Path) -> str:
    """SHA-256 of all that is in a model's folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
