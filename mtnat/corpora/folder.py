"""The files of a corpus in a folder, recognised by their names."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mtnat.corpora.assemble import RECORD_FILE
from mtnat.corpora.sources import CORPORA
from mtnat.data.corpus import SPLITS, data_root
from mtnat.data.grammar import SplitName
from mtnat.errors import DataError

_STEMS: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "val", "dev"),
    "test": ("test", "test_2016_flickr"),
}
"""Beginnings of the names of the files of each split; the first that exists is used."""
_NAME = re.compile(r"(\w+)\.([a-z]{2,3})(\.gz)?")


@dataclass(frozen=True)
class CorpusFiles:
    """The files of a corpus, source then target, relative to the folder of all corpora."""

    train: tuple[str, str]
    valid: tuple[str, str]
    test: tuple[str, str]
    languages: tuple[str, str]


def files_of(name: str, languages: tuple[str, str] | None = None) -> CorpusFiles:
    """Returns the files of the corpus in ``$MTNAT_DATA/name``, named as `get` and `split` name them.

    Args:
        languages: source and target language. By default they are those of the catalogue, or those that `split` has recorded,
            or else those of the training files, English first.

    Raises:
        DataError: if there is no such folder, a split is missing, or the training files have more than two languages.
    """
    folder = data_root() / name
    if not folder.is_dir():
        there = sorted(path.name for path in data_root().glob("*") if path.is_dir()) if data_root().is_dir() else []
        known = (
            f"there are {', '.join(there)}; give one of them, or name"
            if there
            else "get a corpus with `mtnat data get`, or name"
        )
        raise DataError(f"--corpus {name}: there is no folder {folder}; {known} files with --train, --valid and --test.")
    found = _files(folder)
    languages = languages or _recorded(name, folder) or _told(name, folder, found)
    chosen: dict[SplitName, tuple[str, str]] = {}
    for split in SPLITS:
        stem = next((stem for stem in _STEMS[split] if all((stem, language) in found for language in languages)), None)
        if stem:
            source, target = (f"{name}/{found[stem, language]}" for language in languages)
            chosen[split] = source, target
    if missing := [split for split in SPLITS if split not in chosen]:
        wanted = ", ".join(f"{split}.{language}[.gz]" for split in missing for language in languages)
        raise DataError(f"--corpus {name}: {folder} lacks {wanted}; `mtnat data split` divides one text into all three.")
    return CorpusFiles(chosen["train"], chosen["valid"], chosen["test"], languages)


def _files(folder: Path) -> dict[tuple[str, str], str]:
    """Returns the name of each text file by stem and language; of a plain and a compressed one, the compressed one."""
    matches = [_NAME.fullmatch(path.name) for path in sorted(folder.iterdir())]
    return {(match[1], match[2]): match[0] for match in matches if match}


def _recorded(name: str, folder: Path) -> tuple[str, str] | None:
    """Returns the languages of the catalogue, or those that `split` or `get` has recorded."""
    try:
        record = json.loads((folder / RECORD_FILE).read_text(encoding="utf-8"))
        if "languages" in record:
            source, target = record["languages"]
            return source, target
        name = record["corpus"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return CORPORA[name].languages if name in CORPORA else None


def _told(name: str, folder: Path, found: Mapping[tuple[str, str], str]) -> tuple[str, str]:
    """Returns the languages of the training files, English first."""
    languages = sorted(
        (language for stem, language in found if stem == "train"), key=lambda language: (language != "en", language)
    )
    if len(languages) != 2:
        has = f"has training files in {', '.join(languages)}" if languages else "has no training files such as train.en.gz"
        raise DataError(f"--corpus {name}: {folder} {has}; give --languages, such as en-de, or name the files with --train.")
    return languages[0], languages[1]
