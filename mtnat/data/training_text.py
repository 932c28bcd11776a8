"""The training text of a corpus: its own pairs, or pairs with a side that a model has written; all of them, or a selection.

Validation and test text are always those of the corpus.
"""

import hashlib
from collections.abc import Iterator
from itertools import chain, compress
from pathlib import Path
from typing import NamedTuple

from mtnat.data.config import TEXT_FILES, DataConfig, TextName
from mtnat.data.corpus import Corpus, TextPair, data_root, open_raw_corpus, paired, read_lines, scan
from mtnat.data.grammar import SplitName
from mtnat.errors import DataError


class _Written(NamedTuple):
    """The words for a written side in messages."""

    lines_of: str
    """What has a line for each of them."""
    remedy: str


_WRITTEN = {
    "distilled": _Written("sources", "distil this corpus"),
    "rejuvenated": _Written("sources", "rejuvenate this corpus"),
    "reverse_distilled": _Written("targets", "distil this corpus in the opposite direction"),
}


def open_corpus(config: DataConfig, cache: Path, text: TextName | None = None) -> Corpus:
    """Returns the corpus that `config` describes, with one of its training texts; reads nothing yet.

    Args:
        text: by default that of the last stage.

    Raises:
        DataError: `config` names no file for the text.
    """
    text = text or config.texts[-1]
    raw = open_raw_corpus(config, cache)
    corpora: list[Corpus] = []
    for setting in TEXT_FILES[text]:
        file = getattr(config, setting)
        if file is None:
            raise DataError(f"data.stages: {text} needs data.{setting}, which names no file; set it, or drop this stage.")
        corpora.append(RewrittenCorpus(raw, setting, file, cache))
    if config.selected:
        corpora = [SelectedCorpus(corpus, config.selected, cache) for corpus in corpora or [raw]]
    first, *others = corpora or [raw]
    return UnionCorpus(first, *others) if others else first


def text_files(config: DataConfig) -> list[Path]:
    """Returns all files that `config` names; they need not exist."""
    pairs = [name for pair in (config.train, config.valid, config.test) if pair for name in pair]
    written = [config.distilled, config.reverse_distilled, config.rejuvenated, config.selected]
    return [data_root() / name for name in (*pairs, *written) if name]


class RewrittenCorpus:
    """A corpus with training text of which a model has written one side: the targets, all of them (sequence-level distillation,
    Kim and Rush 2016) or a part (data rejuvenation, Jiao et al. 2020), or the sources (reverse distillation)."""

    def __init__(self, raw: Corpus, setting: str, file: str, cache: Path) -> None:
        """
        Args:
            setting: the setting of the data that names the file.
            file: the written side, a line for each line of the other side.
        """
        self._raw, self._setting, self._name, self._cache = raw, setting, file, cache
        self._path = data_root() / file

    def problems(self) -> list[str]:
        """Returns the problems of the original corpus, or else those of the file: missing, empty, wrong length."""
        if found := self._raw.problems():
            return found
        try:
            lines = scan(self._path, self._cache).lines
        except DataError as error:
            return [f"data.{self._setting}: {problem}" for problem in error.problems]
        if lines == self.train_size():
            return []
        written = _WRITTEN[self._setting]
        return [
            f"data.{self._setting}: must have a line for each of the {self.train_size()} training {written.lines_of}; "
            f"got {lines} in {self._name}; {written.remedy}."
        ]

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Yields the pairs of a split; in train, each line of the kept side has what was written for it."""
        if split != "train":
            return self._raw.pairs(split)
        unequal = f"data.{self._setting}: {self._name} has no line for some training {_WRITTEN[self._setting].lines_of}."
        if self._setting == "reverse_distilled":
            targets = (target for _, target in self._raw.pairs("train"))
            return paired(read_lines(self._path), targets, unequal)
        sources = (source for source, _ in self._raw.pairs("train"))
        return paired(sources, read_lines(self._path), unequal)

    def train_size(self) -> int:
        """Returns the number of training pairs of the original corpus."""
        return self._raw.train_size()

    def train_digest(self) -> str:
        """Returns a SHA-256 that changes with the original training text and with the written side."""
        side = "sources " if self._setting == "reverse_distilled" else ""
        both = f"{self._raw.train_digest()} {side}{scan(self._path, self._cache).digest}"
        return hashlib.sha256(both.encode()).hexdigest()


class SelectedCorpus:
    """A corpus of which only some pairs are trained on."""

    def __init__(self, whole: Corpus, file: str, cache: Path) -> None:
        """
        Args:
            file: a line for each training pair of `whole`: 1 for a pair that is used, 0 for one that is left out.
        """
        self._whole, self._name, self._cache = whole, file, cache
        self._path = data_root() / file

    def problems(self) -> list[str]:
        """Returns the problems of the whole corpus, or else those of the selection."""
        if found := self._whole.problems():
            return found
        try:
            lines = scan(self._path, self._cache).lines
            used = self.train_size()
        except DataError as error:
            return [f"data.selected: {problem.removeprefix('data.selected: ')}" for problem in error.problems]
        if lines != self._whole.train_size():
            return [
                f"data.selected: must have a line for each of the {self._whole.train_size()} training pairs; "
                f"got {lines} in {self._name}; select from this corpus."
            ]
        return [] if used else [f"data.selected: {self._name} leaves out every pair; give a file that uses some."]

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Yields the pairs of a split; in train, those that are selected, in the order of the corpus."""
        pairs = self._whole.pairs(split)
        return compress(pairs, self.is_used()) if split == "train" else pairs

    def train_size(self) -> int:
        """Returns the number of selected pairs."""
        return sum(self.is_used())

    def train_digest(self) -> str:
        """Returns a SHA-256 that changes with the training text of the whole corpus and with the selection."""
        both = f"{self._whole.train_digest()} selected {scan(self._path, self._cache).digest}"
        return hashlib.sha256(both.encode()).hexdigest()

    def is_used(self) -> Iterator[bool]:
        """Yields whether each pair of the whole corpus is selected.

        Raises:
            DataError: a line is neither 0 nor 1.
        """
        for number, line in enumerate(read_lines(self._path), 1):
            if line not in ("0", "1"):
                raise DataError(f"data.selected: {self._name}, line {number}: must be 0 or 1; got {line[:20]!r}.")
            yield line == "1"


class UnionCorpus:
    """The training pairs of several corpora, one after the other, without exact duplicates: the first of equal pairs is kept,
    as in the script of Ding et al. 2021. Reading them takes about 100 bytes of memory for each pair."""

    def __init__(self, *corpora: Corpus) -> None:
        """
        Args:
            corpora: at least one; the first one also has the validation and the test text.
        """
        self._corpora = corpora

    def problems(self) -> list[str]:
        """Returns the problems of all corpora, each once."""
        return list(dict.fromkeys(problem for corpus in self._corpora for problem in corpus.problems()))

    def pairs(self, split: SplitName) -> Iterator[TextPair]:
        """Yields the pairs of a split."""
        if split != "train":
            return self._corpora[0].pairs(split)
        return _without_duplicates(chain.from_iterable(corpus.pairs("train") for corpus in self._corpora))

    def train_size(self) -> int:
        """Returns the number of different training pairs, for which it reads all of them."""
        return sum(1 for _ in self.pairs("train"))

    def train_digest(self) -> str:
        """Returns a SHA-256 that changes with the training text of each corpus."""
        return hashlib.sha256(" and ".join(corpus.train_digest() for corpus in self._corpora).encode()).hexdigest()


def _without_duplicates(pairs: Iterator[TextPair]) -> Iterator[TextPair]:
    seen: set[bytes] = set()
    for source, target in pairs:
        # A line has no line end, so different pairs have different texts here. Digests take less memory than sentences.
        key = hashlib.blake2b(f"{source}\n{target}".encode(), digest_size=16).digest()
        if key not in seen:
            seen.add(key)
            yield source, target
