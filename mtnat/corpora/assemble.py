"""Assembly of a public corpus: downloads its files, checks them, and writes train, valid and test."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from mtnat.corpora.fetch import Listener, alone, fetch, sha256_of, silent
from mtnat.corpora.pairs import write_pairs
from mtnat.corpora.sources import CatalogueEntry, Download
from mtnat.corpora.testsets import named_set_downloads, named_set_files, place_named_set
from mtnat.data.corpus import TextPair, paired, read_lines
from mtnat.errors import DataError
from mtnat.files import copy_whole

RECORD_FILE = "corpus.json"
"""Records the origin of the text of a corpus."""
DOWNLOADS_FOLDER = "downloads"
_PAIRS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Obtained:
    """A corpus on disk."""

    folder: Path
    files: tuple[str, ...]
    was_there: bool
    """Whether the corpus was complete before the call."""
    pairs: dict[str, int] = field(default_factory=dict)
    """Number of pairs of each split; empty for a corpus whose files are kept as they are."""
    unchecked: dict[str, str] = field(default_factory=dict)
    """SHA-256 of each download that could not be checked, because no digest of it is published."""


def get(corpus: CatalogueEntry, folder: Path, *, brought: Path | None = None, listener: Listener = silent) -> Obtained:
    """Downloads a corpus and writes its files into `folder`, which appears only when it is complete.

    Downloads are kept in a folder next to `folder`, which all corpora share. A second call therefore resumes one that was
    interrupted.

    Args:
        brought: a folder of files that were downloaded in another way.
        listener: receives the progress.

    Raises:
        DataError: if a file cannot be downloaded, or `folder` holds something else.
    """
    if brought and not brought.is_dir():
        raise DataError(f"--from {brought}: no such folder; name the folder that holds the files.")
    if corpus.copied:
        return _copied(corpus, folder, brought, listener)
    if folder.exists() and not _is_empty(folder):
        return _existing(corpus, folder)
    downloads = folder.parent / DOWNLOADS_FOLDER
    with alone(downloads):
        sets = {split: name for split, name in (("valid", corpus.valid), ("test", corpus.test)) if name}
        archives = {name: named_set_downloads(name, "-".join(corpus.languages)) for name in sets.values()}
        wanted = [part.download for part in corpus.train]
        found = fetch([*wanted, *chain.from_iterable(archives.values())], downloads, brought=brought, listener=listener)
        for name, files in archives.items():
            if files:
                place_named_set(name, {download: found[download] for download in files})
        partial = folder.with_name(f".{folder.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)  # left by a process that was killed
            pairs = {split: _write_set(name, corpus, partial, split) for split, name in sets.items()}
            if corpus.train:
                text = chain.from_iterable(part.format.pairs(found[part.download]) for part in corpus.train)
                pairs["train"] = write_pairs(_reported(text, "training pairs", listener), *_paths(partial, "train", corpus))
            record = {"corpus": corpus.name, "pairs": pairs, "sets": sets, **_digests(partial, found, listener)}
            (partial / RECORD_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
            partial.rename(folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror}); name another folder with --output.") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _obtained(folder, record, was_there=False)


def _copied(corpus: CatalogueEntry, folder: Path, brought: Path | None, listener: Listener) -> Obtained:
    """Returns a corpus whose files are kept as they are: checks the existing files and downloads the missing ones."""
    names = tuple(download.name for download in corpus.copied)
    if all((folder / name).is_file() for name in names):
        fetch(corpus.copied, folder, listener=listener)
        return Obtained(folder, names, was_there=True)
    with alone(folder):
        for path in fetch(corpus.copied, folder, brought=brought, listener=listener).values():
            if path.parent != folder:
                copy_whole(path, folder / path.name)
    return Obtained(folder, names, was_there=False)


def _existing(corpus: CatalogueEntry, folder: Path) -> Obtained:
    """Returns a corpus that an earlier call has written.

    Raises:
        DataError: if the folder holds another corpus or an incomplete one.
    """
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        is_whole = record["corpus"] == corpus.name and all(
            (folder / name).stat().st_size == known["bytes"] for name, known in record["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        is_whole = False
    if not is_whole:
        raise DataError(f"{folder}: is not a complete {corpus.name}; remove it, or name another folder with --output.")
    return _obtained(folder, record, was_there=True)


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _obtained(folder: Path, record: dict[str, Any], *, was_there: bool) -> Obtained:
    unchecked = {name: known["sha256"] for name, known in record["downloads"].items() if not known["checked"]}
    return Obtained(folder, tuple(record["files"]), was_there, record["pairs"], unchecked)


def _paths(folder: Path, split: str, corpus: CatalogueEntry) -> tuple[Path, Path]:
    source, target = corpus.languages
    return folder / f"{split}.{source}.gz", folder / f"{split}.{target}.gz"


def _write_set(name: str, corpus: CatalogueEntry, folder: Path, split: str) -> int:
    """Writes a test set and returns its number of pairs. Files of further references have a number in their names."""
    source, references = named_set_files(name, "-".join(corpus.languages), name_as=name)
    source_path, target_path = _paths(folder, split, corpus)
    count = 0
    for number, reference in enumerate(references, 1):
        path = target_path if number == 1 else target_path.with_name(f"{split}.{number}.{corpus.languages[1]}.gz")
        unequal = f"{reference}: does not have as many lines as {source}; remove both and try again."
        count = write_pairs(paired(read_lines(source), read_lines(reference), unequal), source_path, path)
    return count


def _digests(folder: Path, found: dict[Download, Path], listener: Listener) -> dict[str, Any]:
    """Returns the digests of the written files and of the downloads."""
    return {
        "files": {
            path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path, listener)} for path in sorted(folder.iterdir())
        },
        "downloads": {
            download.name: {
                "url": download.url,
                "sha256": download.sha256 or sha256_of(path, listener),
                "checked": bool(download.sha256 or download.md5),
            }
            for download, path in found.items()
        },
    }


def _reported(pairs: Iterable[TextPair], name: str, listener: Listener) -> Iterator[TextPair]:
    """Yields `pairs` and reports their count to `listener` from time to time."""
    for count, pair in enumerate(pairs, 1):
        if not count % _PAIRS_AT_ONCE:
            listener(name, count, None)
        yield pair
