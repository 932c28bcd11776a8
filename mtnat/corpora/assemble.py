"""From a corpus' name to its files: fetched, checked, put together."""

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
"""Says where a corpus' text came from."""
DOWNLOADS_FOLDER = "downloads"
_PAIRS_AT_ONCE = 50_000


@dataclass(frozen=True)
class Obtained:
    """A corpus that is there."""

    folder: Path
    files: tuple[str, ...]
    was_there: bool
    """Whether nothing was left to do."""
    pairs: dict[str, int] = field(default_factory=dict)
    """How many each split has, where that was counted."""
    unchecked: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the downloads that could not be checked because nobody has published one."""


def get(corpus: CatalogueEntry, folder: Path, *, brought: Path | None = None, listener: Listener = silent) -> Obtained:
    """The corpus in `folder`, which appears as a whole.

    What is downloaded is kept in a folder beside it, which corpora share; so a second call goes on where the first one
    was interrupted.

    Args:
        brought: a folder of downloads that came another way.

    Raises:
        DataError: it cannot be fetched, or `folder` holds something else.
    """
    if brought and not brought.is_dir():
        raise DataError(f"--from {brought}: no such folder; name the one that holds the files.")
    if corpus.copied:
        return _copied(corpus, folder, brought, listener)
    if folder.exists() and not _is_empty(folder):
        return _there(corpus, folder)
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
            shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
            pairs = {split: _write_set(name, corpus, partial, split) for split, name in sets.items()}
            if corpus.train:
                text = chain.from_iterable(part.format.pairs(found[part.download]) for part in corpus.train)
                pairs["train"] = write_pairs(_told(text, "training pairs", listener), *_paths(partial, "train", corpus))
            record = {"corpus": corpus.name, "pairs": pairs, "sets": sets, **_digests(partial, found, listener)}
            (partial / RECORD_FILE).write_text(json.dumps(record, indent=1), encoding="utf-8")
            partial.rename(folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be written ({error.strerror}); name another place with --output.") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return _obtained(folder, record, was_there=False)


def _copied(corpus: CatalogueEntry, folder: Path, brought: Path | None, listener: Listener) -> Obtained:
    """A corpus whose files are kept as they are: what is there is checked, what is missing fetched."""
    names = tuple(download.name for download in corpus.copied)
    if all((folder / name).is_file() for name in names):
        fetch(corpus.copied, folder, listener=listener)
        return Obtained(folder, names, was_there=True)
    with alone(folder):
        for path in fetch(corpus.copied, folder, brought=brought, listener=listener).values():
            if path.parent != folder:
                copy_whole(path, folder / path.name)
    return Obtained(folder, names, was_there=False)


def _there(corpus: CatalogueEntry, folder: Path) -> Obtained:
    """What an earlier call has left.

    Raises:
        DataError: the folder is not this corpus, or not the whole of it.
    """
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        is_whole = record["corpus"] == corpus.name and all(
            (folder / name).stat().st_size == known["bytes"] for name, known in record["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        is_whole = False
    if not is_whole:
        raise DataError(f"{folder}: is not the whole of {corpus.name}; remove it, or name another place with --output.")
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
    """Writes a test set, its second and further references with a number; returns how many pairs it has."""
    source, references = named_set_files(name, "-".join(corpus.languages), name_as=name)
    source_path, target_path = _paths(folder, split, corpus)
    count = 0
    for number, reference in enumerate(references, 1):
        path = target_path if number == 1 else target_path.with_name(f"{split}.{number}.{corpus.languages[1]}.gz")
        unequal = f"{reference}: has another number of lines than {source}; remove both and try again."
        count = write_pairs(paired(read_lines(source), read_lines(reference), unequal), source_path, path)
    return count


def _digests(folder: Path, found: dict[Download, Path], listener: Listener) -> dict[str, Any]:
    """What was written, and what it was made of."""
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


def _told(pairs: Iterable[TextPair], name: str, listener: Listener) -> Iterator[TextPair]:
    for count, pair in enumerate(pairs, 1):
        if not count % _PAIRS_AT_ONCE:
            listener(name, count, None)
        yield pair
