"""The formats in which parallel text is published: how a downloaded file becomes pairs, streamed."""

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
    """A way to find the pairs in a file."""

    def pairs(self, path: Path) -> Iterator[TextPair]:
        """The pairs in order; bytes that are not UTF-8 become U+FFFD.

        Raises:
            DataError: the file is broken, or is not what it should be.
        """


@dataclass(frozen=True)
class Members:
    """Two text files in a .tgz or a .zip, line by line."""

    source: str
    target: str

    def pairs(self, path: Path) -> Iterator[TextPair]:
        """The lines of both members side by side."""
        with _unpacking(path), ExitStack() as stack:
            # Each side reads the archive for itself, as its members follow one another.
            source, target = (_lines(_member(path, name, stack)) for name in (self.source, self.target))
            yield from paired(source, target, f"{path}: {self.source} and {self.target} are not equally long; fetch it anew.")


@dataclass(frozen=True)
class Columns:
    """A .gz of rows with tabs between their columns; rows without any text separate documents and are left out."""

    source: int
    target: int

    def pairs(self, path: Path) -> Iterator[TextPair]:
        """Both columns of each row; a column that a row lacks is empty."""
        with _unpacking(path), gzip.open(path) as file:
            for line in _lines(file):
                columns = line.split("\t")
                source, target = (columns[place] if place < len(columns) else "" for place in (self.source, self.target))
                if source or target:
                    yield source, target


@dataclass(frozen=True)
class TranslationMemory:
    """A .tmx.gz: XML units with a segment in each language."""

    source: str
    target: str

    def pairs(self, path: Path) -> Iterator[TextPair]:
        """The segments of units that have both languages, white space folded, since XML may break lines anywhere."""
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
                    ancestors[-1].clear()  # or the whole text would stay in memory


def _segments(unit: ElementTree.Element) -> Iterator[TextPair]:
    for variant in unit.iter("tuv"):
        segment = variant.find("seg")
        language = variant.get(_LANGUAGE) or variant.get("lang") or ""
        if segment is not None:
            yield language.lower(), " ".join("".join(segment.itertext()).split())


def _member(path: Path, name: str, stack: ExitStack) -> IO[bytes]:
    """A file of an archive, to be read from its start to its end."""
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        if name in archive.namelist():
            return stack.enter_context(archive.open(name))
    else:
        # As a stream, in which reaching a member unpacks no more than what comes before it.
        tar = stack.enter_context(tarfile.open(path, "r|gz"))  # noqa: SIM115
        for member in tar:
            if member.name.removeprefix("./") == name and (file := tar.extractfile(member)):
                return stack.enter_context(file)
    raise DataError(f"{path}: holds no {name}; remove it and fetch it anew.")


def _lines(file: Iterable[bytes]) -> Iterator[str]:
    """Lines ended by \\n alone: Common Crawl holds U+0085 and U+2028 inside sentences."""
    for number, line in enumerate(file):
        yield line.decode("utf-8" if number else "utf-8-sig", errors="replace").rstrip("\r\n")


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    """Says of which download something could not be unpacked."""
    try:
        yield
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: is not valid XML ({error}); remove it and fetch it anew.") from None
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be unpacked ({error}); remove it and fetch it anew.") from None
