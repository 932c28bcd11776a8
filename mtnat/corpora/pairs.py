"""Sentence pairs in two text files: read in parallel, and written completely or not at all."""

import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import zip_longest
from pathlib import Path
from typing import IO

from mtnat.data.corpus import TextPair, read_lines
from mtnat.errors import DataError
from mtnat.files import is_compressed, whole_file

_LEVEL = 6
_BUFFER_BYTES = 1 << 18


def read_raw_pairs(source: Path, target: Path) -> Iterator[tuple[str | None, str | None]]:
    """Yields the lines of both files in parallel, with None after the end of the shorter file.

    Bytes that are not UTF-8 become lone surrogates.

    Raises:
        DataError: if a file is missing or unreadable.
    """
    for path in (source, target):
        if not path.exists():  # the message of read_lines would mention $MTNAT_DATA, which these paths do not use
            raise DataError(f"{path}: no such file; give a text file, plain or .gz, one sentence a line.")
    return zip_longest(read_lines(source, errors="surrogateescape"), read_lines(target, errors="surrogateescape"))


def write_pairs(pairs: Iterable[TextPair], source: Path, target: Path) -> int:
    """Writes both sides and returns the number of pairs. After an error, neither file is written."""
    count = 0
    with whole_files([source, target]) as (source_file, target_file):
        for source_line, target_line in pairs:
            count += 1
            source_file.write(source_line.encode() + b"\n")
            target_file.write(target_line.encode() + b"\n")
    return count


def text_key(*lines: str) -> bytes:
    """Returns an eight-byte hash of lines. Among 40 million, two are equal by chance with a probability of 1 in 20,000."""
    return hashlib.blake2b("\n".join(lines).encode(errors="surrogateescape"), digest_size=8).digest()


@contextmanager
def whole_files(paths: Sequence[Path]) -> Iterator[list[IO[bytes]]]:
    """Opens new files, which all appear under their names when the block ends without an error.

    A file whose name ends in .gz is compressed; equal content gives equal bytes.

    Raises:
        DataError: if a file cannot be written.
    """
    try:
        with ExitStack() as stack:
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            yield [_opened(path, stack) for path in paths]
    except OSError as error:
        place = error.filename or paths[0]
        raise DataError(f"{place}: cannot be written ({error.strerror or error}); give another path.") from None


def _opened(path: Path, stack: ExitStack) -> IO[bytes]:
    file = stack.enter_context(whole_file(path))
    if not is_compressed(path):
        return file
    packed = gzip.GzipFile("", "wb", _LEVEL, file, mtime=0)  # no name and no time in the header, which would differ
    return stack.enter_context(io.BufferedWriter(packed, _BUFFER_BYTES))
