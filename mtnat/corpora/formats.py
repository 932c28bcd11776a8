"""The formats in which parallel text is published. Each reads a downloaded file as a stream of sentence pairs."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol
from xml.etree import ElementTree

from mtnat.data.corpus import TextPair, paired
from mtnat.errors import DataError

_LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"


class Format(Protocol):
    """A file format of parallel text."""

    def pairs(self, path: Path) -> Iterator[TextPair]:
        """Yields the pairs in order; bytes that are not UTF-8 become U+FFFD.

        Raises:
            DataError: if the file is damaged or has another format.
        """


@dataclass(frozen=True)
class Members:
    """Two text files in a .tgz or .zip archive, with one sentence a line."""

    source: str
    target: str

    def pairs(self, path: Path) -> Iterator[TextPair]:
        """Yields the lines of both members in parallel."""
        with _unpacking(path), ExitStack() as stack:
            # The members lie one after the other in the archive, so each side opens the archive separately.
            source, target = (_lines(_member(path, name, stack)) for name in (self.source, self.target))
            yield from paired(
                source, target, f"{path}: {self.source} and {self.target} are not equally long; remove it and fetch it again."
            )


@dataclass(frozen=True)
class Columns:
    """A .gz file of tab-separated columns. Rows without text separate documents and are left out."""

    source: int
    target: int

    def pairs(self, path: Path) -> Iterator[TextPair]:
        """Yields the two columns of each row; a missing column is empty."""
        with _unpacking(path), gzip.open(path) as file:
            for line in _lines(file):
                columns = line.split("\t")
                source, target = (columns[place] if place < len(columns) else "" for place in (self.source, self.target))
                if source or target:
                    yield source, target


@dataclass(frozen=True)
class TranslationMemory:
    """A .tmx.gz file: XML units with a segment in each language."""

    source: str
    target: str

    def pairs(self, path: Path) -> Iterator[TextPair]:
        """Yields the segments of the units that have both languages.

        Each run of white space becomes one space, since XML may break lines anywhere.
        """
        with _unpacking(path), gzip.open(path) as file:
            ancestors: list[ElementTree.Element] = []
            for event, element in ElementTree.iterparse(file, ("start", "end")):
                if event == "start":
                    ancestors.append(element)
                    continue
                ancestors.pop()
                if element.tag == "tu":
                    segments = dict(_segments(element))
                    if self.source in segments and self.target in segments:
                        yield segments[self.source], segments[self.target]
                    ancestors[-1].clear()  # frees the unit; otherwise the whole text would stay in memory


def _segments(unit: ElementTree.Element) -> Iterator[TextPair]:
    for variant in unit.iter("tuv"):
        segment = variant.find("seg")
        language = variant.get(_LANGUAGE) or variant.get("lang") or ""
        if segment is not None:
            yield language.lower(), " ".join("".join(segment.itertext()).split())


def _member(path: Path, name: str, stack: ExitStack) -> IO[bytes]:
    """Opens a member of an archive for sequential reading."""
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        if name in archive.namelist():
            return stack.enter_context(archive.open(name))
    else:
        # In stream mode, only the part of the archive up to the member is unpacked.
        tar = stack.enter_context(tarfile.open(path, "r|gz"))  # noqa: SIM115
        for member in tar:
            if member.name.removeprefix("./") == name and (file := tar.extractfile(member)):
                return stack.enter_context(file)
    raise DataError(f"{path}: does not contain {name}; remove it and fetch it again.")


def _lines(file: Iterable[bytes]) -> Iterator[str]:
    """Yields lines, ended only by \\n: sentences of Common Crawl contain U+0085 and U+2028."""
    for number, line in enumerate(file):
        yield line.decode("utf-8" if number else "utf-8-sig", errors="replace").rstrip("\r\n")


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    """Turns the errors of unpacking into a `DataError` that names the file."""
    try:
        yield
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: is not valid XML ({error}); remove it and fetch it again.") from None
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be unpacked ({error}); remove it and fetch it again.") from None
