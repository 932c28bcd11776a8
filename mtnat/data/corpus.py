"""Sources of parallel text: files, and the embedded corpus."""

import contextlib
import gzip
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, zip_longest
from pathlib import Path
from typing import Literal, Protocol

from mtnat.data.config import DataConfig, FilePair
from mtnat.data.grammar import SPLIT_SIZES, SplitName, generate
from mtnat.errors import DataError
from mtnat.files import is_compressed, write_whole

SPLITS: tuple[SplitName, ...] = ("train", "valid", "test")
TextPair = tuple[str, str]

_MOST_KEPT_PAIRS = 50_000  # about 15 MB

_SETTLED_SECONDS = 2.0  # a file system's clock may tick as slowly as this


class Corpus(Protocol):
    """Sentence pairs in three splits."""

    def problems(self) -> list[str]:
        """Returns everything that keeps this corpus from being read, one message each."""

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Yields the source and target lines of a split."""

    def train_size(self) -> int:
        """Returns the number of training pairs."""

    def train_digest(self) -> str:
        """Returns a SHA-256 that changes with the training text, without reading all of the text each time."""


def open_raw_corpus(config: DataConfig, cache: Path) -> Corpus:
    """Returns the corpus that `config` describes, with its original targets; reads nothing yet."""
    return GrammarCorpus(config) if config.corpus else FileCorpus(config, cache)


class GrammarCorpus:
    """The embedded corpus. The pairs of a small one are kept in memory, because preparation reads them three times."""

    def __init__(self, config: DataConfig) -> None:
        self._german_first = config.corpus == "grammar-de-en"
        self._seed = config.corpus_seed
        self._sizes: dict[SplitName, int] = {"train": config.corpus_size, **SPLIT_SIZES}

    def problems(self) -> list[str]:
        """Returns no problems: the embedded corpus is always available."""
        return []

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Yields the generated pairs, in the configured direction."""
        size = self._sizes[split]
        texts = _kept_texts if size <= _MOST_KEPT_PAIRS else _texts
        yield from self._in_direction(texts(split, size, self._seed))

    def train_size(self) -> int:
        """Returns the configured number of training pairs."""
        return self._sizes["train"]

    def train_digest(self) -> str:
        """Returns the SHA-256 of the size, the seed and the first 1,000 pairs, which change with the grammar."""
        digest = hashlib.sha256(f"grammar {self.train_size()} {self._seed}\n".encode())
        for source, target in self._in_direction(islice(_texts("train", self.train_size(), self._seed), 1_000)):
            digest.update(f"{source}\n{target}\n".encode())
        return digest.hexdigest()

    def _in_direction(self, texts: Iterable[TextPair]) -> Iterator[TextPair]:
        return ((german, english) if self._german_first else (english, german) for english, german in texts)


def _texts(split: SplitName, size: int, seed: int) -> Iterator[TextPair]:
    """Yields the English and German text of each generated pair."""
    return ((pair.english, pair.german) for pair in generate(split, size, seed))


@lru_cache(maxsize=len(SPLITS))
def _kept_texts(split: SplitName, size: int, seed: int) -> tuple[TextPair, ...]:
    return tuple(_texts(split, size, seed))


class FileCorpus:
    """Pairs of text files. Each file is read once to check and hash it, and again only after it has changed."""

    def __init__(self, config: DataConfig, cache: Path) -> None:
        self._names: dict[SplitName, FilePair] = {}
        for split, names in zip(SPLITS, (config.train, config.valid, config.test), strict=True):
            assert names is not None, "DataConfig demands the files of all three splits"
            self._names[split] = names
        self._root = data_root()
        self._cache = cache

    def problems(self) -> list[str]:
        """Returns the missing, empty and unreadable files, and the pairs of files of unequal length."""
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
        """Yields the lines of both files in parallel."""
        names = self._names[split]
        source, target = (read_lines(self._root / name) for name in names)
        unequal = (
            f"data.{split}: both sides must have equally many lines, but {names[0]} and {names[1]} differ; "
            "give files whose lines belong together."
        )
        return paired(source, target, unequal)

    def train_size(self) -> int:
        """Returns the number of lines of the training files."""
        return scan(self._root / self._names["train"][0], self._cache).lines

    def train_digest(self) -> str:
        """Returns the SHA-256 of the text of both sides, which depends on neither path nor compression of the files."""
        sides = [scan(self._root / name, self._cache).digest for name in self._names["train"]]
        return hashlib.sha256(" ".join(sides).encode()).hexdigest()


def data_root() -> Path:
    """Returns the folder that the paths of corpus files are relative to: $MTNAT_DATA, or else ``data``."""
    return Path(os.environ.get("MTNAT_DATA") or "data")


def read_lines(path: Path, *, errors: Literal["strict", "surrogateescape"] = "strict") -> Iterator[str]:
    """Yields the lines of a UTF-8 file, plain or .gz, without their ends; only ``\\n`` and ``\\r\\n`` end a line.

    Args:
        errors: treatment of bytes that are not UTF-8. "strict" raises; "surrogateescape" replaces each of them by a lone
            surrogate, by which the caller can recognise them.

    Raises:
        DataError: if the file is missing or unreadable, if ``\\r`` alone ends its lines, or with the number of a line that is
            not UTF-8.
    """
    try:
        with gzip.open(path) if is_compressed(path) else path.open("rb") as file:
            # In binary mode only \n ends a line. In text mode, a lone \r would end one too.
            for number, line in enumerate(file, 1):
                if number == 1:
                    check_line_end(path, line)
                try:
                    yield line.decode("utf-8-sig" if number == 1 else "utf-8", errors).rstrip("\r\n")
                except UnicodeDecodeError as error:
                    byte = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
                    raise DataError(f"{path}, line {number}: is not UTF-8 ({byte}); convert the file.") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; paths are relative to the folder in $MTNAT_DATA, or else to data/.") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); give a whole file, plain text or .gz.") from None


def check_line_end(name: object, first: bytes) -> None:
    """Checks the first line of a file.

    Raises:
        DataError: it is the whole file, and contains the line ends of early Macintosh computers.
    """
    if b"\r" in first.removesuffix(b"\r") and not first.endswith(b"\n"):
        raise DataError(
            f"{name}: a carriage return alone (CR) ends its lines, and is no line end here; convert it to line feeds, "
            "for example with: tr '\\r' '\\n'."
        )


def paired(sources: Iterable[str], targets: Iterable[str], unequal: str) -> Iterator[TextPair]:
    """Yields the lines of both sides in parallel.

    Args:
        unequal: message of the error.

    Raises:
        DataError: if one side ends before the other.
    """
    for source, target in zip_longest(sources, targets):
        if source is None or target is None:
            raise DataError(unequal)
        yield source, target


@dataclass(frozen=True)
class Scan:
    """The number of lines and the hash of a text file."""

    lines: int
    digest: str
    """SHA-256 of the lines, each ended by ``\\n``."""


def scan(path: Path, cache: Path) -> Scan:
    """Counts and hashes the lines of a text file.

    The result is kept in `cache` and reused while path, size and modification time of the file stay the same.

    Raises:
        DataError: if the file cannot be read, is empty or has empty lines only.
    """
    note = _note(path, cache)
    if note and note.exists():
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Scan(**json.loads(note.read_text(encoding="utf-8")))
    digest = hashlib.sha256()
    lines, has_text = 0, False
    for line in read_lines(path):
        digest.update(line.encode() + b"\n")
        lines += 1
        has_text = has_text or bool(line.strip())
    if not lines:
        raise DataError(f"{path}: is empty; give a file with one sentence a line.")
    if not has_text:
        raise DataError(f"{path}: contains no text, only empty lines; give a file with one sentence a line.")
    found = Scan(lines, digest.hexdigest())
    if note:
        with contextlib.suppress(OSError):  # without the note, the file is only read again next time
            note.parent.mkdir(parents=True, exist_ok=True)
            write_whole(note, json.dumps(vars(found)).encode())
    return found


def _note(path: Path, cache: Path) -> Path | None:
    """Returns the cache file for the scan of `path`.

    Returns None for a file that was modified just now: a second modification within one tick of the file system's clock
    would leave the modification time unchanged and go unnoticed.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    if abs(time.time() - status.st_mtime) < _SETTLED_SECONDS:
        return None
    identity = f"{path.resolve()}\n{status.st_size}\n{status.st_mtime_ns}"
    return cache / "scans" / f"{hashlib.sha256(identity.encode()).hexdigest()[:32]}.json"
