"""Parallel text: files, or the embedded corpus."""

import contextlib
import gzip
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal, Protocol

from mtnat.data.config import DataConfig, FilePair
from mtnat.data.grammar import SPLIT_SIZES, SplitName, generate
from mtnat.errors import DataError
from mtnat.files import write_whole

SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
TextPair = tuple[str, str]

_SETTLED_SECONDS = 2.0


class Corpus(Protocol):
    """Sentence pairs in three splits."""

    def problems(self) -> list[str]:
        """Everything that keeps this corpus from being read, one sentence each."""

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Source and target lines, streamed."""

    def train_size(self) -> int:
        """How many training pairs there are."""

    def train_digest(self) -> str:
        """SHA-256 that changes with the training text, for less than reading it each time."""


def open_corpus(config: DataConfig, cache: Path) -> Corpus:
    """The corpus that `config` names, distilled where it says so; nothing is read yet."""
    raw = open_raw_corpus(config, cache)
    return DistilledCorpus(raw, config.distilled, cache) if config.distilled else raw


def open_raw_corpus(config: DataConfig, cache: Path) -> Corpus:
    """The corpus that `config` names, with the targets that people wrote, or the grammar; nothing is read yet."""
    return GrammarCorpus(config) if config.corpus else FileCorpus(config, cache)


class GrammarCorpus:
    """The embedded corpus, generated anew each time."""

    def __init__(self, config: DataConfig) -> None:
        self._german_first = config.corpus == "grammar-de-en"
        self._seed = config.corpus_seed
        self._sizes: dict[SplitName, int] = {"train": config.corpus_size, **SPLIT_SIZES}

    def problems(self) -> list[str]:
        """None: it is always there."""
        return []

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """The generated pairs, in the configured direction."""
        for pair in generate(split, self._sizes[split], self._seed):
            yield (pair.german, pair.english) if self._german_first else (pair.english, pair.german)

    def train_size(self) -> int:
        """As configured."""
        return self._sizes["train"]

    def train_digest(self) -> str:
        """SHA-256 of what decides the text and of its first 1,000 pairs, in which any change of the grammar shows."""
        digest = hashlib.sha256(f"grammar {self.train_size()} {self._seed}\n".encode())
        for source, target in islice(self.pairs("train"), 1_000):
            digest.update(f"{source}\n{target}\n".encode())
        return digest.hexdigest()


class FileCorpus:
    """Pairs of text files; each file is read through once to check and hash it, and not again until it changes."""

    def __init__(self, config: DataConfig, cache: Path) -> None:
        self._names: dict[SplitName, FilePair] = {}
        for split, names in zip(SPLITS, (config.train, config.valid, config.test), strict=True):
            assert names is not None, "DataConfig demands the files of all three splits"
            self._names[split] = names
        self._root = data_root()
        self._cache = cache

    def problems(self) -> list[str]:
        """Missing, empty, unreadable and unequal files."""
        found: list[str] = []
        for split, names in self._names.items():
            lines: list[int] = []
            for name in names:
                try:
                    lines.append(scan(self._root / name, self._cache).lines)
                except DataError as error:
                    found += [f"data.{split}: {problem}" for problem in error.problems]
            if len(lines) == 2 and lines[0] != lines[1]:
                found.append(
                    f"data.{split}: both sides must have equally many lines; got {lines[0]} in {names[0]} "
                    f"and {lines[1]} in {names[1]}; give files whose lines belong together."
                )
        return list(dict.fromkeys(found))

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """The lines of both files side by side."""
        names = self._names[split]
        source, target = (read_lines(self._root / name) for name in names)
        unequal = (
            f"data.{split}: both sides must have equally many lines, which {names[0]} and {names[1]} have not; "
            "give files whose lines belong together."
        )
        return paired(source, target, unequal)

    def train_size(self) -> int:
        """How many lines each training file has."""
        return scan(self._root / self._names["train"][0], self._cache).lines

    def train_digest(self) -> str:
        """SHA-256 over the text of both sides, wherever the files lie and whether they are compressed or not."""
        sides = [scan(self._root / name, self._cache).digest for name in self._names["train"]]
        return hashlib.sha256(" ".join(sides).encode()).hexdigest()


class DistilledCorpus:
    """A corpus whose training targets a teacher has written (Kim and Rush 2016); validation and test text stay as they are."""

    def __init__(self, raw: Corpus, targets: str, cache: Path) -> None:
        self._raw, self._name, self._cache = raw, targets, cache
        self._path = data_root() / targets

    def problems(self) -> list[str]:
        """Those of the raw corpus, and of a file that is missing, empty or of another length."""
        if found := self._raw.problems():
            return found
        try:
            lines = scan(self._path, self._cache).lines
        except DataError as error:
            return [f"data.distilled: {problem}" for problem in error.problems]
        if lines == self.train_size():
            return []
        return [
            f"data.distilled: must have a line for each of the {self.train_size()} training sources; "
            f"got {lines} in {self._name}; distil this corpus."
        ]

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Of the training text the sources and what the teacher made of them."""
        if split != "train":
            return self._raw.pairs(split)
        sources = (source for source, _ in self._raw.pairs("train"))
        return paired(sources, read_lines(self._path), f"data.distilled: {self._name} has not a line for each training source.")

    def train_size(self) -> int:
        """That of the raw corpus."""
        return self._raw.train_size()

    def train_digest(self) -> str:
        """SHA-256 over the raw corpus's own and the teacher's text."""
        both = f"{self._raw.train_digest()} {scan(self._path, self._cache).digest}"
        return hashlib.sha256(both.encode()).hexdigest()


def data_root() -> Path:
    """The folder that a corpus's files are relative to."""
    return Path(os.environ.get("MTNAT_DATA") or "data")


def read_lines(path: Path, *, errors: Literal["strict", "surrogateescape"] = "strict") -> Iterator[str]:
    """The lines of a UTF-8 file, plain or .gz, ended by ``\\n`` or ``\\r\\n`` and nothing else.

    Args:
        errors: what becomes of bytes that are not UTF-8: an error, or lone surrogates, by which they are known.

    Raises:
        DataError: the file is missing, unreadable, or not UTF-8 (with the line).
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            # A binary file knows no line end but \n; text files hold U+0085 and U+2028 inside lines.
            for number, line in enumerate(file, 1):
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8", errors).rstrip("\r\n")
                except UnicodeDecodeError as error:
                    byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
                    raise DataError(f"{path}, line {number}: is not UTF-8 ({byte}); convert the file.") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; paths are relative to the folder in $MTNAT_DATA, or else to data/.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); give a whole file, plain text or .gz.") from None


def paired(sources: Iterable[str], targets: Iterable[str], unequal: str) -> Iterator[TextPair]:
    """Both sides line by line, streamed.

    Raises:
        DataError: with `unequal`, where one side ends before the other.
    """
    for source, target in zip_longest(sources, targets):
        if source is None or target is None:
            raise DataError(unequal)
        yield source, target


@dataclass(frozen=True)
class Scan:
    """What one reading of a text file found."""

    lines: int
    digest: str
    """SHA-256 of the lines, each ended by ``\\n``."""


def scan(path: Path, cache: Path) -> Scan:
    """Reads a text file through, or remembers in `cache` what it found when path, size and time are the same.

    Raises:
        DataError: the file cannot be read or is empty.
    """
    note = _note(path, cache)
    if note and note.exists():
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Scan(**json.loads(note.read_text(encoding="utf-8")))
    digest = hashlib.sha256()
    lines = 0
    for line in read_lines(path):
        digest.update(line.encode() + b"\n")
        lines += 1
    if not lines:
        raise DataError(f"{path}: is empty; give a file with one sentence a line.")
    found = Scan(lines, digest.hexdigest())
    if note:
        with contextlib.suppress(OSError):  # only speed is lost
            note.parent.mkdir(parents=True, exist_ok=True)
            write_whole(note, json.dumps(vars(found)).encode())
    return found


def _note(path: Path, cache: Path) -> Path | None:
    """Where the scan of a file is remembered; nowhere while the file may still be changing within one tick of its clock."""
    try:
        status = path.stat()
    except OSError:
        return None
    if abs(time.time() - status.st_mtime) < _SETTLED_SECONDS:
        return None
    identity = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return cache / "scans" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
