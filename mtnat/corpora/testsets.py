"""sacreBLEU's named test sets, in the folder of sacreBLEU: $SACREBLEU, or else ``~/.sacrebleu``."""

import logging
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sacrebleu import utils as sacrebleu_sets
from sacrebleu.dataset import DATASETS

from mtnat.config import nearest
from mtnat.corpora.sources import Download
from mtnat.errors import DataError, UserError
from mtnat.files import copy_whole


def check_named_set(name: str, languages: str, *, name_as: str, languages_as: str) -> None:
    """Checks that sacreBLEU has a test set, without downloading it.

    Args:
        name_as: how messages refer to the name, such as ``--test-set wmt14``.
        languages_as: how messages refer to the languages.

    Raises:
        UserError: if sacreBLEU has no such test set.
    """
    pairs = sacrebleu_sets.get_langpairs_for_testset(name)
    if not pairs:
        close = nearest(name, sacrebleu_sets.get_available_testsets()) or "; `sacrebleu --list` shows them."
        raise UserError(f"{name_as}: is not a test set of sacreBLEU{close}")
    if languages not in pairs:
        raise UserError(f"{languages_as}: {name} has no such pair; give one of {', '.join(sorted(pairs))}.")


def named_set_files(name: str, languages: str, *, name_as: str) -> tuple[Path, list[Path]]:
    """Returns the files of the source and of each reference of a test set, one sentence a line; downloads missing files.

    Raises:
        DataError: if the test set cannot be downloaded.
    """
    try:
        with _quiet_sacrebleu():
            source = sacrebleu_sets.get_source_file(name, languages)
            references = sacrebleu_sets.get_reference_files(name, languages)
    except (Exception, SystemExit) as error:  # sacrebleu raises plain Exception, and exits after a wrong checksum
        reason = "the download has a wrong checksum" if isinstance(error, SystemExit) else " ".join(str(error).split())
        raise DataError(
            f"{name_as}: cannot be fetched ({reason}); try again, or put it into {sacrebleu_sets.SACREBLEU_DIR}/{name} "
            "on a machine that can."
        ) from None
    return Path(source), [Path(reference) for reference in references]


def named_set_downloads(name: str, languages: str) -> list[Download]:
    """Returns the archives that sacreBLEU needs before it can read a test set; none if it has already unpacked them."""
    stem = name.replace("/", "_")
    if (_folder(name) / f"{stem}.{languages}.src").exists():
        return []
    files = DATASETS[name]
    return [
        Download(url, md5=md5, saved_as=f"{stem}.{url.rpartition('/')[2]}")
        for url, md5 in zip(files.data or [], files.md5 or [], strict=True)
    ]


def place_named_set(name: str, archives: Mapping[Download, Path]) -> None:
    """Unpacks checked archives into the folder in which sacreBLEU keeps its own downloads."""
    raw = _folder(name) / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        for download, path in archives.items():
            with _quiet_sacrebleu():
                # Unpack first and copy the archive last, since sacreBLEU assumes that an existing archive is unpacked.
                sacrebleu_sets.extract_tarball(str(path), str(raw))  # type: ignore[no-untyped-call]
            copy_whole(path, raw / download.name)
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{raw}: cannot store {name} ({error}); free disk space there, or set $SACREBLEU to another folder."
        ) from None


def _folder(name: str) -> Path:
    return Path(sacrebleu_sets.SACREBLEU_DIR) / name


@contextmanager
def _quiet_sacrebleu() -> Iterator[None]:
    """Suppresses sacrebleu's log messages about a download."""
    logger = logging.getLogger("sacrebleu")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
