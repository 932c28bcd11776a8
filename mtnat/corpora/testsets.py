"""sacreBLEU's named test sets, in its own folder ``~/.sacrebleu`` ($SACREBLEU)."""

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
    """Whether sacreBLEU has such a set; nothing is fetched.

    Args:
        name_as: what the name is called where it came from, such as ``--test-set wmt14``.
        languages_as: what the languages are called there.

    Raises:
        UserError: it has not.
    """
    pairs = sacrebleu_sets.get_langpairs_for_testset(name)
    if not pairs:
        close = nearest(name, sacrebleu_sets.get_available_testsets()) or "; `sacrebleu --list` shows them."
        raise UserError(f"{name_as}: is none of sacreBLEU's{close}")
    if languages not in pairs:
        raise UserError(f"{languages_as}: {name} has no such pair; give one of {', '.join(sorted(pairs))}.")


def named_set_files(name: str, languages: str, *, name_as: str) -> tuple[Path, list[Path]]:
    """The source and the references of a set, one sentence a line; sacreBLEU fetches what is not there.

    Raises:
        DataError: it cannot be fetched.
    """
    try:
        with _quiet_sacrebleu():
            source = sacrebleu_sets.get_source_file(name, languages)
            references = sacrebleu_sets.get_reference_files(name, languages)
    except (Exception, SystemExit) as error:  # sacrebleu raises the bare class, and exits where a checksum is wrong
        reason = "what came is broken" if isinstance(error, SystemExit) else " ".join(str(error).split())
        raise DataError(
            f"{name_as}: cannot be fetched ({reason}); try again, or put it into {sacrebleu_sets.SACREBLEU_DIR}/{name} "
            "on a machine that can."
        ) from None
    return Path(source), [Path(reference) for reference in references]


def named_set_downloads(name: str, languages: str) -> list[Download]:
    """The archives that must be there before sacreBLEU can read a set; none where it has read it before."""
    stem = name.replace("/", "_")
    if (_folder(name) / f"{stem}.{languages}.src").exists():
        return []
    files = DATASETS[name]
    return [
        Download(url, md5=md5, saved_as=f"{stem}.{url.rpartition('/')[2]}")
        for url, md5 in zip(files.data or [], files.md5 or [], strict=True)
    ]


def place_named_set(name: str, archives: Mapping[Download, Path]) -> None:
    """Puts checked archives where sacreBLEU looks for what it has fetched itself."""
    raw = _folder(name) / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        for download, path in archives.items():
            with _quiet_sacrebleu():
                # Before the archive is in its place: sacreBLEU takes one that is there for one that was unpacked.
                sacrebleu_sets.extract_tarball(str(path), str(raw))  # type: ignore[no-untyped-call]
            copy_whole(path, raw / download.name)
    except (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(f"{raw}: cannot take {name} ({error}); make room there, or set $SACREBLEU to another folder.") from None


def _folder(name: str) -> Path:
    return Path(sacrebleu_sets.SACREBLEU_DIR) / name


@contextmanager
def _quiet_sacrebleu() -> Iterator[None]:
    """Keeps sacrebleu's own words about a download off standard error."""
    logger = logging.getLogger("sacrebleu")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
