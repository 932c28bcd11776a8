"""Sentence pairs in two text files: read side by side, and written whole or not at all."""

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
from mtnat.files import whole_file

_LEVEL = 6
_BUFFER_BYTES = 1 << 18


def read_raw_pairs(source: Path, target: Path) -> Iterator[tuple[str | None, str | None]]:
    """The lines of both files side by side, None where one has ended; bytes that are not UTF-8 are lone surrogates.

    Raises:
        DataError: a file is missing or unreadable.
    """
    for path in (source, target):
        if not path.exists():  # read_lines would speak of $MTNAT_DATA
            raise DataError(f"{path}: no such file; give a text file, plain or .gz, one sentence a line.")
    return zip_longest(read_lines(source, errors="surrogateescape"), read_lines(target, errors="surrogateescape"))


def write_pairs(pairs: Iterable[TextPair], source: Path, target: Path) -> int:
    """Writes both sides, and returns how many pairs there were; an error on the way leaves nothing."""
    count = 0
    with whole_files([source, target]) as (source_file, target_file):
        for source_line, target_line in pairs:
            count += 1
            source_file.write(source_line.encode() + b"\n")
            target_file.write(target_line.encode() + b"\n")
    return count


def text_key(*lines: str) -> bytes:
    """Eight bytes that differ for different lines: among 40 million, two are alike with a chance of 1 in 20,000."""
    return hashlib.blake2b("\n".join(lines).encode(errors="surrogateescape"), digest_size=8).digest()


@contextmanager
def whole_files(paths: Sequence[Path]) -> Iterator[list[IO[bytes]]]:
    """New files that appear in their places, all of them, when the block has ended without an error.

    Names in .gz are compressed; equal content gives equal bytes.

    Raises:
        DataError: a file cannot be written.
    """
    try:
        with ExitStack() as stack:
            for path in paths:
                path.parent.mkdir(parents=True, exist_ok=True)
            yield [_opened(path, stack) for path in paths]
    except OSError as error:
        place = error.filename or paths[0]
        raise DataError(f"{place}: cannot be written ({error.strerror or error}); give another place.") from None


def _opened(path: Path, stack: ExitStack) -> IO[bytes]:
    file = stack.enter_context(whole_file(path))
    if path.suffix != ".gz":
        return file
    packed = gzip.GzipFile("", "wb", _LEVEL, file, mtime=0)  # neither name nor time, which would differ
    return stack.enter_context(io.BufferedWriter(packed, _BUFFER_BYTES))
